"""The picture of docs/background/phantom.md: phantom patients from the skull base to the vertex.

python -m benchmarks.phantom_picture docs/images/phantom.png
"""

from pathlib import Path

import click
import numpy as np
from matplotlib.figure import Figure

from tfrecords_tools.classes import SUBTYPES
from tfrecords_tools.phantom.study import Study, make_study
from tfrecords_tools.windows import apply_windows, parse_windows

PATIENTS = (7, 22, 31, 36, 38, 146)
COLUMNS, SLICES = 7, 16
LETTERS = dict(zip(SUBTYPES, "EPVAS", strict=True))


def draw(patients: tuple[int, ...]) -> Figure:
    """One row per patient, in the brain window."""
    figure = Figure(figsize=(1.8 * COLUMNS, 1.9 * len(patients)), dpi=64)
    axes = figure.subplots(len(patients), COLUMNS)
    for row, patient in zip(axes, patients, strict=True):
        study = make_study(patient, slices=SLICES)
        for axis, number in zip(row, np.arange(1, SLICES - 1, 2), strict=True):
            shown = apply_windows(study.hu[number], parse_windows("brain"))[..., 0]
            axis.imshow(shown, cmap="gray", vmin=0, vmax=255)
            axis.set_title(_letters(study, int(number)), fontsize=8, pad=2)
            axis.set_axis_off()
    figure.subplots_adjust(0, 0, 1, 0.98, 0.02, 0.1)
    return figure


def _letters(study: Study, number: int) -> str:
    return " ".join(
        LETTERS[subtype] for k, subtype in enumerate(SUBTYPES) if study.labels[number, k]
    )


@click.command(help=__doc__.splitlines()[0])
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def main(out: Path) -> None:
    """Draws the image."""
    draw(PATIENTS).savefig(out, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
