"""With `evaluation.mirror`, a slice and its mirror image have one answer, whoever asks."""

import keras
import numpy as np
import pytest
from scipy.special import expit, logit

from ich_keras.evaluation.run_scorer import RunScorer
from ich_keras.experiment.schema import EvaluationConfig, ModelConfig
from ich_keras.model.forward import predict_images
from ich_keras.model.mirror import as_answering, with_mirror
from ich_keras.model.network import CLASS_MAPS, PROBABILITIES, build_model, with_class_maps
from ich_keras.predict.loading import load
from ich_keras.run.shipped import find_run

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 64, 48, 3), dtype=np.uint8)


def answer_of(model, images):
    """Probabilities and class maps, as arrays."""
    return {name: np.asarray(x) for name, x in with_class_maps(model)(images).items()}


@pytest.fixture(params=["max", "logsumexp"])
def plain(request):
    """A network with weights of a seed."""
    keras.utils.set_random_seed(0)
    return build_model(ModelConfig(widths=(4, 8, 8), pooling=request.param), 3)


def test_the_mirror_image_has_the_mirrored_answer(plain):
    model = with_mirror(plain)
    answer, mirrored = answer_of(model, IMAGES), answer_of(model, IMAGES[:, :, ::-1])
    np.testing.assert_allclose(mirrored[PROBABILITIES], answer[PROBABILITIES], rtol=1e-5)
    np.testing.assert_allclose(mirrored[CLASS_MAPS][:, :, ::-1], answer[CLASS_MAPS], rtol=1e-5)
    one_sided = answer_of(plain, IMAGES)[PROBABILITIES]
    assert not np.allclose(one_sided, answer[PROBABILITIES], rtol=1e-3)  # or nothing is averaged


def test_the_logits_of_a_cell_are_the_mean_of_both(plain):
    maps = [answer_of(plain, x)[CLASS_MAPS] for x in (IMAGES, IMAGES[:, :, ::-1])]
    mean = expit((logit(maps[0]) + logit(maps[1][:, :, ::-1])) / 2)
    np.testing.assert_allclose(answer_of(with_mirror(plain), IMAGES)[CLASS_MAPS], mean, rtol=1e-4)


def test_no_cell_and_no_kind_exceeds_the_answer_of_the_slice(plain):
    answer = answer_of(with_mirror(plain), IMAGES)
    probabilities, cells = answer[PROBABILITIES], answer[CLASS_MAPS]
    assert np.all(cells.max(axis=(1, 2)) <= probabilities + 1e-6)
    assert np.all(probabilities[:, :5] <= probabilities[:, 5:] + 1e-6)


def test_without_the_setting_the_network_is_untouched(plain):
    assert as_answering(plain, EvaluationConfig()) is plain


def test_scores_and_predictions_of_the_shipped_network_are_those_of_the_mean():
    images = np.random.default_rng(1).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    run = find_run("phantom")
    scored = RunScorer(run).probabilities(np.concatenate([images, images[:, :, ::-1]]))
    predicted = predict_images(load("phantom").with_maps, images, 1)[PROBABILITIES]
    np.testing.assert_allclose(scored[0], scored[1], rtol=1e-4)
    np.testing.assert_allclose(scored[:1], predicted, rtol=1e-4)
