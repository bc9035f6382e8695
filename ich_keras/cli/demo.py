"""The demo: an answer of the shipped network; then synth, convert, fit, evaluate and report."""

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ich_keras.evaluation.evaluate import evaluate
from ich_keras.experiment.experiment import load_experiment
from ich_keras.predict.predict import predict
from ich_keras.run.folder import RunFolder
from ich_keras.run.shipped import find_run
from ich_keras.training.fit import fit
from tfrecords_tools.convert import ConvertOptions, convert
from tfrecords_tools.phantom.cohort import subtypes_of
from tfrecords_tools.phantom.rsna_files import MASK_FOLDER, synth

log = logging.getLogger(__name__)

SLICES = 8  # per study; more patients teach more than more slices of each
SIZE = 128  # pixels; small enough to train on two cores in minutes
SPLIT = "0.7,0.15,0.15"  # leaves enough of a few hundred patients to score on
SHIPPED = "phantom"  # the network that answers first
SHOWN = "intraparenchymal"  # the hemorrhage of the study that it answers


def run_demo(
    directory: Path, *, patients: int, seed: int, workers: int | None, overrides: Sequence[str] = ()
) -> Path:
    """Runs the demo, keeps what an earlier call finished, and returns the report."""
    data, shards, run = directory / "rsna-ich", directory / "shards", RunFolder(directory / "run")
    if not (directory / "answer" / "studies.csv").is_file():
        log.info("1/5 the shipped network on one phantom study")
        _answer(directory / "study", directory / "answer")
    if not (data / "stage_2_train.csv").is_file():
        log.info("2/5 phantom studies of %d patients", patients)
        synth(data, patients=patients, slices=SLICES, size=SIZE, seed=seed, workers=workers)
    log.info("3/5 shards")
    masks = data / MASK_FOLDER
    options = ConvertOptions(size=SIZE, split=SPLIT, seed=seed, workers=workers, masks=masks)
    convert(data, shards, options)
    log.info("4/5 training")
    fit(load_experiment("demo.yaml", overrides), shards, run)
    log.info("5/5 evaluation on patients that were not trained on")
    for split in ("val", "test"):
        log.info(evaluate(run, shards, split=split, masks=masks).sentence())
    return run.report


def _answer(study: Path, out: Path) -> None:
    """Makes a study with a hemorrhage, and has the shipped network answer it."""
    seed = next(x for x in itertools.count() if SHOWN in subtypes_of(0, x))
    if not (study / "stage_2_train.csv").is_file():
        synth(study, patients=1, seed=seed, workers=1)
    shipped = find_run(SHIPPED)
    log.info(predict(shipped, [study / "stage_2_train"], out).sentence())
    answers = pd.read_csv(out / "studies.csv", keep_default_na=False)
    log.info("it has %s; found: %s", " ".join(subtypes_of(0, seed)), answers.loc[0, "found"])
    log.info("look at %s. %s", out / "study_001_look.png", shipped.notice)
