"""The model card of a run: what the network saw, and what it was judged on."""

import json
from typing import Any

from ich_keras.evaluation.summary import summarise
from ich_keras.experiment.experiment import load_experiment
from ich_keras.model.network import load_model
from ich_keras.model.summary import summarize
from ich_keras.run.environment import read_environment
from ich_keras.run.folder import RunFolder, RunInput, read_input
from ich_keras.run.state import read_position
from ich_keras.scores.metrics import UNITS
from ich_keras.view.templates import render_markdown
from tfrecords_tools.classes import LABELS
from tfrecords_tools.dataset.manifest import Manifest, read_manifest
from tfrecords_tools.errors import InputError
from tfrecords_tools.storage.shard_path import shard_path

NOTICE = "For research, not for diagnosis."
SETS = {
    "test": "patients that were not trained on",
    "val": "patients that checkpoint, thresholds and smoothing were chosen on",
}


def model_card(run: RunFolder, template: str = "model_card.md.j2", **changes: Any) -> str:
    """The card as Markdown, with every score of the best checkpoint in the folder of the run.

    `changes` take the place of values of the template.
    """
    trained, experiment = read_input(run), load_experiment(str(run.experiment))
    values = {
        "name": experiment.name,
        "notice": run.notice or NOTICE,
        "network": trained.network,
        "summary": summarize(load_model(run.best), experiment.model, trained.network.size),
        "experiment": experiment,
        "step": read_position(run).best_step,
        "fingerprint": trained.fingerprint,
        "manifest": _manifest(trained),
        "environment": read_environment(run),
        "evaluations": _evaluations(run),
        "sets": SETS,
        "units": UNITS,
        "labels": LABELS,
        "summarise": summarise,
    }
    return render_markdown(template, **values | changes)


def _manifest(trained: RunInput) -> Manifest | None:
    """That of the training; None if its shards were not kept."""
    if trained.shards is None:
        return None
    try:
        manifest = read_manifest(shard_path(trained.shards))
    except (InputError, OSError):
        return None
    return manifest if manifest.fingerprint == trained.fingerprint else None


def _evaluations(run: RunFolder) -> dict[str, dict[str, Any]]:
    """The scores of the best checkpoint by name, those on patients of no training first."""
    contents = {x.stem: json.loads(x.read_text("utf-8")) for x in run.evaluation.glob("*.json")}
    best = read_position(run).best_step
    current = {name: x for name, x in contents.items() if x.get("checkpoint_step") == best}
    return {name: current[name] for name in sorted(current, key=lambda x: (x == "val", x))}
