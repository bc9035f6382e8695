"""A small data set in the RSNA layout, written for a test."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support.made_dicom import make_dataset, saved
from tfrecords_tools.classes import LABELS
from tfrecords_tools.planning.file_scan import scan_files
from tfrecords_tools.planning.scan import Scan, scan
from tfrecords_tools.planning.source import find_source

EDGE = 32  # pixels
SLICES = 3  # a study


@dataclass(frozen=True)
class Truth:
    """The content of a written slice."""

    slice_id: str
    patient_id: str
    study_id: str
    z: float
    hu: np.ndarray
    label: tuple[int, ...]


def rsna_id(*parts: object) -> str:
    return "ID_" + hashlib.sha256(repr(parts).encode()).hexdigest()[:9]


def write_rsna(root: Path, *, patients: int = 12, test_patients: int = 0) -> dict[str, Truth]:
    """Writes `stage_2_train/` with its CSV, and `stage_2_test/` if there are test patients.

    Patient k bleeds by label k % 6 where that is one of the five, in its first slice.
    """
    truths = [_truth(patient, number) for patient in range(patients) for number in range(SLICES)]
    for truth in truths:
        write_slice(root / "stage_2_train" / f"{truth.slice_id}.dcm", truth)
    write_labels(root / "stage_2_train.csv", truths)
    for patient in range(1000, 1000 + test_patients):
        for number in range(SLICES):
            truth = _truth(patient, number)
            write_slice(root / "stage_2_test" / f"{truth.slice_id}.dcm", truth)
            truths.append(truth)
    return {truth.slice_id: truth for truth in truths}


def write_slice(path: Path, truth: Truth) -> None:
    dataset = make_dataset(
        np.int16(truth.hu + 1024),
        SOPInstanceUID=truth.slice_id,
        PatientID=truth.patient_id,
        StudyInstanceUID=truth.study_id,
        ImagePositionPatient=[0, 0, truth.z],
        PixelSpacing=[0.5, 0.5],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(saved(dataset).getvalue())


def write_labels(path: Path, truths: list[Truth]) -> None:
    lines = [
        f"{truth.slice_id}_{label},{value}\n"
        for truth in truths
        for label, value in zip(LABELS, truth.label, strict=True)
    ]
    path.write_text("ID,Label\n" + "".join(lines), encoding="utf-8")


def scanned(root: Path, *, hash_pixels: bool = False) -> Scan:
    """The scan of such a folder, read in this process."""

    def read_headers(of: str, chunks: Iterator[Sequence[str]], hashed: bool):
        return (scan_files(of, chunk, hashed) for chunk in chunks)

    return scan(find_source(root), read_headers, hash_pixels=hash_pixels)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by relative path."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _truth(patient: int, number: int) -> Truth:
    rng = np.random.default_rng([patient, number])
    hu = rng.integers(-1000, 1800, (EDGE, EDGE))
    hu[:8] = -1000
    bleeding = [int(number == 0 and patient % 6 == kind) for kind in range(5)]
    return Truth(
        rsna_id("slice", patient, number),
        rsna_id("patient", patient),
        rsna_id("study", patient),
        z=12.5 + 5 * number,
        hu=hu,
        label=(*bleeding, max(bleeding)),
    )
