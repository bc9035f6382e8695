"""The whole way on phantom studies: synth, convert, fit, evaluate, report."""

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

SLICES = 10  # a study: many heads teach more than many slices of each
SIZE = 128  # pixels; what two cores learn from in minutes
SPLIT = "0.7,0.15,0.15"  # of a few hundred patients, enough must be left to judge by
WINDOWS = "brain,subdural,bone"


def run_demo(
    directory: Path,
    *,
    patients: int,
    seed: int,
    workers: int | None,
    overrides: Sequence[str] = (),
) -> Path:
    """Makes, converts, trains and judges; what is there already from before is kept.

    Returns:
        The report.
    """
    data, shards, run = directory / "rsna-ich", directory / "shards", RunFolder(directory / "run")
    if not (data / "stage_2_train.csv").is_file():
        log.info("1/4 phantom studies of %d patients", patients)
        synth(data, patients=patients, slices=SLICES, seed=seed, workers=workers)
    log.info("2/4 shards")
    convert(
        data,
        shards,
        ConvertOptions(size=SIZE, windows=WINDOWS, split=SPLIT, seed=seed, workers=workers),
    )
    log.info("3/4 training")
    fit(load_experiment("demo.yaml", overrides), shards, run)
    log.info("4/4 evaluation on patients never seen")
    for split in ("val", "test"):
        log.info(evaluate(run, shards, split=split, masks=data / "masks").sentence())
    return run.report
