"""Phantom studies as clinics and archives export them.

An export takes the clean slices of a study, from below, and a folder of its own. Each makes files
in which the study is still there, and must be answered as the clean slices are.
"""

import copy
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom

from tests.support.enhanced import enhanced_ct

Slices = Sequence[pydicom.Dataset]
Change = Callable[[pydicom.Dataset, int], None]  # of a slice and its number, from 0


def read_study(paths: Sequence[Path]) -> list[pydicom.Dataset]:
    """The slices in the files, not compressed, from below."""
    slices = [pydicom.dcmread(path) for path in paths]
    for dataset in slices:
        if dataset.file_meta.TransferSyntaxUID.is_compressed:
            dataset.decompress()
    return sorted(slices, key=lambda x: float(x.ImagePositionPatient[2]))


def save(slices: Slices, folder: Path, change: Change = lambda *_: None) -> Path:
    """Files of the slices, each changed first."""
    folder.mkdir(parents=True)
    for number, dataset in enumerate(slices):
        changed = copy.deepcopy(dataset)
        change(changed, number)
        changed.save_as(folder / f"{number:03d}.dcm")
    return folder


def set_pixels(dataset: pydicom.Dataset, pixels: np.ndarray) -> None:
    """Stores pixels of any shape, in the type that the file has."""
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = np.ascontiguousarray(pixels).tobytes()


def beside(name: str, **elements: object) -> Change:
    """Another series of the study, with these elements, of which the pixels are noise."""

    def change(dataset: pydicom.Dataset, number: int) -> None:
        dataset.SeriesInstanceUID += f".{len(name)}"
        dataset.SOPInstanceUID += f".{len(name)}"
        rng = np.random.default_rng(number)
        noise = rng.integers(-30, 30, dataset.pixel_array.shape).astype(dataset.pixel_array.dtype)
        set_pixels(dataset, dataset.pixel_array + noise)
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)

    return change


def stored(orientation: Sequence[float], turned: Callable[[np.ndarray], np.ndarray]) -> Change:
    """The same slice with its pixels in another order, and an orientation that says so."""

    def change(dataset: pydicom.Dataset, _: int) -> None:
        set_pixels(dataset, turned(dataset.pixel_array))
        dataset.ImageOrientationPatient = list(orientation)

    return change


TURNS = {
    "by half": stored([-1, 0, 0, 0, -1, 0], lambda x: x[::-1, ::-1]),
    "upside down": stored([1, 0, 0, 0, -1, 0], lambda x: x[::-1]),
    "mirrored": stored([-1, 0, 0, 0, 1, 0], lambda x: x[:, ::-1]),
    "by a quarter": stored([0, -1, 0, 1, 0, 0], lambda x: x.T[:, ::-1]),
}


def without(*keywords: str) -> Change:
    def change(dataset: pydicom.Dataset, _: int) -> None:
        for keyword in keywords:
            dataset.pop(keyword, None)

    return change


def _with_series(name: str, **elements: object) -> Callable[[Slices, Path], None]:
    def export(slices: Slices, folder: Path) -> None:
        save(slices, folder / "plain")
        save(slices, folder / name, beside(name, **elements))

    return export


def _changed(change: Change) -> Callable[[Slices, Path], None]:
    def export(slices: Slices, folder: Path) -> None:
        save(slices, folder / "study", change)

    return export


def _zipped(slices: Slices, folder: Path) -> None:
    files = save(slices, folder / "study")
    with zipfile.ZipFile(folder / "study.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files.iterdir()):
            archive.write(path, f"deep/{path.name}")
        archive.writestr("readme.txt", "no slice")
    shutil.rmtree(files)


def _with_damage(slices: Slices, folder: Path) -> None:
    files = save(slices, folder / "study")
    whole = sorted(files.iterdir())[0].read_bytes()
    (files / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    (files / "empty.dcm").write_bytes(b"")
    (files / "notes.txt").write_text("no slice")
    (files / "broken.zip").write_bytes(b"PK\x03\x04" + bytes(100))


def _in_one_file(slices: Slices, folder: Path) -> None:
    folder.mkdir(parents=True)
    enhanced_ct(slices).save_as(folder / "enhanced.dcm", enforce_file_format=True)


EXPORTS: dict[str, Callable[[Slices, Path], None]] = {
    "as it is": _changed(lambda *_: None),
    "sharp kernel beside": _with_series("sharp", ConvolutionKernel="H70h"),
    "contrast beside": _with_series("contrast", ContrastBolusAgent="Iohexol"),
    "projection beside": _with_series("mip", ImageType=["DERIVED", "SECONDARY", "MIP"]),
    "chest beside": _with_series("chest", BodyPartExamined="CHEST"),
    "no study uid": _changed(without("StudyInstanceUID")),
    "no uids": _changed(without("StudyInstanceUID", "SeriesInstanceUID", "PatientID")),
    "one sop uid": _changed(lambda x, _: setattr(x, "SOPInstanceUID", "1.2.3")),
    "no positions": _changed(without("ImagePositionPatient", "SliceLocation")),
    "in an archive": _zipped,
    "with damaged files": _with_damage,
    "as one enhanced ct": _in_one_file,
    **{f"turned {name}": _changed(turn) for name, turn in TURNS.items()},
}
