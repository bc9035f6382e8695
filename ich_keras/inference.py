"""DICOM files to probabilities and class maps: a run applied to somebody's own study."""

import io
import logging
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import keras
import numpy as np
import pandas as pd

from ich_keras import figures
from ich_keras.model import CLASS_MAPS, PROBABILITIES, load_model, with_class_maps
from ich_keras.run_folder import RunFolder, RunInput, read_input, write_json
from tfrecords_tools.atomic import whole_file
from tfrecords_tools.bleedings import LABELS
from tfrecords_tools.dicom import CTSlice, read_slice
from tfrecords_tools.errors import InputError
from tfrecords_tools.header import RefusedSlice
from tfrecords_tools.neighbours import find_neighbours
from tfrecords_tools.progress import progress
from tfrecords_tools.rejects import path_cell
from tfrecords_tools.windows import stack_slices, window_slice

log = logging.getLogger(__name__)

BATCH_SIZE = 16
SHEET_SLICES = 24  # on a contact sheet; more become too small to see
MEMBER_LIMIT = 256 << 20  # bytes of an unpacked archive member; a CT slice has half a megabyte


@dataclass(frozen=True)
class Source:
    """A file to look at.

    Attributes:
        name: as the user knows it; members of an archive stand behind its name.
        path: the file, or the archive that holds it.
        member: its name in the archive, or None.
    """

    name: str
    path: Path
    member: str | None = None

    def open(self) -> BinaryIO:
        """The bytes of the file, in memory where they come from an archive."""
        if self.member is None:
            return self.path.open("rb")
        with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
            content = file.read(MEMBER_LIMIT + 1)
        if len(content) > MEMBER_LIMIT:
            raise RefusedSlice("too_large", f"more than {MEMBER_LIMIT >> 20} MiB unpacked")
        return io.BytesIO(content)


@dataclass(frozen=True)
class PredictResult:
    """What was predicted.

    Attributes:
        out: the folder of the tables and pictures.
        slices: slices with an answer.
        studies: studies with an answer.
        rejected: files left out, with their reasons in `rejects.csv`.
    """

    out: Path
    slices: int
    studies: int
    rejected: int

    def sentence(self) -> str:
        """What was made, and where."""
        return (
            f"{self.slices:,} slices of {self.studies:,} studies, {self.rejected:,} files left out:"
            f" {self.out} (for research, not for diagnosis)"
        )


def predict(
    run: RunFolder, paths: Sequence[Path], out: Path, *, size: int | None = None
) -> PredictResult:
    """Writes the probabilities of every CT slice found, and a contact sheet a study.

    `slices.csv` has a row a slice, ordered along the slice normal; `studies.csv` and
    `studies.json` hold the maximum over each study's slices; `rejects.csv` a row a file left out.

    Args:
        run: a trained run.
        paths: DICOM files, folders (searched to any depth) or zip archives.
        out: where to write; made if missing.
        size: edge of a slice in pixels; None means the size of the training.

    Raises:
        InputError: if no file can be used.
    """
    network_input = read_input(run)
    forward = with_class_maps(load_model(run.best))
    slices, rejects = _read_all(list(find_sources(paths)))
    if not slices:
        reasons = ", ".join(f"{reason} ({n})" for reason, n in _count(rejects).items()) or "no file"
        raise InputError(f"nothing to predict in {', '.join(map(str, paths))}: {reasons}")
    rows, studies = [], _by_study(slices)
    out.mkdir(parents=True, exist_ok=True)
    for number, (study_id, members) in enumerate(
        progress(studies.items(), desc="predict", unit="study"), start=1
    ):
        images = _windowed(members, network_input, size)
        answer = _forward(forward, images)
        rows += _rows(study_id, number, members, answer[PROBABILITIES])
        shown = images[..., [network_input.neighbours]]  # the slice itself in its first window
        _draw_sheet(out / f"study_{number:03d}.png", shown, answer)
    _write_tables(out, pd.DataFrame(rows), rejects)
    return PredictResult(out, len(slices), len(studies), len(rejects))


def find_sources(paths: Sequence[Path]) -> Iterator[Source]:
    """Every file behind the paths, in the order of their names."""
    for path in paths:
        files = sorted(x for x in path.rglob("*") if x.is_file()) if path.is_dir() else [path]
        for file in files:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    for member in archive.infolist():
                        if not member.is_dir():
                            name = member.filename
                            yield Source(f"{file.name}:{name}", file, name)
            else:
                yield Source(str(file.relative_to(path)) if path.is_dir() else file.name, file)


def _read_all(sources: list[Source]) -> tuple[list[CTSlice], list[dict[str, str]]]:
    slices, rejects = [], []
    for source in progress(sources, desc="read", unit="file"):
        try:
            with source.open() as file:
                slices.append(read_slice(file))
        except RefusedSlice as refusal:
            path = path_cell(source.name)
            rejects.append({"path": path, "reason": refusal.reason, "detail": refusal.detail})
    return slices, rejects


def _by_study(slices: list[CTSlice]) -> dict[str, list[CTSlice]]:
    """Slices by study, ordered along the slice normal."""
    studies: dict[str, list[CTSlice]] = {}
    for ct in sorted(slices, key=lambda x: (x.header.series_id, x.header.position_mm)):
        studies.setdefault(ct.header.study_id, []).append(ct)
    return studies


def _windowed(members: list[CTSlice], network_input: RunInput, size: int | None) -> np.ndarray:
    edge = size or network_input.size
    images = np.stack([window_slice(x.hu, edge, network_input.windows) for x in members])
    if not network_input.neighbours:
        return images
    reach = network_input.neighbours
    rows = find_neighbours(_places(members), reach)
    rows = np.insert(rows, reach, np.arange(len(members)), axis=1)
    return np.stack([stack_slices(images[row]) for row in rows])


def _places(members: list[CTSlice]) -> pd.DataFrame:
    names = ("study_id", "series_id", "slice_id", "position_mm")
    return pd.DataFrame({name: [getattr(x.header, name) for x in members] for name in names})


def _forward(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    return model.predict(images, batch_size=BATCH_SIZE, verbose=0)


def _rows(
    study_id: str, number: int, members: list[CTSlice], probabilities: np.ndarray
) -> list[dict[str, object]]:
    return [
        {
            "study": number,
            "study_id": study_id,
            "slice_id": ct.header.slice_id,
            "position_mm": ct.header.position_mm,
            **{label: float(p) for label, p in zip(LABELS, row, strict=True)},
        }
        for ct, row in zip(members, probabilities, strict=True)
    ]


def _draw_sheet(path: Path, images: np.ndarray, answer: dict[str, np.ndarray]) -> None:
    """A contact sheet of slices spread evenly over the study, each with its strongest map."""
    count = min(len(images), SHEET_SLICES)
    chosen = np.unique(np.linspace(0, len(images) - 1, count).round().astype(int))
    figure = figures.class_map_overlay(
        images[chosen], answer[CLASS_MAPS][chosen], answer[PROBABILITIES][chosen]
    )
    figures.save_png(figure, path)


def _write_tables(out: Path, slices: pd.DataFrame, rejects: list[dict[str, str]]) -> None:
    columns = list(LABELS)
    studies = slices.groupby(["study", "study_id"], as_index=False)[columns].max()
    studies.insert(2, "slices", slices.groupby("study").size().to_numpy())
    for name, table in (
        ("slices.csv", slices),
        ("studies.csv", studies),
        ("rejects.csv", pd.DataFrame(rejects, columns=["path", "reason", "detail"])),
    ):
        with whole_file(out / name) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    write_json(out / "studies.json", studies.to_dict(orient="records"))


def _count(rejects: list[dict[str, str]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reject in rejects:
        counts[reject["reason"]] = counts.get(reject["reason"], 0) + 1
    return counts
