"""Made-up bleedings in a real head without bleeding, as a data set that `convert` reads.

    python -m benchmarks.implanted SERIES OUT
    ich-keras convert OUT --out SHARDS --size 128 --split 0,1,0
    ich-keras evaluate RUN --shards SHARDS --split val

Beside the slices with a bleeding stand all slices of the series untouched. There is one head only:
each slice counts as a patient of its own, so intervals tell of places in this head, not of people.
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
        source: folder of one series without bleeding.
        out: new, or empty.
        places: bleedings, each in a slice of its own.
        seed: of everything.

    Returns:
        The six labels of each slice.
    """
    series = read_series(source)
    ground = survey(series, seed)
    make_folders(out)
    rows = []
    for number, hu in enumerate(series.hu):
        nothing = np.zeros(hu.shape, bool)
        rows.append(_write(out, series, number, ("untouched", number), hu, None, nothing))
    found = implants(ground, places, seed)
    for place, one in enumerate(progress(found, total=places, desc="implant", unit="place")):
        name = ("implanted", seed, place)
        rows.append(_write(out, series, one.number, name, one.hu, one.kind, one.mask))
    write_labels(out, rows)
    return [labels for _, labels in rows]


def _write(
    out: Path,
    series: Series,
    number: int,
    name: tuple[object, ...],
    hu: np.ndarray,
    kind: str | None,
    mask: np.ndarray,
) -> tuple[str, np.ndarray]:
    """Writes one slice; returns its id and labels."""
    ids = (phantom_id("slice", *name), phantom_id("study", *name), phantom_id("patient", *name))
    bit = SUBTYPES.index(kind) if kind else 0
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
    labels = np.array([label in (kind, "any") for label in LABELS], np.uint8) * (kind is not None)
    return ids[0], labels


@click.command(help=__doc__.splitlines()[0])
@click.argument("series", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--places", default=200, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(series: Path, out: Path, places: int, seed: int) -> None:
    """Writes the data set and says what is in it."""
    try:
        labels = np.sum(write_implanted(series, out, places, seed), axis=0)
    except InputError as error:
        raise click.ClickException(str(error)) from error
    counts = ", ".join(f"{label} {n}" for label, n in zip(LABELS, labels, strict=True))
    click.echo(f"{out}: {counts}; intervals of `evaluate` are over places, not over people")


if __name__ == "__main__":
    main()
