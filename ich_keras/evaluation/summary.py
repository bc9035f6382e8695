"""The scores in plain sentences, for readers who read nothing else."""

from collections.abc import Iterator
from typing import Any

from ich_keras.scores.metrics import UNITS


def summarise(scores: dict[str, Any], name: str) -> list[str]:
    """Whether a network with these scores beats its baselines, for which labels, how certainly."""
    return [
        _against_always_no(scores),
        *_labels_better_than_chance(scores),
        _missed_and_false_alarms(scores),
        *_at_threshold_of_validation(scores),
        *_against_plain_rule(scores),
        _certainty(scores, name),
    ]


def outdated(step: int | None, best: int | None) -> str:
    """Says that another checkpoint is the best now; "" if this one is, or if it is not known."""
    if step is None or best is None or step == best:
        return ""
    return (
        f"These scores are not of the best checkpoint, which is now that of step {best:,}:"
        " `ich-keras evaluate` scores it."
    )


def unit_of(scores: dict[str, Any]) -> str:
    """What was scored: `slice`, or `study` if only whole studies have labels."""
    return scores.get("unit", "slice")


def number_of(scores: dict[str, Any]) -> int:
    """The number of slices or studies that were scored."""
    return scores[UNITS[unit_of(scores)]]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _against_always_no(scores: dict[str, Any]) -> str:
    gain, interval = scores["accuracy_gain"]["value"], scores["accuracy_gain"]["interval"]
    facts = (
        f"{_percent(scores['accuracy_mean'])} of the labels are correct, against"
        f" {_percent(scores['always_negative_accuracy_mean'])} for always “no”"
    )
    if interval is None:
        return (
            f"It is not known whether the network is better than always predicting “no”: {facts}."
        )
    low, high = interval
    verdict = "The network is not shown to be better than always predicting “no”"
    if low > 0:
        verdict = "The network is better than always predicting “no”"
    elif high < 0:
        verdict = "The network is worse than always predicting “no”"
    points = f"{100 * gain:+.1f} percentage points, interval {100 * low:+.1f} to {100 * high:+.1f}"
    return f"{verdict}: {facts} ({points})."


def _labels_better_than_chance(scores: dict[str, Any]) -> Iterator[str]:
    """The labels whose AUC is above chance over the whole interval, and the others."""
    known = scores["auc"]
    better = [x for x in known if (scores["auc"][x]["interval"] or [0])[0] > 0.5]
    if better:
        areas = ", ".join(f"{x} ({scores['auc'][x]['value']:.3f})" for x in better)
        yield f"It is better than chance on these labels, with this AUC: {areas}."
    if len(better) < len(known):
        others = ", ".join(x for x in known if x not in better)
        yield f"It is not shown to be better than chance on: {others}."


def _missed_and_false_alarms(scores: dict[str, Any]) -> str:
    positives, units = scores["positives"]["any"], UNITS[unit_of(scores)]
    missed, alarms = scores["false_negatives"]["any"], scores["false_positives"]["any"]
    return (
        f"At the threshold {scores['threshold']:g} it misses {missed:,} of {positives:,} {units}"
        f" with a hemorrhage, and raises {alarms:,} false alarms on"
        f" {number_of(scores) - positives:,} {units} without."
    )


def _at_threshold_of_validation(scores: dict[str, Any]) -> Iterator[str]:
    """Sensitivity and specificity of `any` at the threshold chosen on validation studies."""
    points = scores.get("operating_points", {}).get("study", {}).get("sensitivity_95", {})
    point = points.get("any")
    if point is None or point["sensitivity"]["interval"] is None:
        return
    low, high = point["sensitivity"]["interval"]
    sentence = (
        "At the threshold that reached 95 % sensitivity on validation studies, it detects"
        f" {_percent(point['sensitivity']['value'])} ({_percent(low)} to {_percent(high)}) of the"
        " studies with a hemorrhage"
    )
    specificity = point["specificity"]["value"]
    if specificity is None:
        yield f"{sentence}; there are no studies without."
    else:
        yield (
            f"{sentence}, and {_percent(specificity)} of the studies without raise no alarm"
            " (specificity)."
        )


def _against_plain_rule(scores: dict[str, Any]) -> Iterator[str]:
    rule = scores.get("plain_rule")
    if rule is None or rule["difference"]["interval"] is None:
        return
    better = rule["difference"]["interval"][0] > 0
    yield (
        f"It is {'better' if better else 'not shown to be better'} than a plain rule that looks for"
        " regions as dense as blood: the AUC for any hemorrhage is"
        f" {rule['network_auc_any']['value']:.3f}, that of the rule {rule['auc_any']['value']:.3f}."
    )


def _certainty(scores: dict[str, Any], name: str) -> str:
    sentences = [
        f"These are {number_of(scores):,} {UNITS[unit_of(scores)]} of {scores['patients']:,}"
        f" patients, “{name}”; intervals are 95 % intervals by resampling patients (bootstrap)."
    ]
    if name == "val":
        sentences.append("The checkpoint was chosen on this split, so its scores are optimistic.")
    if scores["warnings"]:
        sentences.append(f"Warnings: {'; '.join(scores['warnings'])}.")
    return " ".join(sentences)
