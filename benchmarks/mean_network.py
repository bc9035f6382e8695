"""Makes a run whose weights are the mean of those of a run and of the network it began with.

    python -m benchmarks.mean_network RUN OTHER OUT

OTHER is a run or the name of a shipped network. The mean of a network and of its continuation on
other data often answers unknown data better than both (Wortsman et al. 2022, "Robust fine-tuning of
zero-shot models", CVPR). OUT is a copy of RUN but for `best.keras`, to be evaluated and shipped.
"""

import shutil
from pathlib import Path

import click

from ich_keras.model.network import load_model, save_model
from ich_keras.run.folder import RunFolder, trained_run
from ich_keras.run.shipped import find_run


def mean_network(run: RunFolder, other: RunFolder, out: RunFolder) -> None:
    """Writes `out`; statistics of normalisation are averaged too."""
    network, second = load_model(run.best), load_model(other.best)
    for a, b in zip(network.weights, second.weights, strict=True):
        a.assign((a + b) / 2)
    left_out = shutil.ignore_patterns("best.keras", "evaluation", "fitted", "tensorboard")
    shutil.copytree(run.path, out.path, ignore=left_out)
    save_model(network, out.best)


@click.command(help=__doc__.splitlines()[0])
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("other")
@click.argument("out", type=click.Path(exists=False, path_type=Path))
def main(run: Path, other: str, out: Path) -> None:
    """Prints the folder."""
    mean_network(trained_run(run), find_run(other), RunFolder(out))
    click.echo(f"the mean of {run} and {other}: {out}")


if __name__ == "__main__":
    main()
