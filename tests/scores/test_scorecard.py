"""What is fitted on validation is applied to other splits only; comparisons are paired."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from ich_keras.experiment.schema import EvaluationConfig
from ich_keras.scores.cases import slice_cases
from ich_keras.scores.metrics import evaluate_scores, weighted_log_loss
from ich_keras.scores.postprocessing import Source, fit_postprocessing
from ich_keras.scores.scorecard import compare, scorecard, study_scorecard
from tests.support.made_predictions import made_up
from tfrecords_tools.classes import LABELS, SUBTYPES

CONFIG = EvaluationConfig(bootstrap_draws=60)
SOURCE = Source(checkpoint_step=7, size=64, data_fingerprint="f")


def studies_of(predictions):
    return slice_cases(predictions).maximum("study", predictions.study_id)


@pytest.fixture(scope="module")
def postprocessing():
    return fit_postprocessing(made_up(seed=1), SOURCE)


@pytest.fixture(scope="module")
def judged(postprocessing):
    return scorecard(made_up(seed=2), CONFIG, 0, postprocessing)


def test_operating_points_are_the_thresholds_of_validation_applied_to_these_slices(
    postprocessing, judged
):
    test = made_up(seed=2)
    for level, rows in (("slice", test), ("study", studies_of(test))):
        for rule in ("youden", "sensitivity_95"):
            for k, label in enumerate(LABELS):
                point = judged["operating_points"][level][rule][label]
                assert point["threshold"] == postprocessing.thresholds[level][rule][label]
                truth, predicted = rows.labels[:, k], rows.probabilities[:, k] >= point["threshold"]
                ((tn, fp), (fn, tp)) = confusion_matrix(truth, predicted)
                assert (point["false_positives"], point["false_negatives"]) == (fp, fn)
                assert point["sensitivity"]["value"] == pytest.approx(tp / (tp + fn))
                assert point["specificity"]["value"] == pytest.approx(tn / (tn + fp))


def test_on_validation_itself_nothing_that_it_chose_is_scored():
    card = scorecard(made_up(seed=1), CONFIG, 0, None)
    assert not {"operating_points", "smoothing"} & set(card)
    assert "study_smoothed" not in card["levels"]
    assert set(card["calibration"]) == {"expected_calibration_error"}


def test_a_study_is_scored_by_its_maximum(judged):
    studies = studies_of(made_up(seed=2))
    level = judged["levels"]["study"]
    assert level["studies"] == 60
    for k, label in enumerate(LABELS):
        area = roc_auc_score(studies.labels[:, k], studies.probabilities[:, k])
        assert level["auc"][label]["value"] == pytest.approx(area, abs=1e-9)


def test_the_gain_of_smoothing_is_that_of_its_own_two_values(judged):
    loss = judged["smoothing"]["weighted_log_loss"]
    assert loss["second"] == pytest.approx(judged["weighted_log_loss"], abs=1e-12)
    assert loss["difference"]["value"] == pytest.approx(loss["first"] - loss["second"])
    assert loss["difference"]["interval"][1] < 0  # it helps on these slices


def test_a_network_no_better_than_the_plain_rule_has_a_warning():
    given = made_up(seed=4)
    perfect = given.labels[:, 5] * 100.0
    blind = np.random.default_rng(0).random(len(perfect))
    for areas, beaten in ((perfect, True), (blind, False)):
        card = scorecard(replace(given, dense_mm2=areas), CONFIG, 0, None)
        assert any("plain rule" in x for x in card["warnings"]) == beaten
    assert card["plain_rule"]["network_auc_any"]["value"] == pytest.approx(
        card["auc"]["any"]["value"]
    )


def test_the_card_is_json_also_where_a_label_is_missing(postprocessing):
    given = made_up(seed=5)
    given.labels[:, 0] = 0
    given = replace(given, dense_mm2=np.zeros(len(given.labels)))
    card = scorecard(given, CONFIG, 0, postprocessing)
    json.dumps(card, allow_nan=False)
    assert card["false_negative_rate"]["epidural"] is None
    assert card["operating_points"]["slice"]["youden"]["epidural"]["sensitivity"]["value"] is None


@pytest.mark.parametrize("card", [scorecard, study_scorecard])
def test_where_only_any_is_known_it_is_scored_as_ever_and_the_kinds_are_left_out(
    postprocessing, card
):
    given = replace(made_up(seed=2), dense_mm2=np.arange(1200.0))
    alone = replace(given, labels=given.labels[:, 5:])
    of_all, of_any = (card(x, CONFIG, 0, postprocessing) for x in (given, alone))
    assert of_any["mean_auc"] == of_all["auc"]["any"]
    names = ("positives", "sensitivity", "specificity", "accuracy", "false_negatives")
    for scores, expected in (
        (of_any, of_all),
        *((of_any["levels"][x], of_all["levels"][x]) for x in of_all["levels"]),
    ):
        for name in (*names, "auc", "average_precision", "type_1_share"):
            assert scores[name] == {"any": expected[name]["any"]}
        assert scores["exact_match"] is scores["weighted_log_loss"] is None
    for level, rules in of_all["operating_points"].items():
        for rule, points in rules.items():
            assert of_any["operating_points"][level][rule] == {"any": points["any"]}
    assert of_any["plain_rule"] == of_all["plain_rule"]
    text = json.dumps(of_any, allow_nan=False)
    assert not [x for x in SUBTYPES if x in text]
    assert "the kinds of hemorrhage are not known" in of_any["warnings"][0]


def test_types_of_error_have_counts_rates_and_shares(judged):
    test = made_up(seed=2)
    for k, label in enumerate(LABELS):
        ((tn, fp), (fn, tp)) = confusion_matrix(test.labels[:, k], test.probabilities[:, k] >= 0.5)
        assert judged["false_positive_rate"][label] == pytest.approx(fp / (fp + tn))
        assert judged["false_negative_rate"][label] == pytest.approx(fn / (fn + tp))
        assert judged["type_1_share"][label] == pytest.approx(fp / (fp + fn))


def test_values_are_those_of_scikit_learn_and_the_difference_is_theirs():
    first, second = made_up(seed=3, noise=1.0), made_up(seed=3, noise=2.0)
    cases = slice_cases(first, draws=50)
    found = compare(cases, second.probabilities)
    for k, label in enumerate(LABELS):
        scores = found[f"auc {label}"]
        areas = [roc_auc_score(first.labels[:, k], x.probabilities[:, k]) for x in (first, second)]
        assert [scores["first"], scores["second"]] == pytest.approx(areas, abs=1e-9)
        assert scores["difference"]["value"] == pytest.approx(areas[0] - areas[1], abs=1e-9)
    losses = [weighted_log_loss(first.labels, x.probabilities) for x in (first, second)]
    assert found["weighted_log_loss"]["difference"]["value"] == pytest.approx(losses[0] - losses[1])


def test_compared_with_itself_the_difference_is_zero():
    given = made_up()
    cases = slice_cases(given, draws=50)
    found = compare(cases, given.probabilities)
    assert all(x["difference"] == {"value": 0, "interval": [0, 0]} for x in found.values())


def test_a_small_difference_shows_although_the_scores_themselves_vary_more():
    given = made_up(studies=40)
    rng = np.random.default_rng(0)
    worse = np.clip(given.probabilities + rng.normal(0, 0.08, given.probabilities.shape), 0, 1)
    cases = slice_cases(given, draws=400)
    found = compare(cases, worse)["mean_auc"]
    low, high = found["difference"]["interval"]
    alone = evaluate_scores(cases, 0.5)
    own_low, own_high = alone["mean_auc"]["interval"]
    assert low > 0
    assert high - low < (own_high - own_low) / 2
