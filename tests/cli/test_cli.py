"""The commands as a user types them: files, messages and exit codes."""

import csv
import json
import platform
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import norm

from ich_keras.model.network import CLASS_MAPS, PROBABILITIES
from tests.support import program
from tests.support.pictures import draw_dots
from tfrecords_tools.classes import LABELS, SUBTYPES

SHORT = [
    *("--set", "training.max_steps=6"),
    *("--set", "training.validate_every=3"),
    *("--set", "training.batch_size=8"),
    *("--set", "model.widths=[4,8]"),
    *("--set", "evaluation.bootstrap_draws=50"),
]


PATIENTS = 24
BARE = {"PATH": "", "TF_CPP_MIN_LOG_LEVEL": "3", "HOME": "/nonexistent"}


def run(*arguments: object, cwd: Path | None = None, first=draw_dots, **variables: str):
    """A command that renders no figures."""
    return program.run(arguments, cwd=cwd, environment=BARE | variables, first=first)


def type_in(*arguments: object, cwd: Path | None = None, **variables: str):
    """As `run`, with a Python of its own."""
    command = [sys.executable, "-m", "ich_keras", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=BARE | variables, check=False
    )


def succeed(*arguments: object, by=run, **options) -> str:
    done = by(*arguments, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "demo"
    last = succeed("demo", folder, "--patients", PATIENTS, *SHORT, first=None).splitlines()[-1]
    assert last == f"Demo finished: open {folder / 'run' / 'report.html'}"
    return folder


def test_the_demo_writes_everything_that_the_contract_names(demo):
    made = demo / "run"
    for name in (
        "experiment.yaml",
        "environment.json",
        "history.csv",
        "best.keras",
        "last",
        "tensorboard",
        "figures",
        "evaluation/val.json",
        "evaluation/val_predictions.csv",
        "evaluation/test.json",
        "report.html",
    ):
        assert (made / name).exists(), name
    figures = {path.name for path in (made / "figures").iterdir()}
    assert {"curves.png", "roc_val.png", "class_maps_val.png", "class_grid_val.png"} <= figures
    assert (made / "report.html").stat().st_size < 8_000_000


def test_the_scores_are_those_of_the_contract(demo):
    scores = json.loads((demo / "run" / "evaluation" / "val.json").read_text())
    for name in ("auc", "average_precision", "accuracy", "sensitivity", "specificity"):
        assert set(scores[name]) == set(LABELS)
        assert set(scores[name]["any"]) == {"value", "interval"}
    for name in (
        *("slices", "patients", "mean_auc", "accuracy_mean", "always_negative_accuracy_mean"),
        *("exact_match", "weighted_log_loss", "prior_weighted_log_loss", "brier"),
        *("false_positives", "false_negatives", "size", "checkpoint_step"),
    ):
        assert name in scores, name
    assert scores["size"] == 128
    with (demo / "run" / "evaluation" / "val_predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == scores["slices"]
    columns = ["slice_id", "study_id", "patient_key"]
    columns += [name for label in LABELS for name in (label, f"{label}_true")]
    assert list(rows[0]) == columns
    positives = sum(int(row["any_true"]) for row in rows)
    assert scores["always_negative_accuracy"]["any"] == pytest.approx(1 - positives / len(rows))


@pytest.mark.slow
def test_the_demo_again_keeps_existing_files(demo):
    shards = {p.name: p.read_bytes() for p in (demo / "shards").iterdir()}
    history = (demo / "run" / "history.csv").read_bytes()
    succeed("demo", demo, "--patients", PATIENTS, *SHORT)
    assert {p.name: p.read_bytes() for p in (demo / "shards").iterdir()} == shards
    assert (demo / "run" / "history.csv").read_bytes() == history


def test_evaluate_takes_other_sizes_and_other_shards(demo, tmp_path):
    line = succeed("evaluate", demo / "run", "--split", "test", "--size", 96, cwd=tmp_path)
    assert "always negative" in line
    assert json.loads((demo / "run" / "evaluation" / "test.json").read_text())["size"] == 96
    done = run("evaluate", demo / "run", "--size", 256)
    assert done.returncode == 1
    assert "convert with --size 256" in done.stderr


def test_verify_reads_the_demos_shards(demo):
    assert "are as written" in succeed("verify", demo / "shards")


@pytest.mark.slow
@pytest.mark.parametrize(("size", "runs"), [(96, "runs"), (192, "elsewhere")])
def test_demo_yaml_trains_on_shards_of_another_size(demo, tmp_path, size, runs):
    succeed("convert", demo / "rsna-ich", "--out", "shards", "--size", size, cwd=tmp_path)
    steps = ("--set", "training.max_steps=3")
    variables = {} if runs == "runs" else {"ICH_RUNS": runs, "ICH_COMMIT": "of the image"}
    line = succeed("fit", "demo.yaml", *SHORT, *steps, cwd=tmp_path, **variables)
    run_folder = f"{runs}/demo/1"
    assert line.endswith(f"; `ich-keras evaluate {run_folder}` scores it: {run_folder}\n")
    made = tmp_path / runs / "demo" / "1"
    assert json.loads((made / "input.json").read_text())["size"] == size
    commit = json.loads((made / "environment.json").read_text())["git_commit"]
    assert commit == variables.get("ICH_COMMIT")  # git, which knows it, is not on the PATH


@pytest.mark.slow
def test_tune_finds_a_point_that_fit_takes(demo, tmp_path):
    changes = ("train_steps=4", "samples_per_point=1", "tuner=random", "trials=2")
    settings = [x for change in (*changes, "model.widths=[4,8]") for x in ("--set", change)]
    command = ("tune", "demo_hparams.yaml", "--shards", demo / "shards", *settings)
    line = succeed(*command, cwd=tmp_path).splitlines()[-1]
    folder = tmp_path / "runs" / "demo_hparams" / "1"
    assert "best of 2 trials by val_loss" in line
    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {float(row["training.learning_rate"]) for row in rows} <= {1e-3, 4e-3}
    assert len(list(folder.glob("trials/*/sample_*/best.keras"))) == 2
    best = min(rows, key=lambda row: float(row["val_loss"]))
    assert (
        f"learning_rate: {float(best['training.learning_rate'])}"
        in (folder / "best.yaml").read_text()
    )
    before = (folder / "trials.csv").read_bytes()
    succeed(*command, cwd=tmp_path)  # every sample is finished, and answers from its folder
    assert (folder / "trials.csv").read_bytes() == before
    succeed("fit", folder / "best.yaml", "--shards", demo / "shards", "--run", tmp_path / "again")


def test_predict_answers_on_files_folders_and_archives(demo, tmp_path):
    files = sorted((demo / "rsna-ich" / "stage_2_train").iterdir())[:3]
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.write(files[1], "deep/inside.dcm")
        archive.writestr("readme.txt", "not a slice")
    (tmp_path / "folder" / "nested").mkdir(parents=True)
    (tmp_path / "folder" / "nested" / "slice").write_bytes(files[2].read_bytes())
    out = tmp_path / "out"
    sources = files[0], tmp_path / "study.zip", tmp_path / "folder"
    line = succeed("predict", demo / "run", *sources, "--out", out, first=None)
    assert "3 slices of" in line
    assert "not for diagnosis" in line
    with (out / "slices.csv").open() as file:
        rows = {row["slice_id"]: row for row in csv.DictReader(file)}
    assert set(rows) == {path.stem for path in files}
    with (demo / "run" / "evaluation" / "val_predictions.csv").open() as file:
        scored = {row["slice_id"]: row for row in csv.DictReader(file)}
    for slice_id in rows.keys() & scored.keys():  # the same slice, the same answer
        assert float(rows[slice_id]["any"]) == pytest.approx(
            float(scored[slice_id]["any"]), abs=1e-4
        )
    with (out / "rejects.csv").open() as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["study.zip:readme.txt"]
    drawn = {path.name for path in out.glob("*.png")}
    with (out / "studies.csv").open() as file:
        studies = list(csv.DictReader(file))
    assert len(drawn) == 2 * len(studies)
    assert {"study_001.png", "study_001_look.png"} <= drawn
    assert {x for study in studies for x in study["worth_a_look"].split()} == set(rows)


def test_predict_gives_the_answer_of_evaluate(demo, tmp_path):
    with (demo / "run" / "evaluation" / "val_predictions.csv").open() as file:
        scored = list(csv.DictReader(file))[:4]
    folder = demo / "rsna-ich" / "stage_2_train"
    paths = [folder / f"{row['slice_id']}.dcm" for row in scored]
    succeed("predict", demo / "run", *paths, "--out", tmp_path / "out")
    with (tmp_path / "out" / "slices.csv").open() as file:
        rows = {row["slice_id"]: row for row in csv.DictReader(file)}
    for row in scored:
        for label in LABELS:
            answer = float(rows[row["slice_id"]][label])
            assert answer == pytest.approx(float(row[label]), abs=1e-5)


def test_predict_smooths_a_study_as_validation_fitted(demo, tmp_path):
    index = pd.read_csv(demo / "shards" / "index.csv", dtype=str)
    study = index["study_id"].value_counts().index[0]
    slices = index.loc[index["study_id"] == study, "slice_id"]
    paths = [demo / "rsna-ich" / "stage_2_train" / f"{x}.dcm" for x in slices]
    for options, out in (([], "as_it_is"), (["--smooth"], "smooth")):
        succeed("predict", demo / "run", *paths, "--out", tmp_path / out, *options)
    tables = (tmp_path / x for x in ("as_it_is/slices.csv", "smooth/slices.csv"))
    before, after = (pd.read_csv(x, index_col="slice_id") for x in tables)
    size = json.loads((demo / "run" / "input.json").read_text())["size"]
    how = json.loads((demo / "run" / "fitted" / f"{size}.json").read_text())["smoothing"]
    z = before["position_mm"].to_numpy()
    near = norm.pdf(z[:, None], z, how["sigma_mm"])
    averaged = near @ logit(before[list(LABELS)]).to_numpy() / near.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(after[list(LABELS)], expit(averaged / how["temperature"]), rtol=1e-4)
    (study,) = csv.DictReader((tmp_path / "smooth" / "studies.csv").open())
    assert float(study["any"]) == pytest.approx(after["any"].max())


@pytest.mark.parametrize("options", [pytest.param((), marks=pytest.mark.slow), ("--smooth",)])
def test_predict_answers_on_real_slices(demo, tmp_path, realdata, options):
    ct = realdata / "pydicom+pydicom" / "src" / "pydicom" / "data" / "test_files" / "CT_small.dcm"
    head = realdata / "neurolabusc+dcm_qa_ct" / "In" / "GE"
    out = tmp_path / "out"
    line = succeed("predict", demo / "run", ct, head, "--out", out, *options)
    assert "29 slices of 2 studies" in line
    for table in ("slices.csv", "studies.csv"):
        answers = pd.read_csv(out / table)
        assert (answers[list(SUBTYPES)].max(axis=1) <= answers["any"] + 1e-6).all()


@pytest.mark.integration
def test_a_network_as_onnx_gives_the_same_answer(demo, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs ONNX: make test-slow")
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 80, 3), np.uint8)
    for kind in ("keras", "onnx"):
        succeed("export", demo / "run", "--format", kind, "--out", tmp_path)
    expected = keras.saving.load_model(tmp_path / "model.keras")(images)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    names = [x.name for x in session.get_outputs()]
    for name, output in zip(names, session.run(None, {"image": images}), strict=True):
        np.testing.assert_allclose(output, expected[name], atol=1e-5)


def test_an_exported_network_gives_the_same_answer(demo, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 80, 3), np.uint8)
    names = (("keras", "model.keras"), ("savedmodel", "savedmodel"))
    for kind, name in names:
        succeed("export", demo / "run", "--format", kind, "--out", tmp_path)
        assert (tmp_path / name).exists()
    metadata = json.loads((tmp_path / "metadata.json").read_text())
    assert [window["name"] for window in metadata["windows"]] == ["brain", "subdural", "bone"]
    fitted = json.loads((demo / "run" / "fitted" / f"{metadata['size']}.json").read_text())
    assert metadata["fitted_on_validation"] == fitted
    expected = keras.saving.load_model(tmp_path / "model.keras")(images)
    served = keras.layers.TFSMLayer(tmp_path / "savedmodel", call_endpoint="serve")(images)
    for name in (PROBABILITIES, CLASS_MAPS):
        np.testing.assert_allclose(served[name], expected[name], atol=1e-5)
        answers = np.asarray(served[name])
        assert np.all(answers[..., :5].max(axis=-1) <= answers[..., 5] + 1e-6)
    assert metadata["shard_size"] >= metadata["size"]
    done = run("export", demo / "run", "--format", "keras", "--out", tmp_path)
    assert done.returncode == 2
    assert "exists already" in done.stderr


def test_the_version_names_what_an_answer_depends_on():
    lines = succeed("--version", by=type_in, ICH_COMMIT="abc").splitlines()
    assert lines[0] == f"ich-keras {version('ich-keras')}, abc"
    assert f"Python {platform.python_version()}" in lines
    for package in ("tensorflow", "keras", "keras-tuner", "numpy", "pydicom"):
        assert f"{package} {version(package)}" in lines


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ich-keras ver", ["verify"]),
        ("ich-keras fit half", ["halfres.yaml"]),
        ("ich-keras tune half", ["halfres_hparams.yaml"]),
        ("ich-keras fit demo.yaml --set training.max", ["training.max_steps="]),
        ("ich-keras evaluate RUN --spl", ["--split"]),
    ],
)
def test_the_shell_completes(words, expected):
    variables = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = succeed(by=type_in, _ICH_KERAS_COMPLETE="bash_complete", **variables)
    assert [line.split(",")[1] for line in done.splitlines()] == expected


def test_a_name_that_the_terminal_cannot_show_is_shown_escaped(tmp_path):
    console = {"by": type_in, "PYTHONIOENCODING": "cp1252"}  # of Windows
    out = succeed("synth", "頭", "--patients", 1, "--slices", 1, cwd=tmp_path, **console)
    assert out.strip().endswith("in \\u982d")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fti"], 2, "No such command 'fti'"),
        (["fit"], 2, "Missing argument 'EXPERIMENT' (see `ich-keras fit --help`)"),
        (["fit", "halfres.yaml"], 2, "no shards at shards; make them with `ich-keras convert SRC"),
        (["fit", "halfers.yaml"], 2, "did you mean halfres.yaml?"),
        (["fit", "demo.yaml", "--set", "training.max_stps=1"], 2, "training.max_steps?"),
        (["tune"], 2, "no shards at shards"),
        (["convert"], 2, "no data set at /data/rsna-ich; give its folder"),
        (["convert", "nowhere"], 2, "no data set at nowhere"),
        (["convert", ".", "--size", "big"], 2, "'big' is not a valid integer"),
        (["verify", "nowhere"], 2, "'nowhere' does not exist"),
        (["verify", "."], 1, "no dataset.json"),
        (["evaluate", "nowhere"], 2, "not a trained run"),
        (["predict", "nowhere", "x.dcm"], 2, "not a trained run"),
        (["predict", "phantom", ".", "--threshold", "1"], 2, "give a probability between 0 and 1"),
        (["predict", "phantom", ".", "--threshold", "nan"], 2, "--threshold nan: give a prob"),
        (["predict", "phantom", ".", "--threshold", "high"], 2, "'high' is not a valid float"),
        (["synth", "/dev/null/x", "--patients", "1"], 1, "Not a directory"),
    ],
)
def test_a_mistake_gets_one_line_and_its_exit_code(tmp_path, arguments, code, message):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["doctor"], ["demo"], ["predict", "phantom", "."]])
def test_without_tensorflow_one_line_says_what_to_install(tmp_path, arguments):
    """As in the container image of Beam."""
    blocked = "import sys; sys.modules['tensorflow'] = None"
    code = f"{blocked}; from ich_keras.cli.main import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "TensorFlow is not installed" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_predict_cannot_smooth_at_a_size_that_was_not_evaluated(demo, tmp_path):
    (slice_file, *_) = (demo / "rsna-ich" / "stage_2_train").iterdir()
    done = run("predict", demo / "run", slice_file, "--smooth", "--size", 48, cwd=tmp_path)
    assert done.returncode == 1
    assert "no smoothing is fitted for 48 pixels; `ich-keras evaluate" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_evaluate_refuses_options_that_would_do_nothing(demo, tmp_path):
    labels = demo / "rsna-ich" / "stage_2_train.csv"
    for arguments, message in (
        (["--dicom", demo], "belong together"),
        (["--labels", labels], "belong together"),
        (["--dicom", demo, "--labels", labels, "--masks", tmp_path], "leave them out"),
        (["--name", "../elsewhere"], "give letters, digits"),
    ):
        done = run("evaluate", demo / "run", *arguments)
        assert done.returncode == 2
        assert message in done.stderr.splitlines()[-1]


def test_at_another_size_the_comparison_is_made_too(demo, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(demo / "run", copy)
    succeed("evaluate", copy, "--shards", demo / "shards", "--size", "64", "--against", copy)
    assert json.loads((copy / "comparisons" / "val.json").read_text())["against"] == "run"
    assert json.loads((copy / "evaluation" / "val.json").read_text())["size"] == 64


def test_predict_without_a_usable_file_says_why(demo, tmp_path):
    (tmp_path / "x.dcm").write_text("nonsense")
    done = run("predict", demo / "run", tmp_path / "x.dcm", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "nothing to predict" in done.stderr
    assert "not_dicom (1), as x.dcm: " in done.stderr
    rejects = (tmp_path / "out" / "rejects.csv").read_text().splitlines()
    assert rejects[1].startswith("x.dcm,not_dicom,")


def test_a_broken_checkpoint_is_one_line(demo, tmp_path):
    broken = tmp_path / "run"
    broken.mkdir()
    for name in ("experiment.yaml", "input.json"):
        (broken / name).write_bytes((demo / "run" / name).read_bytes())
    (broken / "best.keras").write_bytes(b"nonsense")
    done = run("evaluate", broken, "--shards", demo / "shards")
    assert done.returncode == 1
    assert "not a readable checkpoint" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
