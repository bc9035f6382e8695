"""The demo: synth, convert, fit, evaluate and report on phantom studies."""

import logging
from collections.abc import Sequence
from pathlib import Path

from ich_keras.evaluation.evaluate import evaluate
from ich_keras.experiment.experiment import load_experiment
from ich_keras.run.folder import RunFolder
from ich_keras.training.fit import fit
from tfrecords_tools.convert import ConvertOptions, convert
from tfrecords_tools.phantom.rsna_files import synth

log = logging.getLogger(__name__)

SLICES = 10  # per study; more patients teach more than more slices of each
SIZE = 128  # pixels; small enough to train on two cores in minutes
SPLIT = "0.7,0.15,0.15"  # leaves enough of a few hundred patients to score on


def run_demo(
    directory: Path, *, patients: int, seed: int, workers: int | None, overrides: Sequence[str] = ()
) -> Path:
    """Runs the demo, keeps what an earlier call finished, and returns the report."""
    data, shards, run = directory / "rsna-ich", directory / "shards", RunFolder(directory / "run")
    if not (data / "stage_2_train.csv").is_file():
        log.info("1/4 phantom studies of %d patients", patients)
        synth(data, patients=patients, slices=SLICES, seed=seed, workers=workers)
    log.info("2/4 shards")
    convert(data, shards, ConvertOptions(size=SIZE, split=SPLIT, seed=seed, workers=workers))
    log.info("3/4 training")
    fit(load_experiment("demo.yaml", overrides), shards, run)
    log.info("4/4 evaluation on patients that were not trained on")
    for split in ("val", "test"):
        log.info(evaluate(run, shards, split=split, masks=data / "masks").sentence())
    return run.report
