"""Shards at the network's size against larger ones that the pipeline reduces: three seeds.

    ich-keras convert FOLDER --out LARGE --size 256 --split 0.7,0.15,0.15
    ich-keras convert FOLDER --out SMALL --size 128 --split 0.7,0.15,0.15
    python -m benchmarks.shard_size LARGE SMALL OUT

Shards at the network's size hold windows of averaged HU. Larger shards, reduced by `data.size`,
give averages of windowed HU, in which partial volume beside the skull is lost. Trains `demo.yaml`
on both, all else equal, and compares the mean AUC on the test patients. Runs in OUT are kept.
"""

from pathlib import Path

import click
import numpy as np
import pandas as pd

from benchmarks.comparisons import answers, auc_draws, estimate, train
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
        draws[name] = auc_draws(answers(shards, runs))
    rows = [
        {
            "training on": name,
            "seconds": round(seconds[name]),
            "test mean AUC": estimate(values),
            f"minus {REDUCED}": estimate(values - draws[REDUCED], "+.4f"),
        }
        for name, values in draws.items()
    ]
    table = pd.DataFrame(rows)
    table.to_csv(out / "shard_size.csv", index=False, lineterminator="\n")
    click.echo(table.to_string(index=False))


def _pixel_table(large: ShardSet, small: ShardSet) -> str:
    """The share of the head's pixels, by window, in which the two inputs differ clearly."""
    counts = np.zeros(len(small.input.windows))
    darker, head = counts.copy(), 0
    for one, other in zip(_images(large), _images(small), strict=True):
        if not np.array_equal(one[0], other[0]):
            raise UsageError(
                "LARGE and SMALL hold other slices; convert with the same --split, --seed"
            )
        difference = other[1].astype(int) - one[1]
        inside = other[1].max(axis=-1) > 0
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
    found = [(batch["slice_id"].numpy(), batch["image"].numpy()) for batch in batches]
    names, images = (np.concatenate(x) for x in zip(*found, strict=True))
    order = np.argsort(names)
    return [(names[part], images[part]) for part in np.array_split(order, max(len(order) // 64, 1))]


if __name__ == "__main__":
    main()
