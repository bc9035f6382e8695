"""A folder is resumed for the experiment that began it, key by key, and for no other."""

import re

import pytest

from ich_keras.data.shards import open_shards
from ich_keras.experiment.experiment import load_experiment
from ich_keras.run.folder import RunError, RunFolder
from ich_keras.training.checks import claim_folder

CALLBACK = "[{{path: a.Callback, arguments: {{verbose: {}}}}}]"


def experiment(*overrides):
    return load_experiment("demo", list(overrides))


def claim(run, shards, *overrides):
    claim_folder(run, experiment(*overrides), open_shards(shards, experiment().data), resume=True)


def edit(run, pattern, replacement):
    text = run.experiment.read_text("utf-8")
    changed = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    assert changed != text
    run.experiment.write_text(changed, "utf-8")


def refusal(run, shards, *overrides) -> str:
    before = run.experiment.read_bytes()
    with pytest.raises(RunError) as refused:
        claim(run, shards, *overrides)
    assert run.experiment.read_bytes() == before
    message = str(refused.value)
    assert len(message.splitlines()) == 1
    assert str(run.experiment) in message
    assert "give another --run" in message
    return message


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run")


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (
            ["data.windows=[brain, bone]"],
            ["data.windows=[bone, brain]"],
            "data.windows brain, bone, now bone, brain;",
        ),
        (
            ["training.batch_size=32", "evaluation.batch_size=64"],
            ["training.batch_size=64", "evaluation.batch_size=32"],
            "training.batch_size 32, now 64; evaluation.batch_size 64, now 32;",
        ),
        (
            ["model.widths=[8, 16, 32]"],
            ["model.widths=[32, 16, 8]"],
            "model.widths 8, 16, 32, now 32, 16, 8;",
        ),
        (
            [f"training.callbacks={CALLBACK.format('true')}"],
            [f"training.callbacks={CALLBACK.format('1')}"],
            "training.callbacks path a.Callback, arguments verbose true, now path a.Callback,"
            " arguments verbose 1;",
        ),
        ([], ["data.size=16", "training.loss=focal"], "data.size null, now 16; training.loss bce,"),
    ],
    ids=["windows", "batch sizes", "widths", "true and 1", "two sections"],
)
def test_each_key_that_differs_is_named_with_both_values(run, shards, before, now, expected):
    claim(run, shards, *before)
    assert f"is the run of another experiment, which differs in {expected}" in refusal(
        run, shards, *now
    )
    claim(run, shards, *before)


def test_of_many_differences_the_first_six_are_named(run, shards):
    claim(run, shards)
    changes = [f"training.{x}_every=7" for x in ("validate", "figure", "log")]
    changes += [f"data.augmentation.{x}=0.25" for x in ("scale", "shift", "grey")]
    message = refusal(run, shards, *changes, "seed=5", "name=other")
    assert "which differs in name demo, now other; seed" in message
    assert "; 2 more; give another --run" in message


def test_a_key_that_a_newer_version_adds_with_its_default_is_no_difference(run, shards):
    claim(run, shards)
    edit(run, r"^  deterministic: .*\n", "")
    edit(run, r"^evaluation:\n(  .*\n)*", "")
    claim(run, shards)
    message = refusal(run, shards, "training.deterministic=false")
    assert "differs in training.deterministic true, now false;" in message


def test_comments_and_the_order_of_keys_are_no_difference(run, shards):
    claim(run, shards)
    name = re.search(r"^name: .*\n", run.experiment.read_text("utf-8"), re.MULTILINE)[0]
    edit(run, r"^name: .*\n", "# first\n")
    run.experiment.write_text(run.experiment.read_text("utf-8") + name, "utf-8")
    claim(run, shards)


@pytest.mark.parametrize(
    ("pattern", "replacement", "expected"),
    [
        (r"^  dropout: .*\n", r"\g<0>  drop_path: 0.1\n", "unknown key model.drop_path;"),
        (r"^  loss: .*", "  loss: hinge", "training.loss: expected 'mse', 'bce', 'focal'"),
        (r"^  batch_size: .*", "  batch_size: many", "training.batch_size: expected a"),
    ],
    ids=["unknown key", "unknown value", "another type"],
)
def test_a_file_of_another_version_names_the_key_and_what_to_do(
    run, shards, pattern, replacement, expected
):
    claim(run, shards)
    edit(run, pattern, replacement)
    message = refusal(run, shards)
    assert message.startswith(f"{run.experiment}: {expected}")
    assert message.endswith("give another --run, or use the version that wrote it")


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"just text", b"- a\n- b\n", b"name: [", b"name: demo\n", b"\xff\xfe\0", b"a: \0"],
)
def test_a_damaged_experiment_is_one_line(run, shards, content):
    claim(run, shards)
    run.experiment.write_bytes(content)
    refusal(run, shards)


def test_where_the_shards_lie_may_change(run, shards):
    """As with --shards: the fingerprint says whether they are the same."""
    claim(run, shards, "data.shards=/scratch/1/shards")
    claim(run, shards, "data.shards=/scratch/2/shards")
