"""The pictures of `predict`: figures of a study, and DICOM objects of its series."""

import logging
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ich_keras.data.studies import ReadSeries
from ich_keras.figures.class_maps import class_map_sheet
from ich_keras.figures.curves import save_png
from ich_keras.model.network import CLASS_MAPS, PROBABILITIES
from ich_keras.predict.dicom.algorithm import Algorithm
from tfrecords_tools.dicom.reader import CTSlice
from tfrecords_tools.dicom.rejection import one_line
from tfrecords_tools.dicom.square_pixels import with_square_pixels

log = logging.getLogger(__name__)

SHEET_SLICES = 24  # on a contact sheet; more would be too small to see
CHARACTERS_PER_INCH = 14  # of 9 points


@contextmanager
def costing_no_answer(name: str, counts: Counter[str]) -> Iterator[None]:
    """Logs and counts any error of what draws."""
    try:
        yield
    except Exception as error:
        reason = one_line(f"{type(error).__name__}: {error}")
        log.warning("%s: not drawn (%s); the answers are in the tables", name, reason)
        counts["not_drawn"] += 1


def draw_study(
    path: Path,
    shown: np.ndarray,
    outputs: dict[str, np.ndarray],
    slices: Sequence[CTSlice],
    look: np.ndarray,
    notice: str,
) -> None:
    """Writes the two figures of a study, `<path>.png` and `<path>_look.png`, with the notice."""
    figures = {
        f"{path.name}.png": _contact_sheet(shown, outputs),
        f"{path.name}_look.png": _close_look(shown, outputs, slices, look),
    }
    for name, figure in figures.items():
        if notice:
            width = int(CHARACTERS_PER_INCH * figure.get_figwidth())
            figure.supxlabel(textwrap.fill(notice, width), fontsize=9)
        save_png(figure, path.with_name(name))


def write_objects(
    folder: Path,
    number: int,
    series: ReadSeries,
    outputs: dict[str, np.ndarray],
    algorithm: Algorithm,
) -> int:
    """Writes the DICOM objects of a series; `outputs` are those of `with_class_maps`, arrays.

    The slices have square pixels, as class maps lie over those. Returns how many objects could not
    be written.
    """
    from ich_keras.predict.dicom.objects import write_dicom
    from ich_keras.predict.dicom.sources import PredictedSlice

    turns = (file.header.format.view.turn for file in series.files)
    maps = [turn.undo(x) for turn, x in zip(turns, outputs[CLASS_MAPS], strict=True)]
    slices = [with_square_pixels(ct) for ct in series.slices]
    columns = (series.files, slices, maps, outputs[PROBABILITIES])
    predicted = [PredictedSlice(*row) for row in zip(*columns, strict=True)]
    return write_dicom(folder, number, predicted, algorithm)


def _contact_sheet(images: np.ndarray, outputs: dict[str, np.ndarray]) -> Figure:
    """Slices at equal distances in the study, each under the map of its most probable subtype."""
    count = min(len(images), SHEET_SLICES)
    chosen = np.unique(np.linspace(0, len(images) - 1, count).round().astype(int))
    maps, probabilities = outputs[CLASS_MAPS][chosen], outputs[PROBABILITIES][chosen]
    return class_map_sheet(images[chosen], maps, probabilities)


def _close_look(
    images: np.ndarray, outputs: dict[str, np.ndarray], slices: Sequence[CTSlice], look: np.ndarray
) -> Figure:
    """The slices most worth a look, large."""
    titles = [_title(slices, i) for i in look]
    maps, probabilities = outputs[CLASS_MAPS][look], outputs[PROBABILITIES][look]
    return class_map_sheet(images[look], maps, probabilities, titles=titles, inches=4)


def _title(slices: Sequence[CTSlice], i: int) -> str:
    header = slices[i].header
    place = f", {header.position_mm:.1f} mm" if header.placed else ""
    return f"slice {i + 1} of {len(slices)}{place}"
