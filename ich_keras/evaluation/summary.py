"""What the scores come to, in sentences for a person who reads nothing else."""

from collections.abc import Iterator
from typing import Any

from ich_keras.scores.metrics import UNITS
from tfrecords_tools.classes import LABELS


def _percent(share: float) -> str:
    """A share as a percentage to one place."""
    return f"{100 * share:.1f} %"


def plain_answer(scores: dict[str, Any], split: str) -> list[str]:
    """Whether it is better than saying no, for which bleedings, how sure, at what threshold.

    Args:
        scores: as `evaluate` writes them.
        split: of what they are, or the name that they were given.
    """
    return [
        _against_saying_no(scores),
        *_which_bleedings(scores),
        _found_and_missed(scores),
        *_at_validations_threshold(scores),
        *_beside_the_plain_rule(scores),
        _how_sure(scores, split),
    ]


def _against_saying_no(scores: dict[str, Any]) -> str:
    gain, interval = scores["accuracy_gain"]["value"], scores["accuracy_gain"]["interval"]
    facts = (
        f"it decides {_percent(scores['accuracy_mean'])} of the labels rightly, where always"
        f" saying no gets {_percent(scores['always_negative_accuracy_mean'])}"
    )
    if interval is None:
        return f"Whether it is better than always saying no is not known: {facts}."
    low, high = interval
    verdict = "Not shown to be better than always saying no"
    if low > 0:
        verdict = "Yes, it is better than always saying no"
    elif high < 0:
        verdict = "No, it is worse than always saying no"
    points = f"{100 * gain:+.1f} percentage points, interval {100 * low:+.1f} to {100 * high:+.1f}"
    return f"{verdict}: {facts} ({points})."


def _which_bleedings(scores: dict[str, Any]) -> Iterator[str]:
    """Which labels it tells apart: those whose AUC is above chance over the whole interval."""
    told = [x for x in LABELS if (scores["auc"][x]["interval"] or [0])[0] > 0.5]
    if told:
        areas = ", ".join(f"{x} ({scores['auc'][x]['value']:.3f})" for x in told)
        yield f"It tells {UNITS[unit_of(scores)]} with and without these apart, by AUC: {areas}."
    if len(told) < len(LABELS):
        others = ", ".join(x for x in LABELS if x not in told)
        yield f"It is not shown to do better than chance on: {others}."


def _found_and_missed(scores: dict[str, Any]) -> str:
    bleeding = scores["positives"]["any"]
    missed, alarms = scores["false_negatives"]["any"], scores["false_positives"]["any"]
    return (
        f"At the threshold {scores['threshold']:g} it misses {missed:,} of {bleeding:,}"
        f" {UNITS[unit_of(scores)]} with any bleeding, and raises {alarms:,} false alarms on the"
        f" {number_of(scores) - bleeding:,} without."
    )


def _at_validations_threshold(scores: dict[str, Any]) -> Iterator[str]:
    """What the threshold that found 95 % of validation's studies comes to here."""
    points = scores.get("operating_points", {}).get("study", {}).get("sensitivity_95", {})
    point = points.get("any")
    if point is None or point["sensitivity"]["interval"] is None:
        return
    low, high = point["sensitivity"]["interval"]
    yield (
        f"With the threshold that found 95 % of the bleeding studies of validation, it finds"
        f" {_percent(point['sensitivity']['value'])} ({_percent(low)} to {_percent(high)}) of them"
        f" here, and leaves {_percent(point['specificity']['value'])} of the others in peace."
    )


def _beside_the_plain_rule(scores: dict[str, Any]) -> Iterator[str]:
    """Whether it has learned more than to look for what is dense."""
    rule = scores.get("plain_rule")
    if rule is None or rule["difference"]["interval"] is None:
        return
    better = rule["difference"]["interval"][0] > 0
    yield (
        f"It is {'better' if better else 'not shown to be better'} than a plain rule that looks for"
        f" what is as dense as blood: an AUC of {rule['network_auc_any']['value']:.3f} for any"
        f" bleeding, the rule {rule['auc_any']['value']:.3f}."
    )


def _how_sure(scores: dict[str, Any], split: str) -> str:
    sentences = [
        f"This rests on {number_of(scores):,} {UNITS[unit_of(scores)]} of {scores['patients']:,}"
        f" patients, “{split}”; intervals are 95 % intervals, by drawing the patients anew."
    ]
    if split == "val":
        sentences.append("The checkpoint was chosen on this split, which flatters it a little.")
    if scores["warnings"]:
        sentences.append(f"Beware: {'; '.join(scores['warnings'])}.")
    return " ".join(sentences)


def unit_of(scores: dict[str, Any]) -> str:
    """What was scored: `slice`, or `study` where only whole studies have labels."""
    return scores.get("unit", "slice")


def number_of(scores: dict[str, Any]) -> int:
    """How many of them were scored."""
    return scores[UNITS[unit_of(scores)]]
