# `make` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Three at a time, as a test often waits for a process of its own: on two cores 2 % stay idle instead of
# 18 %. The files in their order: by the number of their tests, the long ones would come last.
PYTEST := $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder
S3_VENV := .venv-s3
MUTATION_VENV := .venv-mutation
AUDIT_VENV := .venv-audit
INSTALL := -m pip install --quiet --disable-pip-version-check
# That of Python 3.11 takes half as long again for the locked packages, but will do where this cannot be had.
NEWER_PIP := 'pip>=25,<26'
AUDIT_TOOLS := 'pip-audit>=2.7,<3' 'cyclonedx-bom>=5,<8' 'detect-secrets>=1.5,<2'
DEMO ?= demo

.DEFAULT_GOAL := help
.PHONY: help install demo demo-short test test-s3 container-test coverage fuzz mutation lint format docs docs-generated \
  audit lock wheel clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV)/.installed: requirements.lock setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "Python 3.11 to 3.13 is needed; give one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	-$(BIN)/python $(INSTALL) $(NEWER_PIP)
	$(BIN)/python $(INSTALL) --no-deps --require-hashes -r requirements.lock
	$(BIN)/python $(INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

install: $(VENV)/.installed ## a virtual environment with locked versions

demo: $(VENV)/.installed ## the whole way on phantom studies, into ./demo (minutes, CPU)
	$(BIN)/ich-keras demo $(DEMO)

demo-short: $(VENV)/.installed ## the same on few patients and steps: does it run, not what it scores
	$(BIN)/ich-keras demo $(DEMO)-short --patients 40 --set training.max_steps=10 \
	  --set training.validate_every=5 --set evaluation.bootstrap_draws=100

test: $(VENV)/.installed ## the whole test suite, three files at a time
	$(PYTEST)

$(S3_VENV)/.installed: requirements-s3.lock setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
	  || { echo "TensorFlow 2.17 needs Python 3.11 to 3.12; give one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(S3_VENV)
	-$(S3_VENV)/bin/python $(INSTALL) $(NEWER_PIP)
	$(S3_VENV)/bin/python $(INSTALL) --no-deps --require-hashes -r requirements-s3.lock
	$(S3_VENV)/bin/python $(INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

test-s3: $(S3_VENV)/.installed ## shards on an object store, with tensorflow-io and its TensorFlow
	$(S3_VENV)/bin/python -m pytest tests/s3

container-test: ## build the CPU image and run the program in it (root, buildah, a quarter of an hour)
	tests/container/run

coverage: $(VENV)/.installed ## the test suite, with the lines it does not reach
	$(PYTEST) --cov=ich_keras --cov=tfrecords_tools --cov-report=term-missing:skip-covered

fuzz: $(VENV)/.installed ## 20,000 hostile files, each read in a process of its own (minutes)
	$(BIN)/python -m tests.fuzzing.fuzz $(FUZZ)

$(MUTATION_VENV)/.installed: requirements.lock setup.cfg pyproject.toml
	$(PYTHON) -m venv $(MUTATION_VENV)
	-$(MUTATION_VENV)/bin/python $(INSTALL) $(NEWER_PIP)
	$(MUTATION_VENV)/bin/python $(INSTALL) --no-deps --require-hashes -r requirements.lock
	$(MUTATION_VENV)/bin/python $(INSTALL) --no-build-isolation --editable '.[mutation]'
	touch $@

mutation: $(MUTATION_VENV)/.installed ## changes of the code that no test notices (minutes)
	rm -rf mutants
	$(MUTATION_VENV)/bin/mutmut run $(MUTATION)
	@$(MUTATION_VENV)/bin/mutmut results --all true | awk -F ': ' '/: not checked/ { next } !/: killed/ \
	  { sub(/^ */, ""); print } { gsub(/^ *|\.x.*/, "", $$1); n[$$1 ": " $$2]++ } \
	  END { for (k in n) print k, n[k] }' | sort

lint: $(VENV)/.installed ## style and types, pages made from the code, the Dockerfile, manifests, scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generated.py --check
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	$(BIN)/hadolint Dockerfile docs/cluster/beam.Dockerfile
	$(BIN)/kubernetes-validate --strict --quiet -k 1.31 -k 1.37 docs/cluster/*.yaml
	$(BIN)/shellcheck .ci/run tests/container/run docs/cluster/*.sbatch

docs: $(VENV)/.installed ## the pages of docs/ as a site, into ./site; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-generated: $(VENV)/.installed ## renew what the documents take from the code
	$(BIN)/python docs/generated.py

$(AUDIT_VENV)/.installed: setup.cfg
	$(PYTHON) -m venv $(AUDIT_VENV)
	$(AUDIT_VENV)/bin/python $(INSTALL) $(AUDIT_TOOLS)
	touch $@

audit: $(AUDIT_VENV)/.installed ## secrets in the tree, a bill of materials (sbom.json), known faults (network)
	git ls-files -z | grep --null-data --invert-match '[.]lock$$' | xargs --null $(AUDIT_VENV)/bin/detect-secrets-hook
	$(AUDIT_VENV)/bin/cyclonedx-py requirements requirements-gpu.lock --output-file sbom.json
	$(AUDIT_VENV)/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements-gpu.lock

format: $(VENV)/.installed ## rewrite to style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --quiet
IMAGE := --extra codecs --extra bayesian --extra onnx

lock: ## renew the files of locked versions (needs uv)
	$(LOCK) --extra test --extra lint --extra docs --output-file requirements.lock setup.cfg
	$(LOCK) --extra s3 --extra test-s3 --output-file requirements-s3.lock setup.cfg
	$(LOCK) $(IMAGE) --extra beam --extra cloud --constraint requirements.lock --output-file requirements-cpu.lock setup.cfg
	$(LOCK) $(IMAGE) --extra gpu --constraint requirements.lock --output-file requirements-gpu.lock setup.cfg

wheel: $(VENV)/.installed ## build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean: ## remove what was built; data, shards and runs stay
	rm -rf $(VENV) $(S3_VENV) $(AUDIT_VENV) $(MUTATION_VENV) mutants build dist site sbom.json *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
