"""A search resumes with the same search file; otherwise the message names each key that differs."""

import json

import pytest

from ich_keras.run.folder import RunError
from ich_keras.search.config import load_search
from ich_keras.search.journal import Begin, Journal
from tests.support.small_search import write_search

TEXT = """
experiment: base.yaml
trials: 3
search:
  model.dropout: {choice: [0.0, 0.2]}
  training.learning_rate: {float: {min: 1e-4, max: 1e-2, log: true}}
"""

EVENT = Begin(status="RUNNING", trial="0", values={"model.dropout": 0.2})


def identity(folder, text=TEXT, overrides=(), fingerprint="0" * 64):
    search = load_search(write_search(folder, text), overrides)
    return search.model_dump(mode="json") | {"data_fingerprint": fingerprint}


def begun(folder):
    """The journal of a search with one event."""
    path = folder / "journal.jsonl"
    Journal(path, identity(folder)).add(EVENT)
    return path


def rewrite_first_line(path, change):
    first, *others = path.read_text("utf-8").splitlines(keepends=True)
    content = json.loads(first)
    change(content)
    path.write_text(json.dumps(content) + "\n" + "".join(others), "utf-8")


def refusal(path, search) -> str:
    with pytest.raises(RunError) as refused:
        Journal(path, search)
    message = str(refused.value)
    assert len(message.splitlines()) == 1
    assert "give another --run" in message
    return message


def test_the_same_search_resumes(tmp_path):
    path = begun(tmp_path)
    assert Journal(path, identity(tmp_path)).events == [EVENT]
    assert path.read_text("utf-8").splitlines()[1] == (
        '{"event": "begin", "status": "RUNNING", "trial": "0", "values": {"model.dropout": 0.2}}'
    )


def test_defaults_of_keys_that_a_newer_version_adds_are_no_difference(tmp_path):
    path = begun(tmp_path)

    def forget(content):
        del content["randomize_seed"]
        del content["base"]["training"]["deterministic"]
        del content["search"]["model.dropout"]["when"]

    rewrite_first_line(path, forget)
    assert len(Journal(path, identity(tmp_path)).events) == 1
    message = refusal(path, identity(tmp_path, overrides=["training.deterministic=false"]))
    assert "differs in experiment.training.deterministic true, now false;" in message


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("[0.0, 0.2]", "[0.2, 0.0]", "search.model.dropout.choice 0.0, 0.2, now 0.2, 0.0;"),
        ("max: 1e-2", "max: 1e-3", "search.training.learning_rate.float.max 0.01, now 0.001;"),
        ("trials: 3", "trials: 4", "trials 3, now 4;"),
        (
            "  model.dropout: {choice: [0.0, 0.2]}\n",
            "",
            "search.model.dropout choice 0.0, 0.2, now null;",
        ),
    ],
)
def test_each_key_that_differs_is_named_with_both_values(tmp_path, old, new, difference):
    path = begun(tmp_path)
    message = refusal(path, identity(tmp_path, TEXT.replace(old, new)))
    assert f"holds another search, which differs in {difference}" in message


def test_keys_of_the_experiment_and_the_shards_that_differ_are_named(tmp_path):
    path = begun(tmp_path)
    changed = identity(tmp_path, overrides=["training.batch_size=16"], fingerprint="1" * 64)
    message = refusal(path, changed)
    assert "experiment.training.batch_size 8, now 16; data_fingerprint 000" in message


def test_another_order_of_the_keys_is_another_search(tmp_path):
    """The tuners draw the values in this order."""
    path = begun(tmp_path)
    lines = TEXT.strip().splitlines()
    message = refusal(path, identity(tmp_path, "\n".join([*lines[:3], lines[4], lines[3]])))
    assert (
        "order of search model.dropout, training.learning_rate,"
        " now training.learning_rate, model.dropout;" in message
    )


def test_the_folder_of_the_shards_may_change(tmp_path):
    path = begun(tmp_path)
    moved = identity(tmp_path, overrides=["data.shards=/elsewhere/shards"])
    assert len(Journal(path, moved).events) == 1


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda x: x.update(retries=3), "unknown key retries"),
        (lambda x: x["base"]["model"].update(depth=3), "unknown key experiment.model.depth"),
        (lambda x: x.update(tuner="genetic"), "tuner: expected 'grid'"),
        (lambda x: x.pop("base"), "experiment: is missing"),
    ],
)
def test_a_journal_of_another_version_is_refused_with_the_key(tmp_path, change, fault):
    path = begun(tmp_path)
    rewrite_first_line(path, change)
    message = refusal(path, identity(tmp_path))
    assert message.startswith(f"{path}: {fault}")
    assert message.endswith("give another --run, or use the version that wrote it")


@pytest.mark.parametrize("content", [b"", b"\n", b"[]\n", b"1\n", b"\xff\n", b'{"name"\n'])
def test_a_damaged_journal_is_one_line(tmp_path, content):
    path = begun(tmp_path)
    path.write_bytes(content)
    assert f"{path}: damaged" in refusal(path, identity(tmp_path))
