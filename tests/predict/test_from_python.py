"""What the package gives to Python says the same as the command, for files and for arrays."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ich_keras
from ich_keras.predict.export import export_model
from ich_keras.predict.predict import predict
from ich_keras.run.shipped import find_run
from tests.support.documents import DOCS, blocks
from tests.support.made_dicom import make_dataset, saved
from tests.support.pictures import dots
from tfrecords_tools.classes import LABELS
from tfrecords_tools.errors import InputError
from tfrecords_tools.phantom.rsna_files import synth

HEAVY = ("numpy", "pandas", "tensorflow", "keras", "pydicom", "cv2")
SLICES = 12


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """The files of a phantom study, of which one is damaged, and one that is none."""
    data = tmp_path_factory.mktemp("phantom") / "data"
    synth(data, patients=1, slices=SLICES + 1, size=64, seed=4, workers=1)
    (data / "stage_2_train" / "readme.txt").write_text("no slice")
    return data / "stage_2_train"


@pytest.fixture(scope="module")
def detector():
    return ich_keras.load("phantom")


@pytest.fixture(scope="module")
def head(study) -> ich_keras.HeadCT:
    return ich_keras.read_study(study).series[0]


def probabilities(prediction) -> np.ndarray:
    return prediction.slices[list(LABELS)].to_numpy()


def test_importing_the_package_loads_nothing():
    code = f"import sys, ich_keras; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        ich_keras.laod  # noqa: B018


@pytest.mark.parametrize("smooth", [False, True])
def test_the_tables_are_those_of_the_command(study, head, detector, tmp_path, smooth):
    with dots():
        predict(find_run("phantom"), [study], tmp_path / "out", smooth=smooth)
    prediction = ich_keras.load("phantom", smooth=smooth).predict(study, class_maps=True)
    for name in ("slices", "studies", "rejects"):
        table = getattr(prediction, name)
        table.to_csv(tmp_path / "mine.csv", index=False, lineterminator="\n")
        assert (tmp_path / "mine.csv").read_bytes() == (
            tmp_path / "out" / f"{name}.csv"
        ).read_bytes()
    assert len(prediction.slices) == SLICES and len(prediction.rejects) == 2
    (maps,) = prediction.class_maps
    images = head.seen(detector.network_input).images  # of the size that the network is given
    expected = detector.with_maps(images)["class_maps"]
    assert (maps.shape, maps.dtype) == ((SLICES, *expected.shape[1:3], len(LABELS)), np.float32)
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-5)
    assert prediction.notice.startswith("For research only.")


def test_a_head_in_memory_is_answered_as_its_files(study, head, detector):
    of_files, of_arrays = detector.predict([study]), detector.predict([head, head])
    for column in ("slice_id", "position_mm", *LABELS):
        both = of_arrays.slices[column].to_numpy().reshape(2, SLICES)
        assert (both == of_files.slices[column].to_numpy()).all()
    assert (of_arrays.slices["file"] == "").all() and of_arrays.slices["frame"].isna().all()
    assert of_arrays.studies["study"].tolist() == of_arrays.studies["patient"].tolist() == [1, 2]
    assert of_arrays.studies["found"].tolist() == 2 * of_files.studies["found"].tolist()
    assert not len(of_arrays.rejects) and of_arrays.class_maps == ()


def test_the_orientation_of_arrays_is_heeded(head, detector):
    mirrored = replace(head, hu=head.hu[:, :, ::-1], orientation=(-1, 0, 0, 0, 1, 0))
    expected, found = detector.predict(head), detector.predict(mirrored)
    assert (probabilities(found) == probabilities(expected)).all()
    assert "turned to the usual view" in found.studies.loc[0, "remarks"]


def test_the_spacing_of_arrays_is_heeded(head, detector):
    long = replace(
        head, hu=head.hu[:, ::2], spacing_mm=(2 * head.spacing_mm[0], head.spacing_mm[1])
    )
    remarks = detector.predict(long).studies.loc[0, "remarks"]
    assert "pixels made square" in remarks


def test_slices_without_positions_are_answered_and_say_so(head, detector):
    unplaced = replace(head, position_mm=None)
    prediction = detector.predict(unplaced)
    assert prediction.slices["position_mm"].isna().all()
    assert "positions unknown" in prediction.studies.loc[0, "remarks"]
    assert (probabilities(prediction) == probabilities(detector.predict(head))).all()


def test_a_study_is_read_in_hu_with_its_geometry(study, head):
    assert head.hu.shape == (SLICES, 64, 64) and head.hu.dtype == np.float32
    assert head.hu.min() < -900 and head.hu.max() > 300
    assert (np.diff(head.position_mm) > 0).all()
    np.testing.assert_allclose(np.diff(head.corner_mm[:, 2]), np.diff(head.position_mm), rtol=0.2)
    assert len(set(head.slice_ids)) == SLICES
    rejects = ich_keras.read_study([study]).rejects
    assert rejects.columns.tolist() == ["path", "reason", "detail"]
    assert len(rejects) == 2 and "not_dicom" in rejects["reason"].tolist()


def test_an_export_answers_as_its_run(study, detector, tmp_path):
    path = export_model(find_run("phantom"), "keras", tmp_path)
    for smooth in (False, True):
        exported = ich_keras.load(path, smooth=smooth).predict(study)
        of_run = ich_keras.load("phantom", smooth=smooth).predict(study)
        np.testing.assert_allclose(probabilities(exported), probabilities(of_run), atol=1e-6)
        assert exported.studies["found"].tolist() == of_run.studies["found"].tolist()
        assert exported.notice == of_run.notice
    with pytest.raises(InputError, match="no smoothing is fitted for 64 pixels"):
        ich_keras.load(path, size=64, smooth=True)
    (tmp_path / "metadata.json").write_text(json.dumps({"size": 128}))
    with pytest.raises(InputError, match=r"metadata\.json: damaged \('shard_size'\)"):
        ich_keras.load(path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hu": np.zeros((64, 64))}, r"hu: float64 \(64, 64\); give numbers of shape \(any, any"),
        ({"hu": np.zeros((12, 8, 64))}, "hu: shape .* give slices of 32 to 4096 pixels"),
        ({"hu": np.full((12, 64, 64), np.nan)}, "hu: has values that are not finite"),
        ({"hu": np.full((12, 64, 64), 60000)}, "hu: values from 60000 to 60000 are no HU"),
        ({"position_mm": np.arange(11)}, r"position_mm: int64 \(11,\); .* of shape \(12,\)"),
        ({"position_mm": -np.arange(12)}, "position_mm: falls; order the slices"),
        ({"spacing_mm": (0.5, 0)}, "spacing_mm: .* give two numbers above 0, or None"),
        ({"spacing_mm": ("a", "b")}, "spacing_mm: .* give numbers of shape"),
        ({"orientation": (1, 0, 0, 1, 0, 0)}, "not two orthogonal unit vectors"),
        ({"orientation": (1, 0, 0, 0, 0, -1)}, "is not axial; resample"),
        ({"slice_ids": ("a",)}, "slice_ids: 1 for 12 slices; give one per slice"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changed, message):
    given = {"hu": np.full((12, 64, 64), -1000), "position_mm": np.arange(12), "spacing_mm": (1, 1)}
    ich_keras.HeadCT(**given)
    with pytest.raises(InputError, match=message) as caught:
        ich_keras.HeadCT(**given | changed)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_predicted_is_refused(study, head, detector, tmp_path):
    (tmp_path / "a.txt").write_text("no slice")
    cases = [
        ([tmp_path / "none"], "no such file or folder: "),
        (tmp_path / "a.txt", r"nothing to predict in .*: not_dicom \(1\), as a.txt: "),
        ([study, head], "not both, and at least one"),
        ([], "not both, and at least one"),
        (head.hu, "HeadCT.hu, position_mm, spacing_mm. for arrays"),
        (replace(head, hu=head.hu + 1024), "are no HU of a head, around which is air at -1000"),
    ]
    for given, message in cases:
        with pytest.raises(InputError, match=message):
            detector.predict(given)


def test_what_cannot_be_loaded_or_read_is_refused(tmp_path):
    (tmp_path / "best.keras").write_bytes(b"")
    for given, message in [
        (tmp_path, "not a trained run, .* or the name of a shipped network: phantom"),
        (tmp_path / "best.keras", "metadata.json is missing; give a file that `ich-keras export"),
    ]:
        with pytest.raises(InputError, match=message):
            ich_keras.load(given)
    with pytest.raises(InputError, match="size: 8; give at least 16 pixels"):
        ich_keras.load("phantom", size=8)
    with pytest.raises(InputError, match="no such file or folder"):
        ich_keras.read_study(tmp_path / "none")
    with pytest.raises(InputError, match=r"nothing to read in .*not_dicom"):
        (tmp_path / "a.txt").write_text("no slice")
        ich_keras.read_study(tmp_path / "a.txt")


def test_a_study_is_read_without_tensorflow(study):
    code = (
        f"import sys, ich_keras; ich_keras.read_study({str(study)!r})\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_slices_of_several_sizes_are_a_head_each(tmp_path):
    for i in range(5):
        position = {"ImagePositionPatient": [-125, -120, 5.0 * i], "SOPInstanceUID": f"ID_{i}"}
        dataset = make_dataset(np.zeros((32, 40 + 8 * (i % 2)), np.int16), **position)
        (tmp_path / f"{i}.dcm").write_bytes(saved(dataset).getvalue())
    read = ich_keras.read_study(tmp_path)
    assert [x.hu.shape for x in read.series] == [(3, 32, 40), (2, 32, 48)]
    assert [x.slice_ids for x in read.series] == [("ID_0", "ID_2", "ID_4"), ("ID_1", "ID_3")]
    assert read.series[1].position_mm.tolist() == [5, 15]


def test_several_studies_are_not_read_as_one(tmp_path):
    synth(tmp_path / "data", patients=2, slices=2, size=64, workers=1)
    with pytest.raises(InputError, match=r"holds 3 studies; give the files of one"):
        ich_keras.read_study(tmp_path / "data")


def test_the_examples_of_the_guide_run(study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("STUDY", "OTHER"):
        Path(name).symlink_to(study)
    examples = [x.text for x in blocks(DOCS / "guides" / "python.md") if x.language == "python"]
    assert len(examples) > 5
    names: dict = {}
    for text in examples:
        exec(compile(text, "python.md", "exec"), names)
    printed = re.search(r"print\(error\)  # (.*)", examples[-1])[1]
    assert capsys.readouterr().out.splitlines()[-1] == printed
    assert isinstance(names["prediction"].studies, pd.DataFrame)
