# `make` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.installed-run
TEST := $(RUN) $(VENV)/.installed-test
INTEGRATION := $(TEST) $(VENV)/.installed-integration
DEVELOPMENT := $(RUN) $(VENV)/.installed-development
# Three at a time, as a test often waits for a process of its own: on two cores 2 % stay idle instead of
# 18 %. The files in their order: by the number of their tests, the long ones would come last.
PYTEST := $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder
S3_VENV := .venv-s3
MUTATION_VENV := .venv-mutation
AUDIT_VENV := .venv-audit
LOCK_VENV := .venv-lock
INSTALL := -m pip install --quiet --disable-pip-version-check
# That of Python 3.11 takes half as long again for the locked packages, but will do where this cannot be had.
NEWER_PIP := 'pip>=25,<26'
AUDIT_TOOLS := 'pip-audit>=2.7,<3' 'cyclonedx-bom>=5,<8' 'detect-secrets>=1.5,<2'
DEMO ?= demo

.DEFAULT_GOAL := help
.PHONY: help install install-all demo demo-short test test-slow test-all test-s3 container-test coverage fuzz mutation \
  lint format docs docs-generated audit lock wheel clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# What is installed into .venv, each from a lock of its own: run, test, integration, development.
$(VENV)/.installed-run: locks/run.lock setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "Python 3.11 to 3.13 is needed; give one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	-$(BIN)/python $(INSTALL) $(NEWER_PIP)
	$(BIN)/python $(INSTALL) --no-deps --require-hashes -r $<
	$(BIN)/python $(INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.installed-%: locks/%.lock | $(VENV)/.installed-run
	$(BIN)/python $(INSTALL) --no-deps --require-hashes -r $<
	touch $@

install: $(RUN) ## a virtual environment with the program, in locked versions

install-all: $(INTEGRATION) $(DEVELOPMENT) ## and what all its tests, `make lint` and `make docs` need

demo: $(RUN) ## the whole way on phantom studies, into ./demo (minutes, CPU)
	$(BIN)/ich-keras demo $(DEMO)

demo-short: $(RUN) ## the same on few patients and steps: does it run, not what it scores
	$(BIN)/ich-keras demo $(DEMO)-short --patients 40 --set training.max_steps=10 \
	  --set training.validate_every=5 --set evaluation.bootstrap_draws=100

test: $(TEST) ## the quick tests of the program (minutes)
	$(PYTEST) -m 'not slow and not integration'

test-slow: $(INTEGRATION) ## the others: slow ones, and those of Apache Beam, object stores, ONNX, a browser, a notebook
	$(PYTEST) -m 'slow or integration'

test-all: test test-slow ## both

$(S3_VENV)/.installed: locks/s3.lock setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
	  || { echo "TensorFlow 2.17 needs Python 3.11 to 3.12; give one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(S3_VENV)
	-$(S3_VENV)/bin/python $(INSTALL) $(NEWER_PIP)
	$(S3_VENV)/bin/python $(INSTALL) --no-deps --require-hashes -r $<
	$(S3_VENV)/bin/python $(INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

test-s3: $(S3_VENV)/.installed ## shards on an object store, with tensorflow-io and its TensorFlow
	$(S3_VENV)/bin/python -m pytest tests/s3

container-test: ## build the CPU image and run the program in it (root, buildah, a quarter of an hour)
	tests/container/run

coverage: $(INTEGRATION) ## all tests, with the lines it does not reach
	$(PYTEST) --cov=ich_keras --cov=tfrecords_tools --cov-report=term-missing:skip-covered

fuzz: $(TEST) ## 20,000 hostile files, each read in a process of its own, and 2,000 folders (minutes)
	$(BIN)/python -m tests.fuzzing.fuzz $(FUZZ)
	$(BIN)/python -m tests.fuzzing.fuzz_trees

$(MUTATION_VENV)/.installed: locks/run.lock locks/test.lock setup.cfg pyproject.toml
	$(PYTHON) -m venv $(MUTATION_VENV)
	-$(MUTATION_VENV)/bin/python $(INSTALL) $(NEWER_PIP)
	$(MUTATION_VENV)/bin/python $(INSTALL) --no-deps --require-hashes -r locks/run.lock -r locks/test.lock
	$(MUTATION_VENV)/bin/python $(INSTALL) --no-build-isolation --editable '.[mutation]'
	touch $@

mutation: $(MUTATION_VENV)/.installed ## changes of the code that no test notices (minutes)
	rm -rf mutants
	$(MUTATION_VENV)/bin/mutmut run $(MUTATION)
	@$(MUTATION_VENV)/bin/mutmut results --all true | awk -F ': ' '/: not checked/ { next } !/: killed/ \
	  { sub(/^ */, ""); print } { gsub(/^ *|\.x.*/, "", $$1); n[$$1 ": " $$2]++ } \
	  END { for (k in n) print k, n[k] }' | sort

lint: $(DEVELOPMENT) ## style and types, pages made from the code, the Dockerfile, manifests, scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generated.py --check
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	$(BIN)/hadolint Dockerfile docs/cluster/beam.Dockerfile
	$(BIN)/kubernetes-validate --strict --quiet -k 1.31 -k 1.37 docs/cluster/*.yaml
	$(BIN)/shellcheck .ci/run tests/container/run docs/cluster/*.sbatch

docs: $(DEVELOPMENT) ## the pages of docs/ as a site, into ./site; a broken link or anchor fails
	$(BIN)/zensical build --strict --clean

docs-generated: $(DEVELOPMENT) ## renew what the documents take from the code
	$(BIN)/python docs/generated.py

$(AUDIT_VENV)/.installed: setup.cfg
	$(PYTHON) -m venv $(AUDIT_VENV)
	$(AUDIT_VENV)/bin/python $(INSTALL) $(AUDIT_TOOLS)
	touch $@

audit: $(AUDIT_VENV)/.installed ## secrets in the tree, a bill of materials (sbom.json), known faults (network)
	git ls-files -z | grep --null-data --invert-match '[.]lock$$' | xargs --null $(AUDIT_VENV)/bin/detect-secrets-hook
	$(AUDIT_VENV)/bin/cyclonedx-py requirements locks/gpu.lock --output-file sbom.json
	$(AUDIT_VENV)/bin/pip-audit --strict --disable-pip --require-hashes --requirement locks/gpu.lock

format: $(DEVELOPMENT) ## rewrite to style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One resolution of everything gives the versions of all locks but s3. The locks of .venv hold what is
# installed on top of locks/run.lock. Locked versions stay; UPGRADE=--upgrade takes newer ones.
LOCK := $(LOCK_VENV)/bin/uv pip compile setup.cfg --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-header --quiet $(UPGRADE)
IMAGE := --extra codecs --extra bayesian --extra onnx
# What the image of Beam, which converts only, lacks of the program's requirements: two of three gigabytes.
TRAINING := tensorflow keras keras-tuner tensorboard matplotlib highdicom
ALL := build/all.lock
# Of packages that a lock has on every system.
lacking = $$(sed -n 's/^\([A-Za-z0-9_.-]*\)==[^;]*$$/--no-emit-package \1/p' $(1))

$(LOCK_VENV)/.installed:
	$(PYTHON) -m venv $(LOCK_VENV)
	$(LOCK_VENV)/bin/python $(INSTALL) 'uv>=0.9,<1'
	touch $@

lock: $(LOCK_VENV)/.installed ## renew the files of locked versions (network)
	mkdir -p build
	cat locks/run.lock locks/test.lock locks/integration.lock locks/development.lock > $(ALL)
	$(LOCK) --extra test --extra integration --extra lint --extra docs --output-file $(ALL)
	$(LOCK) --constraint $(ALL) --output-file locks/run.lock
	$(LOCK) --constraint $(ALL) --extra test $(call lacking,locks/run.lock) --output-file locks/test.lock
	$(LOCK) --constraint $(ALL) --extra integration $(call lacking,locks/run.lock locks/test.lock) \
	  --output-file locks/integration.lock
	$(LOCK) --constraint $(ALL) --extra lint --extra docs $(call lacking,locks/run.lock) \
	  --output-file locks/development.lock
	echo "tensorflow; platform_machine != 'x86_64'" > build/cuda.txt
	sed -n "s/^tensorflow\(==[^ ]*\).*/tensorflow-cpu\1; platform_machine == 'x86_64'/p" $(ALL) | $(LOCK) --constraint $(ALL) $(IMAGE) \
	  --override build/cuda.txt --output-file locks/cpu.lock -
	$(LOCK) --constraint $(ALL) $(IMAGE) --extra gpu --output-file locks/gpu.lock
	printf "%s; python_version < '0'\n" $(TRAINING) > build/training.txt
	echo setuptools | $(LOCK) --constraint $(ALL) --extra codecs --extra beam --extra cloud \
	  --override build/training.txt --output-file locks/beam.lock -
	$(LOCK) --extra s3 --extra test-s3 --output-file locks/s3.lock

wheel: $(RUN) ## build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean: ## remove what was built; data, shards and runs stay
	rm -rf $(VENV) $(S3_VENV) $(AUDIT_VENV) $(MUTATION_VENV) mutants build dist site .cache sbom.json *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
