"""Phantom data sets on disk, in the layout and with the quirks of the RSNA set."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from tfrecords_tools.classes import LABELS
from tfrecords_tools.errors import UsageError
from tfrecords_tools.interrupts import uninterrupted
from tfrecords_tools.phantom.cohort import study_count
from tfrecords_tools.phantom.dicom_file import StoredSlice, phantom_id, write_dicom
from tfrecords_tools.phantom.head.tissues import CLASSES
from tfrecords_tools.phantom.sampling import Ablation
from tfrecords_tools.phantom.study import Study, make_study
from tfrecords_tools.processes import worker_pool
from tfrecords_tools.progress import progress

TRAIN_FOLDER, TRAIN_LABELS, MASK_FOLDER = "stage_2_train", "stage_2_train.csv", "masks"
TISSUE_FOLDER, TISSUE_NAMES = "tissues", "classes.csv"
DOUBLED_ROWS = 2  # slices whose label rows occur twice, as those of four slices of the RSNA set
TRUNCATED_SHARE = 0.3  # of the content of the truncated file that is kept

SliceLabels = tuple[str, np.ndarray]  # slice id, six labels


class SynthError(UsageError):
    """A folder that phantom studies cannot be written to."""


@dataclass(frozen=True)
class SynthSummary:
    """The content of a data set.

    Attributes:
        directory: its folder.
        slices: number of DICOM files.
        patients: number of patients.
        positives: number of slices with each label.
    """

    directory: Path
    slices: int
    patients: int
    positives: dict[str, int]


def synth(
    directory: Path,
    *,
    patients: int | Sequence[int] = 320,
    slices: int = 16,
    size: int = 256,
    seed: int = 0,
    workers: int | None = None,
    ablation: Ablation | None = None,
    tissues: bool = False,
) -> SynthSummary:
    """Writes a phantom data set: `stage_2_train/`, `stage_2_train.csv` and `masks/`.

    The same arguments give the same bytes, with any number of workers, and more patients leave
    the earlier ones unchanged. A mask is an 8-bit PNG; bit k is set where subtype k is.

    Args:
        directory: new, or empty.
        patients: how many, or the numbers of those to write; one in twelve has two studies.
        slices: per study.
        size: edge of a slice in pixels.
        seed: of all random numbers.
        workers: processes; None means one per core.
        ablation: applied to each study before it is rendered; a function of a module.
        tissues: whether to write `tissues/` too: 8-bit PNGs whose values `classes.csv` there names.

    Raises:
        SynthError: if the directory holds something.
    """
    make_folders(directory)
    numbers = range(patients) if isinstance(patients, int) else patients
    if tissues:
        _write_classes(directory / TISSUE_FOLDER)
    write = partial(
        _write_patient,
        directory,
        seed=seed,
        slices=slices,
        size=size,
        ablation=ablation,
        with_tissues=tissues,
    )
    rows: list[SliceLabels] = []
    with worker_pool(workers) as pool:
        with uninterrupted():
            written = pool.map(write, numbers).result()
        for of_patient in progress(written, total=len(numbers), desc="synth", unit="patient"):
            rows += of_patient
    _truncate_one(directory, rows)
    write_labels(directory, rows)
    totals = np.sum([labels for _, labels in rows], axis=0)
    positives = {label: int(count) for label, count in zip(LABELS, totals, strict=True)}
    return SynthSummary(directory, len(rows), len(numbers), positives)


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
    """Writes a slice's DICOM file and its mask into a data set; see `write_dicom`."""
    write_dicom(directory / TRAIN_FOLDER / f"{ids[0]}.dcm", ids, image, patient)
    _write_png(directory / MASK_FOLDER / f"{ids[0]}.png", image.mask)


def write_labels(directory: Path, rows: Sequence[SliceLabels]) -> None:
    """Writes the long CSV of a data set, sorted by slice id, and moves it into place complete."""
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


def _write_patient(
    directory: Path, patient: int, *, seed: int, with_tissues: bool, **options: Any
) -> list[SliceLabels]:
    """Writes a patient's files and returns the labels of the slices. Runs in a worker."""
    rows: list[SliceLabels] = []
    for which in range(study_count(patient)):
        study = make_study(patient, study=which, seed=seed, with_tissues=with_tissues, **options)
        for number, labels in enumerate(study.labels):
            slice_id = phantom_id("slice", seed, patient, which, number)
            study_id = phantom_id("study", seed, patient, which)
            ids = (slice_id, study_id, phantom_id("patient", seed, patient))
            write_slice(directory, ids, _stored_slice(study, number), patient)
            if study.tissues is not None:
                _write_png(directory / TISSUE_FOLDER / f"{slice_id}.png", study.tissues[number])
            rows.append((slice_id, labels))
    return rows


def _stored_slice(study: Study, number: int) -> StoredSlice:
    return StoredSlice(
        stored=study.stored[number],
        storage=study.scan.storage,
        position=study.positions[number],
        orientation=study.orientation,
        pixel=study.pixel,
        mask=study.masks[number],
    )


def _write_png(path: Path, image: np.ndarray) -> None:
    encoded, content = cv2.imencode(".png", image)
    if not encoded:
        raise SynthError(f"{path}: the image could not be encoded as PNG")
    path.write_bytes(content.tobytes())


def _write_classes(folder: Path) -> None:
    """Makes the folder of the tissues, with the table of its values."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({"value": range(len(CLASSES)), "tissue": CLASSES})
    table.to_csv(folder / TISSUE_NAMES, index=False, lineterminator="\n")


def _truncate_one(directory: Path, rows: Sequence[tuple[str, np.ndarray]]) -> None:
    """Truncates one slice without hemorrhage, as ID_6431af929 of the RSNA set is."""
    negatives = [slice_id for slice_id, labels in rows if not labels[-1]]
    if negatives:
        path = directory / TRAIN_FOLDER / f"{negatives[0]}.dcm"  # for any number of patients
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * TRUNCATED_SHARE)])
