"""Nothing that fails beside an answer costs it, and answers of two calls are never mixed."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from ich_keras.cli import main as cli
from ich_keras.cli.commands import predict as command
from ich_keras.experiment.experiment import load_experiment
from ich_keras.predict import detector, pictures
from ich_keras.predict import predict as module
from ich_keras.predict.dicom import objects
from ich_keras.predict.predict import predict
from ich_keras.run.folder import RunFolder, read_input
from ich_keras.scores.postprocessing import (
    RULES,
    Postprocessing,
    current_source,
    write_postprocessing,
)
from ich_keras.scores.smoothing import Smoothing
from ich_keras.training.fit import fit
from tests.support.archives import slice_bytes
from tests.support.pictures import dots
from tests.support.small_run import overrides
from tests.support.study_pages import blocks_of
from tfrecords_tools.classes import LABELS
from tfrecords_tools.errors import InputError, UsageError

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def run(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("safe") / "run")
    settings = overrides(training__max_steps="2", training__validate_every="2")
    with dots():
        fit(load_experiment("demo", settings), shards, folder)
    return folder


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Three studies of two slices, and a file that is none."""
    folder = tmp_path / "studies"
    folder.mkdir()
    for i in range(6):
        (folder / f"{i}.dcm").write_bytes(slice_bytes(i, f"ID_study{i // 2}"))
    (folder / "readme.txt").write_text("no slice")
    return folder


def tables(out: Path) -> tuple[int, int, int, int]:
    """Rows of the four tables."""
    names = ("slices", "studies", "submission", "rejects")
    return tuple(len(pd.read_csv(out / f"{name}.csv")) for name in names)


def say(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """The exit code of a command in this process."""
    monkeypatch.setattr(sys, "argv", ["ich-keras", *map(str, words)])
    monkeypatch.setattr(cli, "_leave", sys.exit)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_every_study_is_in_the_tables_and_drawn(run, studies, tmp_path):
    result = predict(run, [studies], tmp_path / "out")
    assert tables(tmp_path / "out") == (6, 3, 36, 1)
    assert len(list((tmp_path / "out").glob("*.png"))) == 6
    assert "not drawn" not in result.sentence()
    slices = pd.read_csv(tmp_path / "out" / "slices.csv")
    assert slices["study"].tolist() == [1, 1, 2, 2, 3, 3]


def test_a_study_that_cannot_be_drawn_is_answered(run, studies, tmp_path, monkeypatch, caplog):
    usual, drawn = pictures.class_map_sheet, []

    def fails_once(*arguments, **options):
        drawn.append(1)
        if len(drawn) == 1:
            raise ValueError("no\nfont")
        return usual(*arguments, **options)

    monkeypatch.setattr(pictures, "class_map_sheet", fails_once)
    monkeypatch.setattr(module, "write_objects", lambda *_: 1 / 0)
    with caplog.at_level("WARNING", logger="ich_keras"):
        result = predict(run, [studies], tmp_path / "out", dicom=True)
    assert tables(tmp_path / "out") == (6, 3, 36, 1)
    assert (tmp_path / "out" / "study_002.png").exists()
    assert "study_001: not drawn (ValueError: no font); the answers are in the" in caplog.text
    assert "1 file rejected, 4 not drawn: " in result.sentence()


def test_ctrl_c_keeps_the_answers_and_says_so(run, studies, tmp_path, monkeypatch, capsys):
    drawn = []

    def interrupted(*_):
        drawn.append(1)
        if len(drawn) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "draw_study", interrupted)
    assert say(monkeypatch, "predict", run.path, studies, "--out", tmp_path / "out") == 130
    assert tables(tmp_path / "out") == (4, 2, 24, 1)
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == (
        f"ich-keras: interrupted; 2 of 3 studies are answered in {tmp_path / 'out'}; to begin"
        " again, give another --out"
    )


def test_ctrl_c_before_the_first_answer_claims_none(run, studies, tmp_path, monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "find_studies", interrupted)
    assert say(monkeypatch, "predict", run.path, studies, "--out", tmp_path / "out") == 130
    assert (
        capsys.readouterr().err.splitlines()[-1] == "ich-keras: interrupted; nothing was answered"
    )
    assert not (tmp_path / "out").exists()


def test_an_error_in_a_later_study_keeps_the_answers(run, studies, tmp_path, monkeypatch):
    usual, called = detector.predict_images, []

    def fails(*arguments):
        called.append(1)
        if len(called) == 3:
            raise MemoryError
        return usual(*arguments)

    monkeypatch.setattr(detector, "predict_images", fails)
    with pytest.raises(MemoryError):
        predict(run, [studies], tmp_path / "out")
    assert tables(tmp_path / "out") == (4, 2, 24, 1)


@pytest.mark.parametrize("smooth", [False, True])
def test_a_run_whose_validation_gave_no_thresholds_answers(run, studies, tmp_path, caplog, smooth):
    size = read_input(run).network.size
    none = {rule: dict.fromkeys(LABELS) for rule in RULES}
    levels = dict.fromkeys(("slice", "study", "study_smoothed"), none)
    source = current_source(run, size)
    write_postprocessing(run, Postprocessing(source, Smoothing(5.0, 1.0), levels))
    with caplog.at_level("INFO", logger="ich_keras"):
        predict(run, [studies], tmp_path / "out", smooth=smooth)
    run.fitted(size).unlink()
    assert tables(tmp_path / "out") == (6, 3, 36, 1)
    assert "found" not in pd.read_csv(tmp_path / "out" / "studies.csv")
    assert "no column `found`" in caplog.text


@pytest.mark.parametrize("fitted", [False, True])
def test_a_threshold_that_is_given_decides_and_is_recorded(
    run, studies, tmp_path, monkeypatch, fitted
):
    size = read_input(run).network.size
    if fitted:  # so low that each kind is found where there is a hemorrhage
        rules = {rule: dict.fromkeys(LABELS, 1e-9) for rule in RULES}
        levels = dict.fromkeys(("slice", "study", "study_smoothed"), rules)
        source = current_source(run, size)
        write_postprocessing(run, Postprocessing(source, Smoothing(5.0, 1.0), levels))
    predict(run, [studies], tmp_path / "before")
    before = pd.read_csv(tmp_path / "before" / "studies.csv")
    given = sorted(before["any"])[1]  # as in the table, digit by digit
    words = ("--threshold", given, "--view", "--out", tmp_path / "out")
    assert say(monkeypatch, "predict", run.path, studies, *words) == 0
    run.fitted(size).unlink(missing_ok=True)
    table = pd.read_csv(tmp_path / "out" / "studies.csv", keep_default_na=False)
    everything = " ".join(LABELS) if fitted else "any"
    assert table["found"].tolist() == [everything if x >= given else "" for x in before["any"]]
    assert (table["own_threshold"] == given).all() and "own_threshold" not in before
    page = json.loads(blocks_of(tmp_path / "out" / "study_001.html")["study"])
    assert page["own_threshold"] == given


def test_where_nothing_can_be_used_the_reasons_are_said_and_written(run, tmp_path):
    folder, out = tmp_path / "folder", tmp_path / "out"
    folder.mkdir()
    (folder / "a.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(50))
    (folder / "b.txt").write_text("no slice")
    (folder / "c.txt").write_text("no slice")
    with pytest.raises(InputError) as caught:
        predict(run, [folder], out)
    said = str(caught.value)
    assert "not_dicom (2), as b.txt: " in said
    assert "archive (1), as a.7z: 7-Zip (.7z); unpack it first" in said
    assert f"all are in {out / 'rejects.csv'}" in said
    assert pd.read_csv(out / "rejects.csv")["path"].tolist() == ["a.7z", "b.txt", "c.txt"]
    (folder / "d.dcm").write_bytes(slice_bytes(0))
    predict(run, [folder], out)  # the rejects of the first call are no use of the folder
    assert tables(out) == (1, 1, 6, 3)


@pytest.mark.parametrize("given", [True, False])
def test_a_folder_in_use_is_refused_before_anything_is_loaded(
    run, studies, tmp_path, monkeypatch, capsys, given
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "load_tensorflow", lambda: pytest.fail("too late"))
    out = Path("used" if given else "predictions")
    out.mkdir()
    (out / "study_001.png").write_text("of another patient")
    options = ["--out", out] if given else []
    assert say(monkeypatch, "predict", run.path, studies, *options) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"ich-keras: {out}: is not empty") and said.count("\n") == 1
    assert "give a new folder by --out" in said
    assert [x.name for x in out.iterdir()] == ["study_001.png"]
    with pytest.raises(UsageError, match="is not empty"):
        predict(run, [studies], out)


def test_a_file_in_the_place_of_the_folder_is_refused(run, studies, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="is a file; give a new folder by --out"):
        predict(run, [studies], tmp_path / "out")


def test_a_path_that_may_not_be_read_is_a_row_and_a_missing_one_a_mistake(
    run, studies, tmp_path, monkeypatch, capsys
):
    (tmp_path / "gone.dcm").symlink_to("nowhere")
    paths, out = [studies, tmp_path / "gone.dcm"], tmp_path / "out"
    assert say(monkeypatch, "predict", run.path, *paths, "--out", out) == 0
    assert tables(out) == (6, 3, 36, 2)
    assert say(monkeypatch, "predict", run.path, tmp_path / "none", "--out", out) == 2
    assert "no such file or folder" in capsys.readouterr().err


def test_each_capture_that_cannot_be_written_is_counted(run, studies, tmp_path, monkeypatch):
    usual, made = objects.capture, []

    def fails_once(*arguments):
        made.append(1)
        if len(made) == 2:
            raise ValueError("no date")
        return usual(*arguments)

    monkeypatch.setattr(objects, "capture", fails_once)
    result = predict(run, [studies], tmp_path / "out", dicom=True)
    assert ", 1 not drawn: " in result.sentence()
    assert len(list((tmp_path / "out" / "dicom").rglob("*capture*.dcm"))) == 5
