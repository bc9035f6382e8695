"""Phantom studies on disk, in the layout and with the quirks of the RSNA set."""

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tfrecords_tools.classes import LABELS
from tfrecords_tools.errors import UsageError
from tfrecords_tools.interrupts import uninterrupted
from tfrecords_tools.phantom.cohort import studies_of
from tfrecords_tools.phantom.head.tissues import CLASSES
from tfrecords_tools.phantom.sampling import Ablation
from tfrecords_tools.phantom.scanner.acquisition import Storage
from tfrecords_tools.phantom.study import make_study
from tfrecords_tools.processes import worker_pool
from tfrecords_tools.progress import progress

TRAIN_FOLDER, TRAIN_LABELS, MASK_FOLDER = "stage_2_train", "stage_2_train.csv", "masks"
TISSUE_FOLDER, TISSUE_NAMES = "tissues", "classes.csv"
DOUBLED_ROWS = 2  # slices whose label rows stand twice, as four do in the RSNA set
TRUNCATED_SHARE = 0.3  # of the pixel data that the cut file keeps


class SynthError(UsageError):
    """A folder that phantom studies cannot be written to."""


@dataclass(frozen=True)
class SynthSummary:
    """What was written.

    Attributes:
        directory: where.
        slices: DICOM files.
        patients: that they come from.
        positives: label to slices that bear it.
    """

    directory: Path
    slices: int
    patients: int
    positives: dict[str, int]


@dataclass(frozen=True)
class _Job:
    """A patient to write: the arguments of `synth`, and which one."""

    directory: Path
    patient: int
    slices: int
    size: int
    seed: int
    ablation: Ablation | None
    tissues: bool


@dataclass(frozen=True, eq=False)
class StoredSlice:
    """A slice as its file holds it.

    Attributes:
        stored: int16 or uint16, shape (rows, columns).
        storage: how HU became those values.
        position: Image Position (Patient), mm; shape (3,).
        orientation: Image Orientation (Patient), six numbers.
        pixel: edge of a pixel, mm.
        mask: uint8, shape (rows, columns); bit k is set where label k of the five bleeds.
    """

    stored: np.ndarray
    storage: Storage
    position: np.ndarray
    orientation: Sequence[float]
    pixel: float
    mask: np.ndarray


def synth(
    directory: Path,
    *,
    patients: int = 320,
    slices: int = 16,
    size: int = 256,
    seed: int = 0,
    workers: int | None = None,
    ablation: Ablation | None = None,
    tissues: bool = False,
) -> SynthSummary:
    """Writes a phantom data set: `stage_2_train/`, `stage_2_train.csv` and `masks/`.

    The same numbers give the same bytes, whatever the number of workers, and more patients leave
    the earlier ones as they are. A mask is an 8-bit PNG; bit k is set where label k bleeds.

    Args:
        directory: new, or empty.
        patients: to make; one in twelve is scanned twice.
        slices: a study.
        size: edge of a slice in pixels.
        seed: of everything.
        workers: processes; None means one a core.
        ablation: a function of a module, applied to each study before it is rendered.
        tissues: whether to write `tissues/` too: 8-bit PNGs whose values `classes.csv` there names.

    Raises:
        SynthError: if the directory holds something.
    """
    make_folders(directory)
    if tissues:
        _write_classes(directory / TISSUE_FOLDER)
    jobs = [
        _Job(directory, patient, slices, size, seed, ablation, tissues)
        for patient in range(patients)
    ]
    rows: list[tuple[str, np.ndarray]] = []
    with worker_pool(workers) as pool:
        with uninterrupted():
            made = pool.map(_write_patient, jobs).result()
        for found in progress(made, total=patients, desc="synth", unit="patient"):
            rows += found
    _truncate_one(directory, rows)
    write_labels(directory, rows)
    totals = np.sum([labels for _, labels in rows], axis=0)
    positives = {label: int(count) for label, count in zip(LABELS, totals, strict=True)}
    return SynthSummary(directory, len(rows), patients, positives)


def make_folders(directory: Path) -> None:
    """Makes the folders of a data set.

    Raises:
        SynthError: if the directory holds something.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise SynthError(f"{directory}: is not an empty folder; give a new one, or remove it")
    for folder in (TRAIN_FOLDER, MASK_FOLDER):
        (directory / folder).mkdir(parents=True, exist_ok=True)


def write_slice(
    directory: Path, ids: tuple[str, str, str], image: StoredSlice, patient: int
) -> None:
    """Writes a slice's DICOM file and its mask into the folders of a data set.

    Args:
        directory: of the data set.
        ids: of slice, study and patient.
        image: the slice.
        patient: decides the transfer syntax, and how the window is written.
    """
    dataset = _dataset(image, ids, patient)
    with _any_identifier():  # as it stands: enforcing the format would mend the quirks
        dataset.save_as(directory / TRAIN_FOLDER / f"{ids[0]}.dcm")
    _write_mask(directory / MASK_FOLDER / f"{ids[0]}.png", image.mask)


def write_labels(directory: Path, rows: Sequence[tuple[str, np.ndarray]]) -> None:
    """Writes the long CSV of a data set, in the order of the ids; moved into place whole.

    Args:
        directory: of the data set.
        rows: of each slice its id and six labels.
    """
    ordered = sorted(rows, key=lambda row: row[0])
    lines = [
        (f"{slice_id}_{label}", value)
        for slice_id, labels in [*ordered, *ordered[:DOUBLED_ROWS]]
        for label, value in zip(LABELS, labels, strict=True)
    ]
    temporary = directory / f".partial-{TRAIN_LABELS}"
    table = pd.DataFrame(lines, columns=["ID", "Label"])
    table.to_csv(temporary, index=False, lineterminator="\n")
    temporary.replace(directory / TRAIN_LABELS)


def phantom_id(*parts: object) -> str:
    """An identifier in the form of the RSNA set's: `ID_` and nine hexadecimal digits."""
    return "ID_" + hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:9]


def _write_patient(job: _Job) -> list[tuple[str, np.ndarray]]:
    """Writes a patient's files; returns (slice id, labels) a slice. Run in a worker."""
    seed, patient = job.seed, job.patient
    patient_id = phantom_id("patient", seed, patient)
    rows = []
    for which in range(studies_of(patient)):
        study = make_study(
            patient,
            study=which,
            slices=job.slices,
            size=job.size,
            seed=seed,
            ablation=job.ablation,
            with_tissues=job.tissues,
        )
        study_id = phantom_id("study", seed, patient, which)
        for number in range(job.slices):
            slice_id = phantom_id("slice", seed, patient, which, number)
            image = StoredSlice(
                stored=study.stored[number],
                storage=study.scan.storage,
                position=study.positions[number],
                orientation=study.orientation,
                pixel=study.pixel,
                mask=study.masks[number],
            )
            write_slice(job.directory, (slice_id, study_id, patient_id), image, patient)
            if study.tissues is not None:
                path = job.directory / TISSUE_FOLDER / f"{slice_id}.png"
                _write_mask(path, study.tissues[number])
            rows.append((slice_id, study.labels[number]))
    return rows


def _dataset(image: StoredSlice, ids: tuple[str, str, str], patient: int) -> Dataset:
    """The elements that the files of the RSNA set have, and no others."""
    storage = image.storage
    slice_id, study_id, patient_id = ids
    dataset = Dataset()
    dataset.preamble = b"\0" * 128
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.FileMetaInformationGroupLength = 0  # pydicom puts in what it is
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = _uid("file", slice_id)
    dataset.file_meta.TransferSyntaxUID = (
        ExplicitVRLittleEndian if patient % 5 < 3 else ImplicitVRLittleEndian
    )
    with _any_identifier():
        dataset.SOPInstanceUID = slice_id
        dataset.StudyInstanceUID = study_id
        dataset.SeriesInstanceUID = phantom_id("series", study_id)
    dataset.Modality = "CT"
    dataset.PatientID = patient_id
    dataset.StudyID = ""
    dataset.ImagePositionPatient = [f"{v:.6f}" for v in image.position]
    dataset.ImageOrientationPatient = [f"{v:.6f}" for v in image.orientation]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = image.stored.shape
    dataset.PixelSpacing = [f"{image.pixel:.6f}"] * 2
    dataset.BitsAllocated = 16
    dataset.BitsStored = storage.bits
    dataset.HighBit = storage.bits - 1
    dataset.PixelRepresentation = int(storage.signed)
    # As there: two values, or zeros in front.
    dataset.WindowCenter = ["00040", "00040"] if patient % 3 else "40"
    dataset.WindowWidth = ["00080", "00080"] if patient % 3 else "80"
    dataset.RescaleIntercept = f"{storage.intercept:.6f}"
    dataset.RescaleSlope = "1"
    dataset.PixelData = image.stored.astype("<i2" if storage.signed else "<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def _uid(*parts: object) -> UID:
    """A valid UID below the arc for UUIDs (PS3.5 B.2), from a hash of the parts."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:30]
    return UID(f"2.25.{int(digest, 16)}")


@contextmanager
def _any_identifier() -> Iterator[None]:
    """The set's identifiers are no valid UIDs, and pydicom warns when one is set."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Invalid value for VR UI")
        yield


def _write_mask(path: Path, mask: np.ndarray) -> None:
    done, content = cv2.imencode(".png", mask)
    if not done:
        raise SynthError(f"{path}: the mask could not be encoded")
    path.write_bytes(content.tobytes())


def _write_classes(folder: Path) -> None:
    """Makes the folder of the tissues, and says what its values mean."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({"value": range(len(CLASSES)), "tissue": CLASSES})
    table.to_csv(folder / TISSUE_NAMES, index=False, lineterminator="\n")


def _truncate_one(directory: Path, rows: Sequence[tuple[str, np.ndarray]]) -> None:
    """Cuts the pixel data of one slice without bleeding, as in ID_6431af929 of the RSNA set."""
    healthy = [slice_id for slice_id, labels in rows if not labels[-1]]
    if healthy:
        path = directory / TRAIN_FOLDER / f"{healthy[0]}.dcm"  # whatever the number of patients
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * TRUNCATED_SHARE)])
