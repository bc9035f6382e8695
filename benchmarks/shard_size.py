"""Shards at the network's size, compared with larger ones that the pipeline reduces: three seeds.

    ich-keras convert FOLDER --out LARGE --size 256 --split 0.7,0.15,0.15
    ich-keras convert FOLDER --out SMALL --size 128 --split 0.7,0.15,0.15
    python -m benchmarks.shard_size LARGE SMALL OUT

Shards at the network's size hold windows of averaged HU. Larger shards, reduced by `data.size`,
give averages of windowed HU, which lose partial volume beside the skull. Trains `demo.yaml` on
both, all else equal, and compares the mean AUC on the test patients. Runs in OUT are kept.
"""

from pathlib import Path

import click
import numpy as np
import pandas as pd

from benchmarks.comparisons import auc_draws, report, score_runs, train
from ich_keras.data.batches import evaluation_batches
from ich_keras.data.shards import ShardSet, open_shards
from ich_keras.experiment.schema import DataConfig
from ich_keras.run.folder import RunFolder
from tfrecords_tools.errors import UsageError

DIFFERENT = 25  # grey levels of 255
REDUCED, DIRECT = "larger shards, reduced", "shards at the size"


@click.command(help=__doc__.splitlines()[0])
@click.argument("large", type=click.Path(exists=True, path_type=Path))
@click.argument("small", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seeds", default=3, show_default=True)
@click.option("--steps", default=1000, show_default=True)
def main(large: Path, small: Path, out: Path, seeds: int, steps: int) -> None:
    """Prints both tables, and writes the second to OUT."""
    size = open_shards(small, DataConfig()).input.size
    click.echo(
        _pixel_table(open_shards(large, DataConfig(), size), open_shards(small, DataConfig()))
    )
    length = [f"training.max_steps={steps}", f"training.validate_every={steps // 4}"]
    draws, seconds = {}, {}
    for name, folder, shards in ((DIRECT, "direct", small), (REDUCED, "reduced", large)):
        runs = [RunFolder(out / folder / str(seed)) for seed in range(seeds)]
        overrides = [f"data.size={size}", f"training.figure_every={steps}", *length]
        histories = [train(shards, run, [*overrides, f"seed={k}"]) for k, run in enumerate(runs)]
        seconds[name] = np.mean([history["seconds"].max() for history in histories])
        draws[name] = auc_draws(score_runs(shards, runs))
    report(out / "shard_size.csv", "training on", draws, REDUCED, seconds)


def _pixel_table(large: ShardSet, small: ShardSet) -> str:
    """The share of the head's pixels, by window, in which the two inputs clearly differ."""
    counts = np.zeros(len(small.input.windows))
    darker, head = counts.copy(), 0
    for (names, reduced), (other_names, direct) in zip(_images(large), _images(small), strict=True):
        if not np.array_equal(names, other_names):
            raise UsageError(
                "LARGE and SMALL hold different slices; convert both with the same --split, --seed"
            )
        difference = direct.astype(int) - reduced
        inside = direct.max(axis=-1) > 0
        head += inside.sum()
        counts += (np.abs(difference) > DIFFERENT)[inside].sum(axis=0)
        darker += (difference > DIFFERENT)[inside].sum(axis=0)
    table = pd.DataFrame(
        {
            "window": [window.name for window in small.input.windows],
            f"pixels that differ by more than {DIFFERENT} levels": counts / head,
            "of these darker where shards are reduced": darker / counts,
        }
    )
    return table.to_string(index=False, float_format="%.3f")


def _images(shards: ShardSet) -> list[tuple[np.ndarray, np.ndarray]]:
    """Identifiers and images of the validation split, in batches."""
    batches = evaluation_batches(shards, "val", batch_size=64)
    pairs = [(batch["slice_id"].numpy(), batch["image"].numpy()) for batch in batches]
    names, images = (np.concatenate(x) for x in zip(*pairs, strict=True))
    order = np.argsort(names)
    return [(names[part], images[part]) for part in np.array_split(order, max(len(order) // 64, 1))]


if __name__ == "__main__":
    main()
