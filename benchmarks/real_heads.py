"""Scores a run on labelled real heads: slices, studies, false alarms and the worst errors.

    python -m benchmarks.real_heads RUN SETS OUT

SETS holds one folder per set, with `dicom/` and `labels.csv`. Everything that `evaluate --dicom`
writes of a set lands in OUT, the table of all sets in OUT/real_heads.csv. Thresholds are those that
were chosen on the run's own validation patients.
"""

from pathlib import Path
from typing import Any

import click
import pandas as pd

from ich_keras.evaluation.dicom_folder import evaluate_dicom
from ich_keras.run.folder import RunFolder
from ich_keras.run.shipped import find_run
from tfrecords_tools.classes import LABELS

ANY = LABELS[-1]


def score_set(run: RunFolder, folder: Path) -> dict[str, Any]:
    """A row of the table: the scores of one set, with intervals over its patients."""
    name = folder.name
    result = evaluate_dicom(run, folder / "dicom", folder / "labels.csv", name=name)
    scores, predictions = result.scores, run.evaluation / f"{name}_predictions.csv"
    levels = {"any": scores, **{f"{x} any": y for x, y in scores["levels"].items()}}
    smoothed = scores.get("smoothing", {})
    return {
        "set": name,
        "slices": scores["slices"],
        "patients": scores["patients"],
        **{level: _with_interval(card["auc"][ANY]) for level, card in levels.items()},
        "any smoothed": _first(smoothed, f"auc {ANY}"),
        "mean of six": _with_interval(scores["mean_auc"]),
        "mean smoothed": _first(smoothed, "mean_auc"),
        **{kind: _value(scores["auc"][kind]) for kind in LABELS[:-1]},
        "false alarms per study": _false_alarms(pd.read_csv(predictions), scores),
        "plain rule": _value(scores["plain_rule"]["auc_any"]) if "plain_rule" in scores else None,
    }


def _false_alarms(predictions: pd.DataFrame, scores: dict[str, Any]) -> float | None:
    """Slices above the threshold of 95 % sensitivity, per study without hemorrhage."""
    points = scores.get("operating_points", {}).get("slice", {}).get("sensitivity_95", {})
    if ANY not in points:
        return None
    studies = predictions.groupby("study_id")
    healthy = studies[f"{ANY}_true"].transform("max") == 0
    alarms = predictions[healthy][ANY] >= points[ANY]["threshold"]
    count = predictions[healthy]["study_id"].nunique()
    return float(alarms.sum() / count) if count else None


def _value(estimate: dict[str, Any] | None) -> float | None:
    return estimate["value"] if estimate else None


def _with_interval(estimate: dict[str, Any] | None) -> str:
    if not estimate or estimate["value"] is None:
        return "-"
    low, high = estimate["interval"]
    return f"{estimate['value']:.3f} ({low:.3f} to {high:.3f})"


def _first(comparison: dict[str, Any], score: str) -> float | None:
    return comparison[score]["first"] if score in comparison else None


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


@click.command(help=__doc__.splitlines()[0])
@click.argument("run")
@click.argument("sets", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def main(run: str, sets: Path, out: Path) -> None:
    """Scores every set; prints one column per set and writes OUT/real_heads.csv."""
    folder = RunFolder(find_run(run).path, out)
    rows = [score_set(folder, path.parent) for path in sorted(sets.glob("*/labels.csv"))]
    table = pd.DataFrame(rows).set_index("set")
    click.echo(table.T.map(_cell).to_string())
    table.to_csv(out / "real_heads.csv", float_format="%.4f", lineterminator="\n")
    click.echo(f"worst errors: {', '.join(str(x) for x in folder.figures.glob('errors_*.png'))}")


if __name__ == "__main__":
    main()
