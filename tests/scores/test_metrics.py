import json
import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sklearn_metrics

from ich_keras.scores.cases import make_cases
from ich_keras.scores.metrics import (
    brier,
    by_label,
    evaluate_scores,
    mean_auc,
    prior_brier,
    prior_weighted_log_loss,
    weighted_log_loss,
)
from ich_keras.scores.ranking import (
    average_precision,
    precision_recall_curve,
    rank,
    ranking_scores,
    roc_auc,
    roc_curve,
)
from tfrecords_tools.classes import LABELS
from tfrecords_tools.errors import InputError

RSNA_SLICES = 752_803
RSNA_POSITIVES = (3_145, 36_118, 26_205, 35_675, 47_166, 107_933)


def made_up(slices=600, patients=40, seed=0, noise=1.5):
    """Labels, probabilities and patients of a network that has learned something."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((slices, 6), int)
    labels[:, :5] = rng.random((slices, 5)) < (0.05, 0.1, 0.08, 0.1, 0.15)
    labels[:, 5] = labels[:, :5].any(axis=1)
    logits = 3 * labels - 2 + noise * rng.normal(size=labels.shape)
    probabilities = np.round(1 / (1 + np.exp(-logits)), 2)  # rounded, to have ties
    owners = np.array([f"p{i}" for i in rng.integers(0, patients, slices)])
    return labels, probabilities, owners


def scores_of(labels, probabilities, patients, *, threshold=0.5, draws=1000, **options):
    cases = make_cases(labels, probabilities, patients, draws=draws, **options)
    return evaluate_scores(cases, threshold)


def both_classes(values):
    return 0 < sum(values) < len(values)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_ranking_scores_equal_scikit_learn_with_ties_and_weights(data):
    labels = np.array(
        data.draw(st.lists(st.integers(0, 1), min_size=2, max_size=40).filter(both_classes))
    )
    few_values = st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0])
    scores = data.draw(arrays(float, len(labels), elements=few_values))
    weights = data.draw(arrays(float, len(labels), elements=st.sampled_from([0.5, 1.0, 2.0, 3.0])))
    assert roc_auc(labels, scores) == pytest.approx(
        sklearn_metrics.roc_auc_score(labels, scores), abs=1e-9
    )
    ranking = rank(labels, scores)
    (area,), (precision,) = ranking_scores(ranking, weights[np.newaxis, ranking.order])
    assert area == pytest.approx(
        sklearn_metrics.roc_auc_score(labels, scores, sample_weight=weights), abs=1e-9
    )
    assert precision == pytest.approx(
        sklearn_metrics.average_precision_score(labels, scores, sample_weight=weights), abs=1e-9
    )
    alarms, found, _ = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc_curve(labels, scores), (alarms, found), atol=1e-12)
    precision, recall, _ = sklearn_metrics.precision_recall_curve(labels, scores)
    ours = precision_recall_curve(labels, scores)
    np.testing.assert_allclose(ours, (recall[-2::-1], precision[-2::-1]), atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_auc_does_not_change_when_scores_are_stretched(seed):
    rng = np.random.default_rng(seed)
    labels, scores = np.arange(30) % 3 == 0, rng.random(30)
    assert roc_auc(labels, scores**3) == pytest.approx(roc_auc(labels, scores), abs=1e-12)
    assert roc_auc(~labels, scores) == pytest.approx(1 - roc_auc(labels, scores), abs=1e-12)


def test_auc_by_hand():
    labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.9, 0.4, 0.1])
    assert roc_auc(labels, scores) == pytest.approx((0.5 + 1 + 0 + 1) / 4)  # of four pairs
    assert average_precision(labels, scores) == pytest.approx(0.5 * 1 / 2 + 0.5 * 2 / 3)


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_has_no_auc(value):
    assert np.isnan(roc_auc(np.full(4, value), np.linspace(0, 1, 4)))


def test_weighted_log_loss_is_the_challenges():
    labels, probabilities, _ = made_up()
    losses = [
        sklearn_metrics.log_loss(
            labels[:, k], np.clip(probabilities[:, k], 1e-6, 1 - 1e-6), labels=[0, 1]
        )
        for k in range(6)
    ]
    expected = (sum(losses) + losses[LABELS.index("any")]) / 7
    assert weighted_log_loss(labels, probabilities) == pytest.approx(expected, abs=1e-9)


def test_weighted_log_loss_by_hand():
    labels = np.array([[0, 0, 0, 0, 0, 1]])
    assert weighted_log_loss(labels, np.full((1, 6), 0.5)) == pytest.approx(np.log(2))
    certain_and_wrong = np.array([[0.0, 0, 0, 0, 0, 0]])
    expected = (2 * -np.log(1e-6) + 5 * -np.log(1 - 1e-6)) / 7
    assert weighted_log_loss(labels, certain_and_wrong) == pytest.approx(expected, rel=1e-9)


def test_baselines_of_the_challenges_data():
    """For the whole training set, with the prevalences that the challenge published."""
    labels = np.arange(RSNA_SLICES)[:, np.newaxis] < np.array(RSNA_POSITIVES)
    assert prior_weighted_log_loss(labels) == pytest.approx(0.2311, abs=5e-5)
    assert prior_brier(labels) == pytest.approx(0.05169, abs=5e-6)
    assert 1 - labels.mean() == pytest.approx(0.94327, abs=5e-6)


def test_the_prior_is_the_best_constant():
    labels, _, _ = made_up()
    best = prior_weighted_log_loss(labels)
    for shift in (-0.01, 0.01):
        guess = np.broadcast_to(labels.mean(axis=0) + shift, labels.shape)
        assert weighted_log_loss(labels, guess) > best
        assert brier(labels, guess) > prior_brier(labels)


def test_losses_are_in_double_precision_whatever_the_arrays_are():
    """Probabilities of a network are float32, tables of labels uint8."""
    labels, probabilities, _ = made_up()
    probabilities[0] = 1 - labels[0]  # certain and wrong
    single = probabilities.astype(np.float32)
    exact = single.astype(np.float64)
    squares = [sklearn_metrics.brier_score_loss(labels[:, k], exact[:, k]) for k in range(6)]
    clipped = np.clip(exact, 1e-6, 1 - 1e-6)
    losses = [sklearn_metrics.log_loss(labels[:, k], clipped[:, k]) for k in range(6)]
    expected = np.average(losses, weights=[1, 1, 1, 1, 1, 2])
    for kind in (int, np.uint8, bool):
        assert brier(labels.astype(kind), single) == pytest.approx(np.mean(squares), rel=1e-12)
        assert weighted_log_loss(labels.astype(kind), single) == pytest.approx(expected, rel=1e-9)


def test_scores_equal_scikit_learn():
    labels, probabilities, patients = made_up()
    scores = scores_of(labels, probabilities, patients, draws=20)
    areas = []
    for k, label in enumerate(LABELS):
        truth, decided = labels[:, k], probabilities[:, k] >= 0.5
        none_found, alarms, missed, found = sklearn_metrics.confusion_matrix(truth, decided).ravel()
        areas.append(sklearn_metrics.roc_auc_score(truth, probabilities[:, k]))
        expected = {
            "auc": areas[-1],
            "average_precision": sklearn_metrics.average_precision_score(
                truth, probabilities[:, k]
            ),
            "accuracy": sklearn_metrics.accuracy_score(truth, decided),
            "sensitivity": sklearn_metrics.recall_score(truth, decided),
            "specificity": none_found / (none_found + alarms),
        }
        shares = {
            "false_positive_rate": alarms / (alarms + none_found),
            "false_negative_rate": missed / (missed + found),
            "type_1_share": alarms / (alarms + missed),
            "always_negative_accuracy": sklearn_metrics.accuracy_score(truth, np.zeros(600)),
        }
        for name, value in shares.items():
            assert scores[name][label] == pytest.approx(value, abs=1e-12), (name, label)
        for name, value in expected.items():
            assert scores[name][label]["value"] == pytest.approx(value, abs=1e-9), (name, label)
        assert scores["false_positives"][label] == alarms
        assert scores["false_negatives"][label] == missed
        assert scores["positives"][label] == missed + found
    assert scores["mean_auc"]["value"] == pytest.approx(np.mean(areas), abs=1e-9)
    assert mean_auc(labels, probabilities) == pytest.approx(np.mean(areas), abs=1e-9)
    assert scores["brier"] == pytest.approx(np.mean((labels - probabilities) ** 2), abs=1e-12)
    assert scores["weighted_log_loss"] == pytest.approx(weighted_log_loss(labels, probabilities))
    prior = np.broadcast_to(labels.mean(axis=0), labels.shape)
    assert scores["prior_brier"] == pytest.approx(brier(labels, prior))
    assert scores["prior_weighted_log_loss"] == pytest.approx(weighted_log_loss(labels, prior))
    decided = probabilities >= 0.5
    assert scores["exact_match"] == sklearn_metrics.accuracy_score(labels, decided)
    assert scores["accuracy_mean"] == pytest.approx((decided == labels).mean())
    assert scores["always_negative_accuracy_mean"] == pytest.approx((labels == 0).mean())
    assert scores["slices"] == 600
    assert scores["patients"] == len(set(patients))
    assert scores["threshold"] == 0.5
    assert scores["warnings"] == []


def test_a_rate_of_nothing_is_null():
    labels, probabilities, patients = made_up()
    labels[:, 0], labels[:, 5] = 0, 1
    probabilities[:, 0] = 0
    scores = scores_of(labels, probabilities, patients, draws=30)
    assert scores["false_negative_rate"]["epidural"] is None  # no slice has it
    assert scores["false_positive_rate"]["any"] is None  # every slice has it
    assert scores["type_1_share"]["epidural"] is None  # no error


def test_values_by_label_are_one_per_label():
    assert by_label(np.arange(6)) == dict(zip(LABELS, range(6), strict=True))
    with pytest.raises(ValueError):
        by_label(np.arange(5))


def test_intervals_are_those_of_a_bootstrap_that_copies_patients():
    """Against the slow way: whole patients copied, scored by scikit-learn."""
    labels, probabilities, patients = made_up(slices=300, patients=12)
    scores = scores_of(labels, probabilities, patients, draws=40, seed=7)
    names = np.unique(patients)
    counts = np.random.default_rng(7).multinomial(len(names), [1 / len(names)] * len(names), 40)
    auc, sensitivity, losses = [], [], []
    for draw in counts:
        rows = np.concatenate(
            [
                np.flatnonzero(patients == x)
                for x, n in zip(names, draw, strict=True)
                for _ in range(n)
            ]
        )
        auc.append(sklearn_metrics.roc_auc_score(labels[rows, 5], probabilities[rows, 5]))
        sensitivity.append(
            sklearn_metrics.recall_score(labels[rows, 5], probabilities[rows, 5] >= 0.5)
        )
        losses.append(weighted_log_loss(labels[rows], probabilities[rows]))
    for interval, values in (
        (scores["auc"]["any"]["interval"], auc),
        (scores["sensitivity"]["any"]["interval"], sensitivity),
        (scores["weighted_log_loss_interval"], losses),
    ):
        assert interval == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=1e-9)


def test_slices_of_one_patient_are_not_treated_as_independent():
    labels, probabilities, _ = made_up()
    once = np.arange(200).astype(str)
    copies = [np.tile(x[:200], (10, 1)) for x in (labels, probabilities)]
    alone = scores_of(labels[:200], probabilities[:200], once)
    copied = scores_of(*copies, np.tile(once, 10))
    for name in ("auc", "average_precision", "sensitivity"):
        ours, expected = copied[name]["any"], alone[name]["any"]
        assert ours["value"] == pytest.approx(expected["value"])
        assert ours["interval"] == pytest.approx(expected["interval"])


def test_the_same_seed_gives_the_same_scores_whatever_the_order():
    labels, probabilities, patients = made_up()
    shuffled = np.random.default_rng(1).permutation(len(labels))
    first = scores_of(labels, probabilities, patients, draws=50)
    again = scores_of(labels, probabilities, patients, draws=50)
    other = scores_of(labels[shuffled], probabilities[shuffled], patients[shuffled], draws=50)
    assert first == again
    for label in LABELS:
        assert other["auc"][label]["value"] == pytest.approx(first["auc"][label]["value"])
        assert other["auc"][label]["interval"] == pytest.approx(first["auc"][label]["interval"])


def test_a_label_without_positives_is_null_and_has_a_warning():
    labels, probabilities, patients = made_up()
    labels[:, 0] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = scores_of(labels, probabilities, patients, draws=30)
    assert scores["auc"]["epidural"] == {"value": None, "interval": None}
    assert scores["sensitivity"]["epidural"]["value"] is None
    assert scores["specificity"]["epidural"]["value"] > 0.5
    others = [scores["auc"][x]["value"] for x in LABELS[1:]]
    assert scores["mean_auc"]["value"] == pytest.approx(np.mean(others))
    assert "epidural: no positive slice, so it has no AUC" in scores["warnings"]
    assert "the mean AUC is over 5 of 6 labels" in scores["warnings"]
    json.dumps(scores, allow_nan=False)


@pytest.mark.parametrize(
    ("unit", "plural"), [("slice", "slices"), ("study", "studies"), ("patient", "patients")]
)
def test_cases_are_counted_and_named_by_their_unit(unit, plural):
    labels, probabilities, _ = made_up()
    labels[:, 0] = 0
    scores = scores_of(labels, probabilities, np.arange(600), draws=30, unit=unit)
    assert scores[plural] == 600
    assert f"epidural: no positive {unit}, so it has no AUC" in scores["warnings"]


def test_a_label_without_negatives_has_a_warning():
    labels, probabilities, patients = made_up()
    labels[:, 0], labels[:, 5] = 0, 1
    found = scores_of(labels, probabilities, patients, draws=30)["warnings"]
    assert found == [
        "epidural: no positive slice, so it has no AUC",
        "any: no negative slice, so it has no AUC",
        "the mean AUC is over 4 of 6 labels",
    ]


@pytest.mark.filterwarnings("error")
def test_without_any_positive_there_is_no_mean_auc():
    _, probabilities, patients = made_up()
    scores = scores_of(np.zeros((600, 6), int), probabilities, patients, draws=30)
    assert scores["mean_auc"] == {"value": None, "interval": None}
    assert scores["always_negative_accuracy_mean"] == 1
    assert np.isnan(mean_auc(np.zeros((600, 6), int), probabilities))


def test_few_patients_with_a_label_have_a_warning():
    labels, probabilities, patients = made_up()
    labels[:, 0] = patients == "p3"
    scores = scores_of(labels, probabilities, patients, draws=30)
    assert "epidural: too few patients have it (1) for reliable scores" in scores["warnings"]
    for positive in (9, 10):
        labels[:, 0] = np.isin(patients, np.unique(patients)[:positive])
        scores = scores_of(labels, probabilities, patients, draws=30)
        few = ["epidural: too few patients have it (9) for reliable scores"]
        assert scores["warnings"] == (few if positive == 9 else [])


def test_one_patient_gets_no_interval():
    labels, probabilities, _ = made_up()
    scores = scores_of(labels, probabilities, np.full(600, "p"))
    assert scores["auc"]["any"]["interval"] is None
    assert scores["weighted_log_loss_interval"] is None
    assert "only one patient: there are no intervals" in scores["warnings"]
    scores = scores_of(labels, probabilities, np.repeat(["p", "q"], 300))
    assert scores["auc"]["any"]["interval"] is not None
    assert "only one patient: there are no intervals" not in scores["warnings"]


def test_a_collapsed_network_has_a_warning():
    labels, probabilities, patients = made_up(slices=2000, patients=200)
    always_no = scores_of(labels, np.full(labels.shape, 0.01), patients, draws=30)
    assert always_no["accuracy_mean"] == pytest.approx(always_no["always_negative_accuracy_mean"])
    assert always_no["accuracy_gain"]["interval"] == pytest.approx([0, 0])
    collapsed = [x for x in always_no["warnings"] if x.endswith("the network collapsed")]
    assert len(collapsed) == 6
    timid = scores_of(labels, probabilities * 0.4, patients, draws=30)
    assert "any: never predicted, no probability reaches 0.5" in timid["warnings"]


@pytest.mark.parametrize(
    ("values", "collapsed"),
    [([0.3], False), ([0.3, 0.3], True), ([0, 9e-7], True), ([0, 1e-6], False)],
)
def test_equal_probabilities_of_two_or_more_slices_are_a_collapse(values, collapsed):
    """Closer than the log loss can tell apart is equal."""
    probabilities = np.repeat(np.array(values)[:, np.newaxis], 6, axis=1)
    labels, patients = np.zeros(probabilities.shape, int), np.arange(len(values))
    found = scores_of(labels, probabilities, patients, draws=30)["warnings"]
    assert ("any: every slice gets the same probability; the network collapsed" in found) is (
        collapsed
    )
    assert not any("never predicted" in x for x in found)  # there is nothing to predict


def test_a_probability_at_the_threshold_is_predicted():
    labels, probabilities, patients = made_up()
    scores = scores_of(labels, np.minimum(probabilities, 0.5), patients, draws=30)
    assert scores["sensitivity"]["any"]["value"] > 0.5
    assert scores["warnings"] == []


def with_one(value, row, k):
    def change(labels, probabilities, patients):
        probabilities[row, k] = value
        return labels, probabilities, patients

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda y, p, q: (y, np.where(p > 0.5, np.nan, p), q),
            r"\d+ probabilities are not in 0\.\.1, the first is nan for .*",
        ),
        (lambda y, p, q: (y, p + 1.5, q), r"3600 probabilities are not in 0\.\.1, .*"),
        (
            with_one(-0.25, 17, 4),
            r"1 probabilities are not in 0\.\.1, the first is -0\.25 for subdural in row 17; the"
            r" network has diverged or its output was read wrongly",
        ),
        (lambda y, p, q: (y * 2, p, q), "labels hold 0 to 2; only 0 and 1 are labels"),
        (
            lambda y, p, q: (y, p, q[:-1]),
            r"labels \(600, 6\) and probabilities \(600, 6\) do not belong to 599 slices with 6"
            r" labels each; both must be \(599, 6\)",
        ),
        (lambda y, p, q: (y[:, :5], p, q), r"labels \(600, 5\) and .*"),
        (lambda y, p, q: (y, p[:, :5], q), r"labels \(600, 6\) and probabilities \(600, 5\) .*"),
        (
            lambda y, p, q: (y[:0], p[:0], q[:0]),
            "there is no slice to score; give a split that holds some",
        ),
    ],
)
def test_arrays_that_cannot_be_scored_are_refused_in_one_line(change, message):
    with pytest.raises(InputError) as error:
        scores_of(*change(*made_up()))
    assert re.fullmatch(message, str(error.value))
