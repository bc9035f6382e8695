"""The report of a run: one HTML file without scripts that needs no network."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from ich_keras.evaluation.report_figures import SPLIT_ORDER, read_figures
from ich_keras.evaluation.summary import number_of, outdated, summarise, unit_of
from ich_keras.experiment.yaml_files import read_file
from ich_keras.run.environment import read_environment
from ich_keras.run.folder import RunError, RunFolder
from ich_keras.run.state import read_position
from ich_keras.scores.metrics import UNITS
from ich_keras.view.templates import render
from tfrecords_tools.classes import LABELS
from tfrecords_tools.storage.atomic import write_text


def write_report(run: RunFolder) -> Path:
    """Writes `report.html` from the files in the run folder; the page names what is missing.

    Reads `evaluation/*.json`, `figures/*.png`, `history.csv`, `experiment.yaml` and
    `environment.json`. Raises RunError if there is no such folder, or a file in it is damaged.
    """
    if not run.path.is_dir():
        raise RunError(f"{run.path}: no such run folder; give one that `ich-keras fit` wrote")
    experiment = read_file(run.experiment).content if run.experiment.is_file() else {}
    best = read_position(run).best_step if run.position.is_file() else None
    evaluations = _read_evaluations(run, best)
    history = _read_rows(run.history)
    figures, left_out = read_figures(run.figures, evaluations, best)
    first = next(iter(evaluations), None)
    page = render(
        "report.html.j2",
        name=experiment.get("name", "run"),
        notice=run.notice,
        evaluations=evaluations,
        summary=list(_summary(evaluations[first], first, best)) if first else [],
        outdated=lambda step: outdated(step, best),
        levels=_levels,
        number_of=number_of,
        units_of=lambda scores: UNITS[unit_of(scores)],
        operating_points=_operating_points,
        sizes=_read_sizes(run),
        comparisons={x.stem: _read_json(x) for x in sorted(run.comparisons.glob("*.json"))},
        training=_training_sentence(history),
        training_warning=_training_warning(history),
        figures=figures,
        left_out=left_out,
        pages={name: _pages(run, name) for name in evaluations},
        experiment=list(_flat_rows(experiment)),
        environment=list(_environment_rows(read_environment(run))),
    )
    write_text(run.report, page)
    return run.report


def _pages(run: RunFolder, name: str) -> list[str]:
    """The pages of the worst errors of a set of DICOM files, relative to the report."""
    return [path.relative_to(run.results).as_posix() for path in run.pages(name)]


def _summary(scores: dict[str, Any], name: str, best: int | None) -> Iterator[str]:
    """The summary of a set of scores, with the checkpoint that was scored."""
    step = scores.get("checkpoint_step")
    if outdated(step, best):
        yield outdated(step, best)
    yield from summarise(scores, name)
    if step is not None:
        yield f"The network is the checkpoint of step {step:,}."


def _levels(scores: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The scores of slices, studies and patients, by name."""
    yield unit_of(scores), {**scores, "number": number_of(scores)}
    for name in ("study", "study_smoothed", "patient"):
        if name in scores["levels"]:
            level = scores["levels"][name]
            number = level["patients" if name == "patient" else "studies"]
            yield name.replace("_", ", "), {**level, "number": number}


def _operating_points(scores: dict[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Label, level, name of the rule, and the scores at its threshold."""
    rules = {"sensitivity_95": "95 % sensitivity", "youden": "Youden"}
    points = scores["operating_points"]
    of_studies = ("any",) if "slice" in points else LABELS
    for level, labels in (("study", of_studies), ("study_smoothed", of_studies), ("slice", LABELS)):
        for label in reversed(labels):
            for rule, name in rules.items():
                point = points.get(level, {}).get(rule, {}).get(label)
                if point is not None:
                    yield label, level.replace("_", ", "), name, point


def _read_sizes(folder: RunFolder) -> dict[str, list[dict[str, str]]]:
    """The tables of sizes by the name of the scores, if there is more than one size."""
    tables = {}
    for path in sorted(folder.evaluation.glob("*_sizes.csv")):
        rows = _read_rows(path)
        if len(rows) > 1:
            tables[path.stem.removesuffix("_sizes")] = [_rounded(row) for row in rows]
    return tables


def _rounded(row: dict[str, str]) -> dict[str, str]:
    shown = {
        key: f"{float(value):.4f}" if key != "size" and value else value or "-"
        for key, value in row.items()
        if key not in ("checkpoint_step", "data_fingerprint")
    }
    interval = f"{shown['mean_auc_low']} to {shown['mean_auc_high']}"
    return shown | {"interval": interval, "step": f"{int(row['checkpoint_step']):,}"}


def _read_evaluations(folder: RunFolder, best: int | None) -> dict[str, dict[str, Any]]:
    """The scores by name: first the test split, then validation, last older checkpoints."""
    scores = {path.stem: _read_json(path) for path in sorted(folder.evaluation.glob("*.json"))}
    old = {x: bool(outdated(scores[x].get("checkpoint_step"), best)) for x in scores}
    order = sorted(scores, key=lambda x: (old[x], x not in SPLIT_ORDER, x != SPLIT_ORDER[0], x))
    return {name: scores[name] for name in order}


def _training_sentence(history: list[dict[str, str]]) -> str:
    if not history:
        return ""
    last = history[-1]
    return f"Trained for {int(last['step']):,} steps in {float(last['seconds']):,.0f} s."


def _training_warning(history: list[dict[str, str]]) -> str:
    """Says how often the predictions of a validation did not depend on the slice; "" if never."""
    collapsed = [row for row in history if row.get("warning")]
    if not collapsed:
        return ""
    validations = sum(bool(row.get("val_loss")) for row in history)
    return (
        f"At {len(collapsed)} of {validations} validations during training, the predictions did not"
        f" depend on the slice, last at step {int(collapsed[-1]['step']):,}:"
        f" {collapsed[-1]['warning']}."
    )


def _flat_rows(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and their values as text; mappings in a list are numbered from 1.

    Only the last part of a path is shown, because the page may be given to others.
    """
    for key, value in values.items():
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            value = {str(number): item for number, item in enumerate(value, 1)}
        if isinstance(value, dict):
            yield from _flat_rows(value, f"{prefix}{key}.")
        else:
            items = value if isinstance(value, list) else [value]
            yield f"{prefix}{key}", ", ".join(_without_folder(str(x)) for x in items)


def _environment_rows(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The rows of `environment.json`: the start of the run, then the changes of each session."""
    start = dict(_flat_rows({key: value for key, value in content.items() if key != "sessions"}))
    yield from start.items()
    for number, session in enumerate(content.get("sessions", []), 1):
        rows = _flat_rows({key: value for key, value in session.items() if key != "step"})
        changed = [f"{key} {value}" for key, value in rows if start.get(key) != value]
        name = f"session {number}, from step {session['step']:,}"
        yield name, "; ".join(changed) or "as at the start"


def _without_folder(text: str) -> str:
    return PurePath(text.replace("\\", "/")).name if "/" in text or "\\" in text else text


def _read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none if there is no file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file that holds an object."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        content.keys()
    except (ValueError, AttributeError) as error:
        raise RunError(f"{path}: damaged ({error}); remove it, and write the page again") from error
    return content
