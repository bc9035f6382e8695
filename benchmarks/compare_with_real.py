"""Compares the phantom with a real head: slices, HU within the skull, texture of the noise.

    python -m benchmarks.compare_with_real SERIES OUT

Writes `levels.png`, `hu.png`, `noise.png` and `comparison.json`. The images contain pixels of the
series, so they do not belong in a public repository.
"""

import json
from pathlib import Path

import click
import numpy as np
from matplotlib.figure import Figure

from benchmarks.real_head.likeness import FREQUENCIES, Likeness, measure
from benchmarks.real_head.series import (
    Series,
    SeriesError,
    as_series,
    intracranial,
    read_series,
)
from tfrecords_tools.phantom.cohort import subtypes_of
from tfrecords_tools.phantom.study import make_study
from tfrecords_tools.progress import progress
from tfrecords_tools.windows import apply_windows, parse_windows

WINDOWS = ("brain", "subdural", "bone")
LEVELS = (20, 40, 60, 80, 100, 120)  # mm below the top of the intracranial space
SLICES, SIZE = 8, 512  # of each phantom that is measured
PICTURED = 24  # slices of the phantom that is drawn, so that some lie near every level
BAND = (0.05, 0.95)  # of the phantom patients
HU_BINS = np.arange(-20, 101, 2)


def compare(source: Path, out: Path, patients: int, seed: int) -> dict:
    """Draws the pictures and returns what `comparison.json` holds."""
    real = read_series(source)
    real_masks = intracranial(real)
    numbers, likenesses = _phantoms(patients, seed)
    like_real = measure(real, real_masks)
    out.mkdir(parents=True, exist_ok=True)
    pictured = _phantom(numbers[0], PICTURED, seed)
    _draw_levels((real, real_masks), pictured).savefig(out / "levels.png")
    _draw_hu(like_real, likenesses).savefig(out / "hu.png")
    _draw_noise(like_real, likenesses).savefig(out / "noise.png")
    comparison = _table(like_real, likenesses)
    (out / "comparison.json").write_text(json.dumps(comparison, indent=1) + "\n")
    return comparison


def _phantoms(patients: int, seed: int) -> tuple[list[int], list[Likeness]]:
    """Phantom patients without hemorrhage whose vault is complete, and their measurements."""
    numbers, likenesses = [], []
    healthy = (patient for patient in range(100 * patients) if not subtypes_of(patient, seed))
    with progress(total=patients, desc="phantoms", unit="patient") as bar:
        for patient in healthy:
            try:
                likenesses.append(measure(*_phantom(patient, SLICES, seed)))
            except SeriesError:  # an enlarged reconstruction cuts the skull off
                continue
            numbers.append(patient)
            bar.update()
            if len(numbers) == patients:
                break
    return numbers, likenesses


def _phantom(patient: int, slices: int, seed: int) -> tuple[Series, np.ndarray]:
    """A phantom head and its intracranial space."""
    series = as_series(make_study(patient, slices=slices, size=SIZE, seed=seed))
    return series, intracranial(series)


def _table(real: Likeness, phantoms: list[Likeness]) -> dict:
    """The real value of every statistic, the phantoms' range, and whether the value is in it."""
    values = [phantom.summary() for phantom in phantoms]
    table = {}
    for name, value in real.summary().items():
        low, high = (float(f([v[name] for v in values])) for f in (np.nanmin, np.nanmax))
        table[name] = {"real": value, "phantom": [low, high], "within": low <= value <= high}
    return {"patients": len(phantoms), "statistics": table}


def _draw_levels(*heads: tuple[Series, np.ndarray]) -> Figure:
    windows = parse_windows(",".join(WINDOWS))
    figure = Figure(figsize=(2.2 * len(LEVELS), 2.2 * len(WINDOWS) * len(heads)), dpi=80)
    axes = figure.subplots(len(WINDOWS) * len(heads), len(LEVELS))
    for place, (name, window) in enumerate(zip(WINDOWS, windows, strict=True)):
        for which, (series, masks) in enumerate(heads):
            row = axes[place * len(heads) + which]
            what = f"{('real', 'phantom')[which]}, {name} window"
            for axis, level in zip(row, LEVELS, strict=True):
                hu = series.hu[_at(series, masks, level)]
                axis.imshow(apply_windows(hu, [window])[..., 0], cmap="gray", vmin=0, vmax=255)
                axis.set_axis_off()
                axis.set_title(f"{what}, {level} mm", fontsize=7, pad=2)
    figure.suptitle("below the top of the intracranial space", fontsize=8, y=0.999)
    figure.subplots_adjust(0, 0, 1, 0.975, 0.02, 0.08)
    return figure


def _at(series: Series, masks: np.ndarray, level: float) -> int:
    """The slice nearest to a level, in mm below the top of the intracranial space."""
    heights = series.origins @ series.normal
    return int(np.abs(heights[masks.any(axis=(1, 2))].max() - level - heights).argmin())


def _draw_hu(real: Likeness, phantoms: list[Likeness]) -> Figure:
    shares = [np.histogram(x.interior, HU_BINS, density=True)[0] for x in (real, *phantoms)]
    figure = _draw_band((HU_BINS[:-1] + HU_BINS[1:]) / 2, np.array(shares))
    figure.axes[0].set(xlabel="HU within the skull", ylabel="share of the pixels per HU")
    return figure


def _draw_noise(real: Likeness, phantoms: list[Likeness]) -> Figure:
    figure = _draw_band(FREQUENCIES, np.array([x.power for x in (real, *phantoms)]))
    figure.axes[0].set(
        xlabel="frequency, 1/mm", ylabel="noise power, HU² mm²", yscale="log", ylim=(0.1, None)
    )
    return figure


def _draw_band(x: np.ndarray, lines: np.ndarray) -> Figure:
    """Draws the first line over the band of all others."""
    figure = Figure(figsize=(6, 4), dpi=100, layout="constrained")
    axis = figure.subplots()
    known = ~np.isnan(lines).any(axis=0)
    x, lines = x[known], lines[:, known]
    low, middle, high = np.quantile(lines[1:], (BAND[0], 0.5, BAND[1]), axis=0)
    label = f"{len(lines) - 1} phantoms, {BAND[0]:.0%} to {BAND[1]:.0%}"
    axis.fill_between(x, low, high, alpha=0.3, label=label)
    axis.plot(x, middle, label="their median")
    axis.plot(x, lines[0], color="black", label="real head")
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


@click.command(help=__doc__.splitlines()[0])
@click.argument("series", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--patients", default=20, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(series: Path, out: Path, patients: int, seed: int) -> None:
    """Draws the images and prints the statistics."""
    for name, row in compare(series, out, patients, seed)["statistics"].items():
        low, high = row["phantom"]
        answer = "within" if row["within"] else "OUTSIDE"
        click.echo(
            f"{name:15} real {row['real']:7.2f}, phantoms {low:7.2f} to {high:7.2f}: {answer}"
        )


if __name__ == "__main__":
    main()
