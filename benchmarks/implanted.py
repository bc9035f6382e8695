"""Phantom hemorrhages in a real head without hemorrhage, as a data set that `convert` reads.

    python -m benchmarks.implanted SERIES OUT
    ich-keras convert OUT --out SHARDS --size 128 --split 0,1,0
    ich-keras evaluate RUN --shards SHARDS --split val

The data set also holds all untouched slices of the series. There is only one head: each slice
counts as a patient of its own, so intervals are over places in this head, not over people.
"""

from pathlib import Path

import click
import numpy as np

from benchmarks.real_head.implant import implants, survey
from benchmarks.real_head.series import Series, read_series
from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.errors import InputError
from tfrecords_tools.phantom.dicom_file import StoredSlice, phantom_id
from tfrecords_tools.phantom.rsna_files import make_folders, write_labels, write_slice
from tfrecords_tools.phantom.scanner.storage import CEILING, COMMON, FLOOR
from tfrecords_tools.progress import progress

STORAGE = COMMON[1]


def write_implanted(source: Path, out: Path, places: int, seed: int) -> list[np.ndarray]:
    """Writes the data set.

    Args:
        source: folder of one series without hemorrhage.
        out: new, or empty.
        places: number of hemorrhages, each in a slice of its own.
        seed: of all random numbers.

    Returns:
        The six labels of each slice.
    """
    series = read_series(source)
    ground = survey(series, seed)
    make_folders(out)
    rows = []
    for number, hu in enumerate(series.hu):
        empty = np.zeros(hu.shape, bool)
        rows.append(_write(out, series, number, ("untouched", number), hu, None, empty))
    placed = progress(implants(ground, places, seed), total=places, desc="implant", unit="place")
    for place, implant in enumerate(placed):
        name = ("implanted", seed, place)
        image = (implant.hu, implant.subtype, implant.mask)
        rows.append(_write(out, series, implant.number, name, *image))
    write_labels(out, rows)
    return [labels for _, labels in rows]


def _write(
    out: Path,
    series: Series,
    number: int,
    name: tuple[object, ...],
    hu: np.ndarray,
    subtype: str | None,
    mask: np.ndarray,
) -> tuple[str, np.ndarray]:
    """Writes one slice; returns its id and labels."""
    ids = (phantom_id("slice", *name), phantom_id("study", *name), phantom_id("patient", *name))
    bit = SUBTYPES.index(subtype) if subtype else 0
    stored = np.rint(np.clip(hu, FLOOR, CEILING)) - STORAGE.intercept
    image = StoredSlice(
        stored=stored.astype(np.int16),
        storage=STORAGE,
        position=series.origins[number],
        orientation=[*series.along / series.pixel, *series.down / series.pixel],
        pixel=series.pixel,
        mask=mask.astype(np.uint8) << bit,
    )
    write_slice(out, ids, image, patient=0)
    positive = (subtype, "any") if subtype else ()
    labels = np.array([label in positive for label in LABELS], np.uint8)
    return ids[0], labels


@click.command(help=__doc__.splitlines()[0])
@click.argument("series", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--places", default=200, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(series: Path, out: Path, places: int, seed: int) -> None:
    """Writes the data set and prints its labels."""
    try:
        labels = np.sum(write_implanted(series, out, places, seed), axis=0)
    except InputError as error:
        raise click.ClickException(str(error)) from error
    counts = ", ".join(f"{label} {n}" for label, n in zip(LABELS, labels, strict=True))
    click.echo(f"{out}: {counts}; intervals of `evaluate` are over places, not over people")


if __name__ == "__main__":
    main()
