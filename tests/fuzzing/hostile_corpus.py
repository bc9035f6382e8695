"""Whole files for a fuzz test to damage: every transfer syntax and layout, synthetic and real."""

import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydicom import Dataset, FileDataset, dcmread, uid
from pydicom.sequence import Sequence

from tests.fuzzing.mutations import Sample, completed
from tests.support.encoders import LOSSLESS, LOSSY
from tests.support.made_dicom import TRUE_HU, compress, make_dataset, saved
from tfrecords_tools.phantom.rsna_files import synth

SMOOTH_HU = np.add.outer(np.arange(40) * 20, np.arange(48) * 30) - 1000
LARGEST = 2 << 20  # bytes; larger ones would take the time of a hundred others
DAMAGED = "pwnlabmx+dicom-fuzzing-corpus"


def made_samples() -> tuple[Sample, ...]:
    """Slices in each supported transfer syntax and layout."""
    made = itertools.chain(_native(), _compressed())
    return tuple(Sample(name, saved(dataset).getvalue()) for name, dataset in made)


def phantom_samples() -> tuple[Sample, ...]:
    """Slices of a small phantom study."""
    with TemporaryDirectory() as folder:
        synth(Path(folder) / "synth", patients=1, slices=3, size=64, workers=1)
        paths = sorted(Path(folder).rglob("*.dcm"))
        return tuple(Sample(f"phantom {i}", path.read_bytes()) for i, path in enumerate(paths))


def real_samples(folder: Path) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Real CT slices, and slices that are damaged already.

    The damaged ones have no rescale; with one, their damage affects HU.
    """
    whole, damaged = [], []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.stat().st_size > LARGEST or not _is_ct(path):
            continue
        sample = Sample(path.relative_to(folder).as_posix(), path.read_bytes())
        if DAMAGED in path.parts:
            damaged.append(completed(sample))
        else:
            whole.append(sample)
    return tuple(whole), tuple(damaged)


def _is_ct(path: Path) -> bool:
    """By pydicom alone, because the code under test must not choose the samples."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return dcmread(path, force=True, specific_tags=["Modality"])["Modality"].value == "CT"
        except Exception:
            return False


def _native() -> Iterator[tuple[str, FileDataset]]:
    stored = np.uint16(TRUE_HU + 1024)
    for syntax in (
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
    ):
        yield syntax.name, make_dataset(stored, syntax=syntax, BitsStored=12)
        yield f"{syntax.name}, signed", make_dataset(np.int16(TRUE_HU), syntax=syntax)
    yield "32 bits", make_dataset(np.int32(TRUE_HU + 1024))
    yield "12 packed bits", _packed(stored)
    yield "8 bits", _of_eight_bits()
    yield (
        "wrapped",
        make_dataset(np.uint16((TRUE_HU + 3096) % 4096), BitsStored=12, RescaleIntercept="0"),
    )
    yield "padding", _padded(stored)
    yield "MONOCHROME1", make_dataset(stored, PhotometricInterpretation="MONOCHROME1")
    yield "Modality LUT", _with_lut(stored)
    yield "fractional slope", make_dataset(stored, RescaleSlope="0.7", RescaleIntercept="-1000.5")


def _compressed() -> Iterator[tuple[str, FileDataset]]:
    """Each image in one fragment and in two."""
    for encoder in (*LOSSLESS, *LOSSY):
        if encoder.precision == 8:
            dataset, stored = _of_eight_bits(), np.int64(_eight_bits())
        else:
            dataset, stored = _of_twelve_bits(encoder.signed)
        image = encoder.encode(stored, 12)
        middle = len(image) // 4 * 2  # behind the header, where GDCM can begin
        for name, fragments in (
            ("", [image]),
            (", in fragments", [image[:middle], image[middle:]]),
        ):
            compress(dataset, encoder.syntax, *fragments)
            yield encoder.name + name, dataset


def _of_twelve_bits(signed: bool) -> tuple[FileDataset, np.ndarray]:
    intercept = -1024 * (not signed)
    stored = SMOOTH_HU - intercept
    typed = stored.astype(np.int16 if signed else np.uint16)
    return make_dataset(typed, BitsStored=12, RescaleIntercept=str(intercept)), stored


def _of_eight_bits() -> FileDataset:
    return make_dataset(_eight_bits(), RescaleSlope="8", RescaleIntercept="-1000")


def _eight_bits() -> np.ndarray:
    return np.minimum((SMOOTH_HU + 1000) // 8, 255).astype(np.uint8)


def _packed(stored: np.ndarray) -> FileDataset:
    dataset = make_dataset(stored, BitsAllocated=12, BitsStored=12)
    low, high = np.int64(stored).reshape(-1, 2).T
    triples = (low | high << 12)[:, None] >> np.array([0, 8, 16]) & 255
    dataset.add_new("PixelData", "OW", triples.astype(np.uint8).tobytes())
    return dataset


def _padded(stored: np.ndarray) -> FileDataset:
    stored = stored.copy()
    stored[0] = 0
    dataset = make_dataset(stored)
    dataset.add_new("PixelPaddingValue", "US", 0)
    return dataset


def _with_lut(stored: np.ndarray) -> FileDataset:
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 16]
    item.add_new("LUTData", "OW", (np.arange(4096) - 1024).astype("<i2").tobytes())
    item["LUTDescriptor"].VR = "US"
    return make_dataset(
        stored,
        BitsStored=12,
        RescaleSlope=None,
        RescaleIntercept=None,
        ModalityLUTSequence=Sequence([item]),
    )
