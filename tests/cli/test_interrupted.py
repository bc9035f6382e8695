"""What a command says after Ctrl-C, or without memory, is true of it."""

import sys
import tempfile
from pathlib import Path

import pytest
import tensorflow as tf

from ich_keras.cli import main


def interrupt(**_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fit", "demo"], "finished work is kept, the same command resumes it"),
        (["evaluate", "run"], "the same command begins again"),
        (["export", "run"], "nothing was exported; the same command begins again"),
        (["synth", "data"], "the data set is not whole; remove its folder, and give"),
        (["doctor"], "the same command begins again"),
        (["view", "run", "study"], "nothing was kept; the same command begins again"),
    ],
)
def test_what_ctrl_c_leaves_is_said(monkeypatch, capsys, words, expected):
    monkeypatch.setattr(main.cli.commands[words[0]], "callback", interrupt)
    assert last_line(monkeypatch, capsys, words).startswith(f"ich-keras: interrupted; {expected}")


def test_ctrl_c_removes_the_folder_of_view_which_may_hold_slices(monkeypatch, capsys, tmp_path):
    def half(_run: object, _paths: object, out: Path, **_options: object) -> None:
        (out / "study_001.html").write_text("slices", encoding="utf-8")
        raise KeyboardInterrupt(f"1 of 2 studies are answered in {out}")

    monkeypatch.setattr("ich_keras.predict.predict.predict", half)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said = last_line(monkeypatch, capsys, ["view", "phantom", __file__])
    assert said == "ich-keras: interrupted; nothing was kept; the same command begins again"
    assert not list(tmp_path.iterdir())


def last_line(monkeypatch, capsys, words: list[str]) -> str:
    """What a command says at its end, which must be that of an interrupted one."""
    monkeypatch.setattr(sys, "argv", ["ich-keras", *words])
    monkeypatch.setattr(main, "_leave", sys.exit)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 130
    return capsys.readouterr().err.splitlines()[-1]


def test_a_lack_of_gpu_memory_is_one_line_that_says_what_to_do(monkeypatch, capsys):
    def ask_too_much(**_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(main.cli.commands["fit"], "callback", ask_too_much)
    monkeypatch.setattr(sys, "argv", ["ich-keras", "fit", "demo"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ich-keras: TensorFlow is out of memory; ")
    assert "lower training.batch_size" in line
