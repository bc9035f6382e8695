"""A run of seconds with everything that `evaluate` makes of it."""

from pathlib import Path

from ich_keras.evaluation.evaluate import evaluate
from ich_keras.evaluation.run_scorer import EvaluateResult
from ich_keras.experiment.experiment import load_experiment
from ich_keras.run.folder import RunFolder
from ich_keras.training.fit import fit
from tests.support.shard_files import write_shards

SETTINGS = [
    "model.widths=[8,16]",
    "training.max_steps=30",
    "training.batch_size=16",
    "training.validate_every=30",
    "training.log_every=30",
    "training.learning_rate=1e-2",
    "evaluation.bootstrap_draws=100",
]


def scored_run(folder: Path) -> tuple[RunFolder, Path, EvaluateResult]:
    """The run, its shards, and what the validation slices scored."""
    (folder / "shards").mkdir()
    shards = write_shards(folder / "shards", train=56, val=35, test=35).folder
    run = RunFolder(folder / "run")
    fit(load_experiment("demo", SETTINGS), shards, run)
    return run, shards, evaluate(run, shards)
