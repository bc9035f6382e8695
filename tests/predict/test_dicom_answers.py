"""What a viewer gets besides pictures: masks and the structured report, read back."""

from dataclasses import replace

import highdicom as hd
import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.sr.codedict import codes

from ich_keras import __version__
from ich_keras.data.studies import find_studies
from ich_keras.predict.dicom import objects
from ich_keras.predict.dicom.algorithm import network_identity
from ich_keras.predict.dicom.objects import write_dicom
from ich_keras.predict.dicom.sources import NOTICE, PRIVATE_CODES
from ich_keras.predict.tables import labels_at_thresholds
from tests.support.enhanced import enhanced_ct
from tests.support.exports import read_study
from tests.support.predicted_slices import ALGORITHM, CELLS, THRESHOLDS, UNFITTED, predicted
from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.phantom.rsna_files import synth

ABSENT_KINDS = {"epidural", "subdural"}  # without a threshold, and with one that nothing reaches


def read_report(path):
    """The document, and its groups of measurements by label."""
    document = hd.sr.srread(path)
    assert isinstance(document, hd.sr.Comprehensive3DSR)
    groups = document.content.get_image_measurement_groups()
    return document, {group.tracking_identifier: group for group in groups}


def test_masks_are_the_cells_that_reach_the_threshold_on_the_pixels_of_the_slices(head, tmp_path):
    assert write_dicom(tmp_path, 1, head, ALGORITHM) == 0
    masks = hd.seg.segread(tmp_path / "series_1_masks.dcm")
    assert masks.SegmentationType == "BINARY"
    assert masks.ImageComments == ALGORITHM.notice
    labels = [x.SegmentLabel for x in masks.SegmentSequence]
    assert labels == [x for x in SUBTYPES if x not in ABSENT_KINDS]
    for segment in masks.SegmentSequence:
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        assert kind.CodingSchemeDesignator == PRIVATE_CODES
        assert kind.CodeMeaning == f"{segment.SegmentLabel.capitalize()} hemorrhage"
    pixels = masks.get_pixels_by_source_instance(
        [x.ct.header.slice_id for x in head], assert_missing_frames_are_empty=True
    )
    rows, columns = head[0].ct.hu.shape
    for member, shown in zip(head, pixels, strict=True):
        for place, label in enumerate(labels):
            cells = member.maps[..., SUBTYPES.index(label)] >= THRESHOLDS[label]
            expected = cells.repeat(rows // CELLS, axis=0).repeat(columns // CELLS, axis=1)
            np.testing.assert_array_equal(shown[..., place], expected)
    measures = masks.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert tuple(measures.PixelSpacing) == head[0].ct.header.pixel_spacing
    source = pydicom.dcmread(head[0].file.source.path, stop_before_pixels=True)
    assert masks.FrameOfReferenceUID == source.FrameOfReferenceUID


def test_a_kind_that_the_report_calls_absent_has_no_mask(head, tmp_path):
    absent = THRESHOLDS | {"intraparenchymal": 1.0}
    assert write_dicom(tmp_path, 1, head, replace(ALGORITHM, study_thresholds=absent)) == 0
    masks = pydicom.dcmread(tmp_path / "series_1_masks.dcm")
    assert "intraparenchymal" not in {x.SegmentLabel for x in masks.SegmentSequence}


def test_masks_of_slices_that_are_not_square_leave_out_the_padding(head, tmp_path):
    wide = [replace(x, ct=replace(x.ct, hu=x.ct.hu[128:-128])) for x in head]
    assert write_dicom(tmp_path, 1, wide, ALGORITHM) == 0
    masks = hd.seg.segread(tmp_path / "series_1_masks.dcm")
    reached = head[0].maps[2:-2, :, SUBTYPES.index("intraparenchymal")] >= 0.8
    (shown,) = masks.get_pixels_by_source_instance(
        [head[0].ct.header.slice_id], ignore_spatial_locations=True
    )
    np.testing.assert_array_equal(shown[..., 0], reached.repeat(64, 0).repeat(64, 1))


def test_without_thresholds_there_are_no_masks_and_no_decisions(head, tmp_path):
    assert write_dicom(tmp_path, 1, head, UNFITTED) == 0
    assert not (tmp_path / "series_1_masks.dcm").exists()
    _, groups = read_report(tmp_path / "series_1_report.dcm")
    assert list(groups) == list(LABELS)
    for group in groups.values():
        assert not group.get_qualitative_evaluations(codes.DCM.PresenceOfProperty)
        assert len(group.get_measurements()) == 1


def test_the_report_says_what_studies_csv_says(head, tmp_path):
    write_dicom(tmp_path, 1, head, ALGORITHM)
    _, groups = read_report(tmp_path / "series_1_report.dcm")
    table = np.stack([x.probabilities for x in head])
    maxima = pd.DataFrame([dict(zip(LABELS, table.max(axis=0), strict=True))])
    found = labels_at_thresholds(maxima, THRESHOLDS)[0].split()
    assert {"intraparenchymal", "any"} <= set(found)
    for k, label in enumerate(LABELS):
        probability, *threshold = groups[label].get_measurements()
        assert probability.name == codes.DCM.Probability
        assert probability.value == pytest.approx(table[:, k].max(), abs=1e-12)
        assert [x.value for x in threshold] == [x for x in [THRESHOLDS[label]] if x is not None]
        decisions = groups[label].get_qualitative_evaluations(codes.DCM.PresenceOfProperty)
        said = [x.value for x in decisions]
        present = codes.DCM.Present if label in found else codes.DCM.Absent
        assert said == ([] if label == "epidural" else [present])
        sources = [x.referenced_sop_instance_uid for x in groups[label].source_images]
        highest = np.argsort(-table[:, k])[:3]
        assert sources == [head[i].ct.header.slice_id for i in highest]
    assert groups["any"].finding_type == codes.SCT.IntracranialHemorrhage
    assert groups["subdural"].finding_type.scheme_designator == PRIVATE_CODES


def test_the_report_says_that_a_threshold_was_given(head, tmp_path):
    given = replace(ALGORITHM, study_thresholds=THRESHOLDS | {"any": 0.25}, own_threshold=0.25)
    for folder, algorithm, said in ((tmp_path / "a", given, 1), (tmp_path / "b", ALGORITHM, 0)):
        write_dicom(folder, 1, head, algorithm)
        document, groups = read_report(folder / "series_1_report.dcm")
        parameters = hd.sr.utils.find_content_items(
            document, name=codes.DCM.AlgorithmParameters, recursive=True
        )
        text = "threshold of any, 0.25, given by the user instead"
        assert sum(x.value == text for x in parameters) == said * len(LABELS)
        assert (groups["any"].get_measurements()[1].value == 0.25) == bool(said)


def test_the_report_names_patient_sources_algorithm_and_notice(head, tmp_path):
    write_dicom(tmp_path, 1, head, ALGORITHM)
    document, _ = read_report(tmp_path / "series_1_report.dcm")
    source = pydicom.dcmread(head[0].file.source.path, stop_before_pixels=True)
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID"):
        assert document[keyword].value == source[keyword].value
    assert document.SeriesInstanceUID != source.SeriesInstanceUID
    assert document.VerificationFlag == "UNVERIFIED"
    assert NOTICE.lower() in document.SeriesDescription
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    evidence = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert {x.ReferencedSOPInstanceUID for x in evidence} == {x.ct.header.slice_id for x in head}
    (comment,) = hd.sr.utils.find_content_items(document, name=codes.DCM.Comment)
    assert comment.value == f"{NOTICE}. {ALGORITHM.notice}"
    find = hd.sr.utils.find_content_items
    images = find(document, codes.SCT.Source, recursive=True)
    assert [x.referenced_sop_instance_uid for x in images] == [x.ct.header.slice_id for x in head]
    versions = find(document, codes.DCM.AlgorithmVersion, recursive=True)
    assert {x.value for x in versions} == {__version__}
    parameters = {x.value for x in find(document, codes.DCM.AlgorithmParameters, recursive=True)}
    assert f"network {ALGORITHM.network}" in parameters


def test_only_the_judged_series_has_a_report(head, tmp_path):
    assert write_dicom(tmp_path, 2, head, ALGORITHM) == 0
    assert (tmp_path / "series_2_masks.dcm").exists()
    assert not list(tmp_path.glob("*report*"))


def test_a_report_that_cannot_be_written_is_counted_and_named(head, tmp_path, monkeypatch, caplog):
    def fails(*_):
        raise ValueError("no date")

    monkeypatch.setattr(objects, "report", fails)
    assert write_dicom(tmp_path, 1, head, ALGORITHM) == 1
    assert "series 1: the report not written, the headers are unusable: no date" in caplog.text
    assert (tmp_path / "series_1_masks.dcm").exists()


def test_the_report_of_an_enhanced_ct_refers_to_its_frames(tmp_path):
    synth(tmp_path / "data", patients=2, slices=3, size=64, seed=1)
    studies, _ = find_studies([tmp_path / "data" / "stage_2_train"])
    slices = read_study([file.source.path for file in studies[0].files])
    (tmp_path / "enhanced").mkdir()
    enhanced_ct(slices).save_as(tmp_path / "enhanced" / "a.dcm", enforce_file_format=True)
    (study,), _ = find_studies([tmp_path / "enhanced"])
    members = predicted(study.series[0].read()[0])
    assert write_dicom(tmp_path / "out", 1, members, ALGORITHM) == 0
    _, groups = read_report(tmp_path / "out" / "series_1_report.dcm")
    for k, label in enumerate(LABELS):
        order = np.argsort([-x.probabilities[k] for x in members])[:3]
        frames = [x.referenced_frame_numbers for x in groups[label].source_images]
        assert frames == [[members[i].file.frame] for i in order]


def test_another_training_is_another_network(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).write_text(name)
    first, second = (network_identity("x", tmp_path / name) for name in ("first", "second"))
    assert first != second
    assert first.startswith("x, SHA-256 ")
