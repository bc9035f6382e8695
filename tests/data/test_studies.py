"""Which files belong together, whatever an export made of their identifiers and orientation."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from ich_keras.data.network_input import NetworkInput
from ich_keras.data.sources import Source
from ich_keras.data.studies import Study, find_studies, read_series
from tests.support.encoders import LOSSLESS
from tests.support.enhanced import compress, enhanced_ct, hu_of
from tests.support.exports import TURNS, read_study, set_pixels
from tests.support.exports import save as export
from tfrecords_tools.phantom.rsna_files import synth
from tfrecords_tools.windows import WINDOWS

INPUT = NetworkInput(shard_size=64, size=64, windows=(WINDOWS["brain"],), neighbours=0)
SLICES = 4
RLE = LOSSLESS[0]


@pytest.fixture(scope="module")
def head(tmp_path_factory) -> list[pydicom.Dataset]:
    """The slices of a phantom study, from below; one file of the set is cut short on purpose."""
    folder = tmp_path_factory.mktemp("head")
    synth(folder, patients=2, slices=SLICES, size=64, seed=3, workers=1)
    studies, _ = find_studies([folder / "stage_2_train"])
    whole = next(x for x in studies if len(x.files) == SLICES)
    return read_study([file.source.path for file in whole.files])


def studies_of(*folders: Path) -> list[Study]:
    studies, rejects = find_studies(folders)
    assert not rejects
    return studies


def images_of(study: Study) -> np.ndarray:
    (read,) = read_series(study.series, INPUT, [])
    return read.images


def test_a_study_uid_of_two_patients_is_two_studies(head, tmp_path):
    export(head, tmp_path / "a")
    export(head, tmp_path / "b", lambda x, _: setattr(x, "PatientID", "another"))
    both = studies_of(tmp_path)
    assert [len(study.files) for study in both] == [SLICES, SLICES]
    assert {study.patient_id for study in both} == {head[0].PatientID, "another"}


def test_without_identifiers_the_files_of_a_folder_belong_together(head, tmp_path):
    def anonymous(dataset, number):
        for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
            delattr(dataset, keyword)

    for name in ("a", "b"):
        export(
            head[: SLICES // 2] if name == "a" else head[SLICES // 2 :], tmp_path / name, anonymous
        )
    assert [len(study.files) for study in studies_of(tmp_path)] == [2, 2]


def test_slices_that_share_one_sop_uid_are_told_apart(head, tmp_path):
    (study,) = studies_of(
        export(head, tmp_path / "a", lambda x, _: setattr(x, "SOPInstanceUID", "1.2"))
    )
    assert sorted(x.slice_id for x in study.files) == ["1.2", "1.2#2", "1.2#3", "1.2#4"]


def test_a_copy_is_left_out_and_named(head, tmp_path):
    export(head, tmp_path / "a")
    export(head, tmp_path / "b")
    (study,), rejects = find_studies([tmp_path])
    assert len(study.files) == SLICES
    assert {x["reason"] for x in rejects} == {"duplicate_id"}
    assert [x["detail"] for x in rejects] == [
        f"the slice of a/{number:03d}.dcm again" for number in range(SLICES)
    ]


def test_another_reconstruction_is_a_series_of_its_own_and_not_judged(head, tmp_path):
    def sharp(dataset, number):
        dataset.SeriesInstanceUID += "1"
        dataset.SOPInstanceUID += "1"
        dataset.ConvolutionKernel = "H70h"

    export(head, tmp_path / "a", sharp)
    export(head, tmp_path / "b")
    (study,) = studies_of(tmp_path)
    judged, other = study.series
    assert [x.source.name[0] for x in (*judged.files, *other.files)] == list("bbbbaaaa")
    assert "sharp kernel H70h" in other.facts.remarks()


@pytest.mark.parametrize("keyword", ["InstanceNumber", None])
def test_an_order_is_not_taken_for_millimetres(head, tmp_path, keyword):
    def unplaced(dataset, number):
        for each in ("ImagePositionPatient", "SliceLocation"):
            dataset.pop(each, None)
        if keyword:
            setattr(dataset, keyword, str(number + 1))

    (study,) = studies_of(export(head, tmp_path / "a", unplaced))
    (read,) = read_series(study.series, INPUT, [])
    assert np.isnan(read.position_mm).all()
    assert "positions unknown" in study.series[0].facts.remarks()
    np.testing.assert_array_equal(
        read.images, images_of(studies_of(export(head, tmp_path / "b"))[0])
    )


@pytest.mark.parametrize("turn", TURNS)
def test_a_network_sees_a_turned_slice_as_it_is_looked_at(head, tmp_path, turn):
    """The same pixels in another order, with an orientation that says so."""
    (study,) = studies_of(export(head, tmp_path / "a", TURNS[turn]))
    (usual,) = studies_of(export(head, tmp_path / "b"))
    np.testing.assert_array_equal(images_of(study), images_of(usual))
    assert "turned to the usual view" in study.series[0].facts.remarks()


def test_pixels_of_half_the_width_change_little(head, tmp_path):
    def stretched(dataset, _):
        set_pixels(dataset, dataset.pixel_array.repeat(2, axis=1))
        height, width = dataset.PixelSpacing
        dataset.PixelSpacing = [height, width / 2]

    (study,) = studies_of(export(head, tmp_path / "a", stretched))
    (usual,) = studies_of(export(head, tmp_path / "b"))
    difference = np.abs(images_of(study).astype(int) - images_of(usual))
    assert np.median(difference) <= 1


def save_enhanced(head, folder: Path) -> Path:
    folder.mkdir()
    enhanced_ct(head).save_as(folder / "whole.dcm", enforce_file_format=True)
    return folder


def test_the_frames_of_an_enhanced_ct_are_slices_of_a_series(head, tmp_path):
    (study,) = studies_of(save_enhanced(head[::-1], tmp_path / "a"))
    (series,) = study.series
    read, _ = series.read()
    assert [file.frame for file, _ in read] == [4, 3, 2, 1]  # along the normal, from below
    assert [file.source.name for file, _ in read] == ["whole.dcm"] * SLICES
    np.testing.assert_array_equal([ct.hu for _, ct in read], [hu_of(x) for x in head])


def test_an_enhanced_ct_is_opened_once_for_its_pixels(head, tmp_path, monkeypatch):
    (study,) = studies_of(save_enhanced(head, tmp_path / "a"))
    opened = []
    original = Source.open
    monkeypatch.setattr(Source, "open", lambda self: opened.append(1) or original(self))
    study.series[0].read()
    assert len(opened) == 1


def test_a_copy_of_an_enhanced_ct_is_left_out_frame_by_frame(head, tmp_path):
    save_enhanced(head, tmp_path / "a")
    save_enhanced(head, tmp_path / "b")
    (study,), rejects = find_studies([tmp_path])
    assert len(study.files) == SLICES
    assert [x["detail"] for x in rejects] == [
        f"frame {number}: the slice of a/whole.dcm again" for number in range(1, SLICES + 1)
    ]


def test_a_frame_that_cannot_be_read_costs_no_other(head, tmp_path):
    whole = enhanced_ct(head)
    stored = np.frombuffer(whole.PixelData, "<i2").reshape(SLICES, whole.Rows, whole.Columns)
    frames = [RLE.encode(x.astype(np.int64), 16) for x in stored]
    frames[2] = frames[2][: len(frames[2]) // 2]
    compress(whole, RLE.syntax, frames, table=True)
    whole.save_as(tmp_path / "whole.dcm", enforce_file_format=True)
    (study,) = studies_of(tmp_path)
    read, rejects = study.series[0].read()
    assert [file.frame for file, _ in read] == [1, 2, 4]
    (row,) = rejects
    assert row["path"] == "whole.dcm"
    assert row["detail"].startswith("frame 3: ")
