"""What a user gets of the shipped network: answers with its notice, and scores beside it."""

import itertools
import json
import shutil
import tempfile
import webbrowser
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest
from click.testing import CliRunner

from benchmarks.phantom_groups import GROUPS
from ich_keras.cli.main import cli
from ich_keras.experiment.experiment import load_experiment
from ich_keras.model.network import build_model, load_model
from ich_keras.run.folder import read_input
from ich_keras.run.shipped import find_run
from ich_keras.scores.postprocessing import read_postprocessing
from ich_keras.training.checks import warm_start
from tests.support.pictures import dots
from tests.support.study_pages import blocks_of
from tfrecords_tools.classes import ANY
from tfrecords_tools.phantom.cohort import subtypes_of
from tfrecords_tools.phantom.rsna_files import synth
from tfrecords_tools.phantom.sampling import StudyParameters

SHIPPED = find_run("phantom")
PLAIN = (
    "look-alikes",
    "full brains of low contrast",
    "pose, field of view, thickness",
    "age of blood",
    "small and thin hemorrhages",
)


def plain(study: StudyParameters) -> StudyParameters:
    """The study of an ordinary head: what is in it is large and fresh, and nothing resembles it."""
    for group in PLAIN:
        study = GROUPS[group](study)
    return study


def synth_studies(folder: Path, subtypes: str) -> None:
    """Makes data sets of one patient each, three with these subtypes and three healthy ones."""
    for kind, wanted in (("bleeding", tuple(subtypes.split())), ("healthy", ())):
        seeds = (x for x in itertools.count() if subtypes_of(0, x) == wanted)
        for number, seed in enumerate(itertools.islice(seeds, 3)):
            path = folder / f"{kind}-{number}"
            synth(path, patients=1, slices=10, seed=seed, workers=1, ablation=plain)


def blood(study: Path) -> int:
    """The number of pixels with a hemorrhage."""
    masks = (cv2.imread(str(x), cv2.IMREAD_UNCHANGED) for x in study.glob("masks/*.png"))
    return sum(np.count_nonzero(mask) for mask in masks)


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    synth_studies(folder, "intraparenchymal intraventricular")
    return folder


@pytest.fixture(scope="module")
def bleeding(studies) -> Path:
    """The study with the largest hemorrhage."""
    return max(studies.iterdir(), key=blood)


@pytest.fixture
def contents():
    """Fails if the test changes the folder of the network, which may be read-only."""

    def read() -> dict[Path, bytes]:
        return {x: x.read_bytes() for x in SHIPPED.path.rglob("*") if x.is_file()}

    before = read()
    yield
    assert read() == before


def call(*words: object) -> list[str]:
    """The lines of a command on standard output."""
    with dots():
        done = CliRunner().invoke(cli, [str(x) for x in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def test_an_obvious_hemorrhage_is_found_and_healthy_heads_are_not_called_so(
    studies, bleeding, tmp_path, contents
):
    out = tmp_path / "out"
    *_, notice, last = call("predict", "phantom", studies, "--out", out, "--dicom", "--view", "-q")
    assert notice == SHIPPED.notice
    assert str(out) in last
    slices = pd.read_csv(out / "slices.csv").groupby("study")["file"].first()
    answers = pd.read_csv(out / "studies.csv", keep_default_na=False)
    answers = answers.set_index(answers["study"].map(slices).str.partition("/")[0])
    healthy = answers[answers.index.str.startswith("healthy")]
    fitted = read_postprocessing(SHIPPED, read_input(SHIPPED).network.size)
    threshold = fitted.thresholds["study"]["sensitivity_95"]["any"]
    assert answers.loc[bleeding.name, "any"] >= threshold
    assert answers.loc[bleeding.name, "any"] > healthy["any"].max()
    assert (healthy["any"] < threshold).sum() >= 2
    assert "any" in answers.loc[bleeding.name, "found"].split()
    assert (out / "notice.txt").read_text("utf-8").strip() == SHIPPED.notice
    capture = pydicom.dcmread(next((out / "dicom").rglob("*capture_0001.dcm")))
    assert capture.ImageComments == SHIPPED.notice
    reports = sorted((out / "dicom").rglob("series_1_report.dcm"))
    assert [x.parent.name for x in reports] == [f"study_{x:03d}" for x in answers["study"]]
    pages = [x.name for x in sorted(out.glob("*.html"))]
    assert pages == [f"study_{number:03d}.html" for number in answers["study"]]
    blocks = blocks_of(out / pages[0])
    assert "masks" not in blocks
    assert json.loads(blocks["study"])["truth"] is None


def test_view_opens_a_page_in_a_private_folder_where_there_is_a_display(
    bleeding, tmp_path, monkeypatch, contents
):
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for display in ("", ":0"):
        monkeypatch.setenv("DISPLAY", display)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        study = ("view", "phantom", bleeding / "stage_2_train", "--masks", bleeding / "masks")
        *_, notice, last = call(*study, "-q")
        page = Path(last.rpartition(" ")[2])
        assert notice == SHIPPED.notice
        assert page.name == "study_001.html"
        assert page.parent.stat().st_mode & 0o777 == 0o700
        assert opened == ([page.as_uri()] if display else [])
    assert peaks_on_mask(page)


def peaks_on_mask(page: Path) -> bool:
    """Whether the map of the kind with most pixels is highest within a cell of its hemorrhage."""
    blocks = blocks_of(page)
    study = json.loads(blocks["study"])
    maps = np.frombuffer(blocks["maps"], np.uint8).reshape(study["maps"])
    masks = np.frombuffer(blocks["masks"], np.uint8).reshape(study["shape"])
    cell = masks.shape[1] // maps.shape[1]
    kind = np.argmax([np.count_nonzero(masks >> kind & 1) for kind in range(ANY)])
    number, *place = np.unravel_index(maps[..., kind].argmax(), maps.shape[:3])
    rows, columns = (slice(max(0, cell * (x - 1)), cell * (x + 2)) for x in place)
    return bool((masks[number, rows, columns] >> kind & 1).any())


def test_scores_and_exports_go_to_the_working_directory(bleeding, tmp_path, monkeypatch, contents):
    monkeypatch.chdir(tmp_path)
    data = ("--dicom", bleeding / "stage_2_train", "--labels", bleeding / "stage_2_train.csv")
    *_, notice, _ = call("evaluate", "phantom", *data, "-q")
    assert notice == SHIPPED.notice
    scores = json.loads(Path("phantom-results/evaluation/external.json").read_text("utf-8"))
    assert scores["auc"]["any"]["value"] > 0.5
    archive = shutil.make_archive("slices", "zip", data[1])
    call("evaluate", "phantom", "--dicom", archive, *data[2:], "--name", "archive", "-q")
    archived = json.loads(Path("phantom-results/evaluation/archive.json").read_text("utf-8"))
    assert (archived["auc"], archived["slices"]) == (scores["auc"], scores["slices"])
    assert SHIPPED.notice in Path("phantom-results/report.html").read_text("utf-8")
    *_, notice, _ = call("export", "phantom", "--format", "keras")
    assert notice == SHIPPED.notice
    exported = Path("phantom-results/export")
    assert json.loads((exported / "metadata.json").read_text("utf-8"))["notice"] == notice
    card = (exported / "README.md").read_text("utf-8")
    assert card.startswith(SHIPPED.card.read_text("utf-8").rstrip())
    assert "| `model.keras` |" in card


def test_a_training_starts_from_its_weights_by_name():
    experiment = load_experiment(str(SHIPPED.experiment), ["model.weights=phantom"])
    model = build_model(experiment.model, read_input(SHIPPED).network.channels)
    warm_start(model, experiment.model)
    for mine, shipped in zip(
        model.get_weights(), load_model(SHIPPED.best).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, shipped)
