"""The page a person opens: one HTML file without scripts that needs no network."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ich_keras.evaluation.pages import base64_of, render
from ich_keras.evaluation.summary import number_of, plain_answer, unit_of
from ich_keras.evaluation.value_rows import environment_rows, flat_rows
from ich_keras.experiment.yaml_files import read_file
from ich_keras.run.environment import read_environment
from ich_keras.run.folder import RunError, RunFolder
from ich_keras.run.state import read_position
from ich_keras.scores.metrics import UNITS
from tfrecords_tools.classes import LABELS
from tfrecords_tools.storage.atomic import write_text

# The first that was scored gives the answer, of those scored with the run's best checkpoint if any.
SPLIT_ORDER = ("test", "val")
MAX_PICTURE_BYTES = 7_000_000  # encoded; the page stays below 8 MB
FIGURES = {
    "curves": (
        "Training",
        "Loss, accuracy and mean AUC against the step. A dash-dotted line is what can be had"
        " without looking at a validation slice; the dotted one marks the checkpoint that was kept."
        " Training under data.balance sees more bleedings than validation does.",
    ),
    "class_grid": (
        "Class grid",
        "Slices with at least the column's label; control slices bear none. The left bar shows the"
        " accuracy on the column's label, the right bar over all six: red is no better than always"
        " saying no, bright green is right.",
    ),
    "class_maps": (
        "Where it sees the bleeding",
        "The class map of the most probable bleeding over slices in the brain window: how probable"
        " each place alone would make it. The network was taught with whole slices, never with"
        " outlines.",
    ),
    "errors": (
        "The worst errors",
        "Bleedings that were missed altogether, then false alarms, each the worst first and at most"
        " one a patient; last, of each kind, the one that was missed by most.",
    ),
    "roc": (
        "ROC, precision and recall",
        "Every threshold of every label. The dots are the threshold used in the tables.",
    ),
    "thresholds": (
        "What a threshold comes to",
        "Sensitivity rises to the left, specificity to the right. Where bleedings are rare,"
        " accuracy follows specificity alone, which is why it misleads.",
    ),
    "reliability": (
        "Whether probabilities mean what they say",
        "How often a label was there against how probable it was said to be, and the expected error"
        " of that. The larger a dot, the more slices; hollow below ten. On the dotted line both are"
        " equal.",
    ),
}


@dataclass(frozen=True)
class Picture:
    """A figure of the run, as the page shows it."""

    title: str
    caption: str
    png: str  # base64


def write_report(run: Path) -> Path:
    """Builds `report.html` from what the run folder holds; what is missing is said on the page.

    Reads `evaluation/*.json`, `figures/*.png`, `history.csv`, `experiment.yaml` and
    `environment.json`.

    Raises:
        RunError: if there is no such folder, or a file in it is damaged.
    """
    if not run.is_dir():
        raise RunError(f"{run}: no such run folder; give one that `ich-keras fit` wrote")
    folder = RunFolder(run)
    experiment = _read_yaml(folder.experiment)
    best = _best_step(folder)
    evaluations = _read_evaluations(folder, best)
    history = _read_rows(folder.history)
    pictures, left_out = _read_pictures(folder, evaluations, best)
    page = render(
        "report.html.j2",
        name=experiment.get("name", "run"),
        labels=LABELS,
        evaluations=evaluations,
        answer=[
            x for name in list(evaluations)[:1] for x in _answer(evaluations[name], name, best)
        ],
        outdated=lambda step: _outdated(step, best),
        levels=_levels,
        number_of=number_of,
        units_of=lambda scores: UNITS[unit_of(scores)],
        operating_points=_operating_points,
        sizes=_read_sizes(folder),
        comparisons={x.stem: _read_json(x) for x in sorted(folder.comparisons.glob("*.json"))},
        training=_training_sentence(history),
        training_warning=_training_warning(history),
        pictures=pictures,
        left_out=left_out,
        experiment=list(flat_rows(experiment)),
        environment=list(environment_rows(read_environment(folder))),
    )
    write_text(folder.report, page)
    return folder.report


def _answer(scores: dict[str, Any], name: str, best: int | None) -> Iterator[str]:
    """The answer of a set of scores, with the checkpoint that gave it."""
    step = scores.get("checkpoint_step")
    if _outdated(step, best):
        yield _outdated(step, best)
    yield from plain_answer(scores, name)
    if step is not None:
        yield f"The network is the checkpoint of step {step:,}."


def _outdated(step: int | None, best: int | None) -> str:
    """Says that a later checkpoint is the best now, or nothing."""
    if step is None or best is None or step == best:
        return ""
    return (
        "These are not the scores of the run's best checkpoint, which is now that of step"
        f" {best:,}: `ich-keras evaluate` scores it."
    )


def _best_step(folder: RunFolder) -> int | None:
    """The step of `best.keras`; None if the folder does not tell."""
    return read_position(folder).best_step if folder.position.is_file() else None


def _levels(scores: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The scores of slices, studies and patients, by name."""
    yield unit_of(scores), {**scores, "number": number_of(scores)}
    for name in ("study", "study_smoothed", "patient"):
        if name in scores["levels"]:
            level = scores["levels"][name]
            number = level["patients" if name == "patient" else "studies"]
            yield name.replace("_", ", "), {**level, "number": number}


def _operating_points(scores: dict[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Label, level, name of the rule, and what the threshold comes to."""
    names = {"sensitivity_95": "95 % sensitivity", "youden": "Youden"}
    points = scores["operating_points"]
    of_studies = ("any",) if "slice" in points else LABELS
    for level, labels in (
        ("study", of_studies),
        ("study_smoothed", of_studies),
        ("slice", LABELS),
    ):
        for label in reversed(labels):
            for rule, name in names.items():
                point = points.get(level, {}).get(rule, {}).get(label)
                if point is not None:
                    yield label, level.replace("_", ", "), name, point


def _read_sizes(folder: RunFolder) -> dict[str, list[dict[str, str]]]:
    """The tables of sizes by the name of the scores, where there is more than one size."""
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
    """The scores by split, the one that answers best first, those of older checkpoints last."""
    scores = {path.stem: _read_json(path) for path in sorted(folder.evaluation.glob("*.json"))}
    old = {x: bool(_outdated(scores[x].get("checkpoint_step"), best)) for x in scores}
    order = sorted(scores, key=lambda x: (old[x], x not in SPLIT_ORDER, x != SPLIT_ORDER[0], x))
    return {split: scores[split] for split in order}


def _read_pictures(
    folder: RunFolder, evaluations: dict[str, dict[str, Any]], best: int | None
) -> tuple[list[Picture], list[str]]:
    """One figure of each kind, of errors one per set, and the names of those without room."""
    pictures: list[Picture] = []
    left_out: list[str] = []
    room = MAX_PICTURE_BYTES
    paths = [(x, path) for x in FIGURES for path in _figure_files(folder.figures, x, evaluations)]
    for kind, path in paths:
        title, caption = FIGURES[kind]
        png = base64_of(path)
        if len(png) > room:
            left_out.append(path.name)
            continue
        room -= len(png)
        suffix = path.stem.removeprefix(kind).strip("_")
        part = f"step {int(suffix):,}" if suffix.isdecimal() else f"“{suffix}”"
        step = evaluations.get(suffix, {}).get("checkpoint_step")
        made = "" if step is None else f" Checkpoint of step {step:,}. {_outdated(step, best)}"
        pictures.append(
            Picture(f"{title}, {part}" if suffix else title, (caption + made).strip(), png)
        )
    return pictures, left_out


def _figure_files(folder: Path, kind: str, splits: Iterable[str]) -> list[Path]:
    """The run's figures of a kind: of the split that gives the answer, or of the latest step.

    Errors are shown of every external set too, since they are others than those of a split.
    """
    names = (kind, *(f"{kind}_{split}" for split in splits))
    found = [folder / f"{name}.png" for name in names if (folder / f"{name}.png").is_file()]
    if found:
        splits_of_shards = {f"{kind}_{split}.png" for split in SPLIT_ORDER}
        external = [x for x in found[1:] if kind == "errors" and x.name not in splits_of_shards]
        return [found[0], *external]
    drawn = [(x.stem.removeprefix(f"{kind}_"), x) for x in folder.glob(f"{kind}_*.png")]
    steps = [(int(step), x) for step, x in drawn if step.isdecimal()]
    return [max(steps)[1]] if steps else []


def _training_sentence(history: list[dict[str, str]]) -> str:
    if not history:
        return ""
    last = history[-1]
    return f"Trained for {int(last['step']):,} steps in {float(last['seconds']):,.0f} s."


def _training_warning(history: list[dict[str, str]]) -> str:
    """The last validation at which the network's answers did not depend on the slice."""
    said = [row for row in history if row.get("warning")]
    if not said:
        return ""
    validations = sum(bool(row.get("val_loss")) for row in history)
    return (
        f"At {len(said)} of {validations} validations during training its answers did not depend on"
        f" the slice, last at step {int(said[-1]['step']):,}: {said[-1]['warning']}."
    )


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _read_json(path: Path) -> dict[str, Any]:
    """The content, which is empty if there is no file.

    Raises:
        RunError: if it is not JSON, or no object.
    """
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        content.keys()
    except (ValueError, AttributeError) as error:
        raise RunError(f"{path}: damaged ({error}); remove it, and write the page again") from error
    return content


def _read_yaml(path: Path) -> dict[str, Any]:
    return read_file(path).content if path.is_file() else {}
