"""What validation decides is judged elsewhere, and nowhere else."""

import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from ich_keras.data.network_input import NetworkInput
from ich_keras.experiment.schema import EvaluationConfig
from ich_keras.run.folder import RunError, RunFolder, RunInput, write_input, write_json
from ich_keras.scores.postprocessing import Source, fit_on_validation, read_fitted, write_fitted
from ich_keras.scores.scorecard import scorecard
from ich_keras.scores.study_level import of_studies
from tests.support.made_predictions import made_up
from tfrecords_tools.classes import LABELS

CONFIG = EvaluationConfig(bootstrap_draws=60)
SOURCE = Source(checkpoint_step=7, size=64, data_fingerprint="f")


@pytest.fixture(scope="module")
def fitted():
    return fit_on_validation(made_up(seed=1), SOURCE)


@pytest.fixture(scope="module")
def judged(fitted):
    return scorecard(made_up(seed=2), CONFIG, 0, fitted)


def test_operating_points_are_the_thresholds_of_validation_judged_on_these_slices(fitted, judged):
    test = made_up(seed=2)
    for level, rows in (("slice", test), ("study", of_studies(test))):
        for rule in ("youden", "sensitivity_95"):
            for k, label in enumerate(LABELS):
                point = judged["operating_points"][level][rule][label]
                assert point["threshold"] == fitted.thresholds[level][rule][label]
                truth, said = rows.labels[:, k], rows.probabilities[:, k] >= point["threshold"]
                ((tn, fp), (fn, tp)) = confusion_matrix(truth, said)
                assert (point["false_positives"], point["false_negatives"]) == (fp, fn)
                assert point["sensitivity"]["value"] == pytest.approx(tp / (tp + fn))
                assert point["specificity"]["value"] == pytest.approx(tn / (tn + fp))


def test_on_validation_itself_nothing_that_it_chose_is_judged():
    card = scorecard(made_up(seed=1), CONFIG, 0, None)
    assert not {"operating_points", "smoothing"} & set(card)
    assert "study_smoothed" not in card["levels"]
    assert set(card["calibration"]) == {"expected_calibration_error"}


def test_a_study_is_scored_by_its_maximum(judged):
    studies = of_studies(made_up(seed=2))
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


def test_a_network_that_does_not_beat_the_plain_rule_is_told_so():
    given = made_up(seed=4)
    perfect = given.labels[:, 5] * 100.0
    blind = np.random.default_rng(0).random(len(perfect))
    for areas, beaten in ((perfect, True), (blind, False)):
        card = scorecard(given.with_plain_rule(areas), CONFIG, 0, None)
        assert any("plain rule" in x for x in card["warnings"]) == beaten
    assert card["plain_rule"]["network_auc_any"]["value"] == pytest.approx(
        card["auc"]["any"]["value"]
    )


def test_the_card_is_json_also_where_a_label_is_missing(fitted):
    given = made_up(seed=5)
    given.labels[:, 0] = 0
    card = scorecard(given.with_plain_rule(np.zeros(len(given.labels))), CONFIG, 0, fitted)
    json.dumps(card, allow_nan=False)
    assert card["false_negative_rate"]["epidural"] is None
    assert card["operating_points"]["slice"]["youden"]["epidural"]["sensitivity"]["value"] is None


def test_types_of_error_have_counts_rates_and_shares(judged):
    test = made_up(seed=2)
    for k, label in enumerate(LABELS):
        ((tn, fp), (fn, tp)) = confusion_matrix(test.labels[:, k], test.probabilities[:, k] >= 0.5)
        assert judged["false_positive_rate"][label] == pytest.approx(fp / (fp + tn))
        assert judged["false_negative_rate"][label] == pytest.approx(fn / (fn + tp))
        assert judged["type_1_share"][label] == pytest.approx(fp / (fp + fn))


def test_what_was_fitted_is_read_back_until_another_checkpoint_is_the_best(fitted, tmp_path):
    run = RunFolder(tmp_path)
    assert read_fitted(run, 64) is None
    write_fitted(run, fitted)
    write_input(
        run, RunInput(NetworkInput(64, 64, (), 0), "shards", fitted.source.data_fingerprint)
    )
    write_json(run.position, {"step": 9, "best_step": fitted.source.checkpoint_step})
    assert read_fitted(run, 64) == fitted
    write_json(run.position, {"step": 9, "best_step": 8})
    assert read_fitted(run, 64) is None
    run.fitted(64).write_text('{"source": {}}')
    with pytest.raises(RunError, match=r"64\.json: damaged .* remove it"):
        read_fitted(run, 64)
