"""How fast `ich-keras synth` makes slices, by size and number of workers.

    python -m benchmarks.phantoms

Makes a few patients, then more of them: the start of the processes is the same, so the cost of a
slice follows from the difference. Times are those of `benchmarks.measured`; the median of a few
rounds is reported. Slices per second need an idle machine; core-milliseconds vary less on a busy
one.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from benchmarks.timing import ICH_KERAS
from tfrecords_tools.phantom.cohort import study_count

SIZES, WORKERS = (128, 256, 512), (1, 2)
FEW, MANY = 2, 12  # patients
SLICES, ROUNDS = 16, 3


def _cost(patients: int, size: int, workers: int) -> tuple[float, float]:
    """Seconds, and core-seconds, of a command that makes so many patients."""
    with tempfile.TemporaryDirectory() as folder:
        options = (f"--patients={patients}", f"--slices={SLICES}", f"--size={size}")
        synth = (*ICH_KERAS, "synth", Path(folder) / "phantoms", *options, f"--workers={workers}")
        command = (sys.executable, "-m", "benchmarks.measured", workers, *synth)
        ended = subprocess.run([str(part) for part in command], capture_output=True, check=True)
    cost = json.loads(ended.stdout)
    return cost["seconds"], cost["core_seconds"]


def _per_slice(size: int, workers: int) -> tuple[float, float]:
    """Seconds, and core-seconds, of one more slice."""
    slices = SLICES * sum(study_count(patient) for patient in range(FEW, MANY))
    (few, few_cores), (many, many_cores) = (_cost(n, size, workers) for n in (FEW, MANY))
    return (many - few) / slices, (many_cores - few_cores) / slices


@click.command(help=__doc__.splitlines()[0])
@click.option("--size", "sizes", type=int, multiple=True, default=SIZES, show_default=True)
def main(sizes: tuple[int, ...]) -> None:
    """Prints a row per size and number of workers."""
    for size in sizes:
        for workers in WORKERS:
            rounds = [_per_slice(size, workers) for _ in range(ROUNDS)]
            seconds, core_seconds = map(statistics.median, zip(*rounds, strict=True))
            click.echo(
                f"{size} pixels, {workers} workers: {1 / seconds:5.1f} slices/s,"
                f" {1000 * core_seconds:6.1f} core-ms per slice"
            )


if __name__ == "__main__":
    main()
