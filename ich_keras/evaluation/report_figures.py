"""The figures of a run that its report shows, with their titles and captions.

`ich_keras.figures` draws them, and `evaluate` saves them. The report shows those of FIGURES only.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ich_keras.evaluation.summary import outdated

# Of the figures of a kind, the report shows that of the first split here that was scored.
SPLIT_ORDER = ("test", "val")
MAX_FIGURE_BYTES = 7_000_000  # encoded; the page stays below 8 MB
FIGURES = {
    "curves": (
        "Training",
        "Loss, accuracy and mean AUC against the step. The dash-dotted line is a baseline that does"
        " not look at the validation slices; the dotted line marks the checkpoint that was kept."
        " Training with data.balance sees more positive slices than validation does.",
    ),
    "class_grid": (
        "Class grid",
        "Slices with at least the column's label; control slices have no label. The left bar shows"
        " the accuracy on the column's label, the right bar the accuracy over all six: red is no"
        " better than always “no”, bright green is correct.",
    ),
    "class_maps": (
        "Class maps",
        "The class map of the most probable subtype over slices in the brain window: the"
        " probability that each place alone would give. The network was trained with labels of"
        " whole slices, never with outlines.",
    ),
    "errors": (
        "The worst errors",
        "First slices whose hemorrhage was missed, then false alarms, the worst first and at most"
        " one per patient; then, for each subtype, the missed slice with the lowest probability.",
    ),
    "roc": (
        "ROC, precision and recall",
        "Every threshold of every label. The dots mark the threshold of the tables.",
    ),
    "thresholds": (
        "Sensitivity, specificity and accuracy by threshold",
        "A lower threshold raises sensitivity, a higher one specificity. Where a label is rare,"
        " accuracy follows specificity alone, which makes it misleading.",
    ),
    "reliability": (
        "Calibration",
        "The observed frequency of each label against the predicted probability, and the expected"
        " calibration error. Larger dots hold more slices; dots of fewer than ten are hollow."
        " On the dotted line both are equal.",
    ),
}


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the run, as the page shows it."""

    title: str
    caption: str
    png: str  # base64


def read_figures(
    folder: Path, evaluations: dict[str, dict[str, Any]], best: int | None
) -> tuple[list[ReportFigure], list[str]]:
    """The figures of the report, and the names of the figures that are too large for it.

    `evaluations` are scores by name, in the order of the report; `best` is the step of the run's
    best checkpoint, None if it is not known.
    """
    figures: list[ReportFigure] = []
    left_out: list[str] = []
    room = MAX_FIGURE_BYTES
    for kind in FIGURES:
        for path in _figure_files(folder, kind, evaluations):
            png = base64_of(path)
            if len(png) > room:
                left_out.append(path.name)
                continue
            room -= len(png)
            name = path.stem.removeprefix(kind).strip("_")
            step = evaluations.get(name, {}).get("checkpoint_step")
            figures.append(_figure(kind, name, png, step, best))
    return figures, left_out


def _figure(kind: str, name: str, png: str, step: int | None, best: int | None) -> ReportFigure:
    title, caption = FIGURES[kind]
    if name:
        title += f", step {int(name):,}" if name.isdecimal() else f", “{name}”"
    if step is not None:
        caption += f" Checkpoint of step {step:,}. {outdated(step, best)}"
    return ReportFigure(title, caption.strip(), png)


def _figure_files(folder: Path, kind: str, names: Iterable[str]) -> list[Path]:
    """The figures of a kind: of the first scores that have one, otherwise of the latest step.

    Errors are shown for every set of DICOM files too, because its slices are in no split.
    """
    candidates = [folder / f"{name}.png" for name in (kind, *(f"{kind}_{x}" for x in names))]
    existing = [path for path in candidates if path.is_file()]
    if existing:
        of_splits = {f"{kind}_{split}.png" for split in SPLIT_ORDER}
        external = [x for x in existing[1:] if kind == "errors" and x.name not in of_splits]
        return [existing[0], *external]
    drawn = [(x.stem.removeprefix(f"{kind}_"), x) for x in folder.glob(f"{kind}_*.png")]
    steps = [(int(step), x) for step, x in drawn if step.isdecimal()]
    return [max(steps)[1]] if steps else []


def base64_of(path: Path) -> str:
    """The content of a file as in a `data:` address."""
    return base64.b64encode(path.read_bytes()).decode("ascii")
