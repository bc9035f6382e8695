"""What a command says after Ctrl-C is true of it."""

import sys

import pytest

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
    ],
)
def test_what_ctrl_c_leaves_is_said(monkeypatch, capsys, words, expected):
    monkeypatch.setattr(main.cli.commands[words[0]], "callback", interrupt)
    monkeypatch.setattr(sys, "argv", ["ich-keras", *words])
    monkeypatch.setattr(main, "_leave", sys.exit)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"ich-keras: interrupted; {expected}")
