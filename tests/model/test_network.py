"""What a user relies on: any size in, 3x3 and 1x1 only, the same network after a reload."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit

from ich_keras.experiment.schema import ModelConfig
from ich_keras.model.network import (
    CLASS_MAPS,
    PROBABILITIES,
    AnyFromKinds,
    GlobalLogSumExpPooling2D,
    MaxPoolingOfPairs2D,
    build_model,
    load_model,
    stride,
    with_class_maps,
)
from ich_keras.predict.formats import of_keras_layers
from tfrecords_tools.errors import InputError

SIZE = 128
SMALL = ModelConfig(widths=(4, 8, 8), dropout=0.1)


@pytest.fixture(autouse=True)
def weights_of_a_seed():
    """By others, a probability may come so near 1 that its odds are lost in float32."""
    keras.utils.set_random_seed(0)


def slices(height: int, width: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def answer_of(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """Probabilities and class maps; without `predict`, which compiles a graph of each model."""
    answer = with_class_maps(model)(images, training=False)
    return {name: keras.ops.convert_to_numpy(values) for name, values in answer.items()}


@pytest.mark.parametrize("pooling", ["max", "average", "logsumexp"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 48), (65, 71)])
def test_any_height_and_width(pooling, height, width):
    model = build_model(SMALL.model_copy(update={"pooling": pooling}), 3)
    answer = answer_of(model, slices(height, width))
    cells = (-(-height // stride(SMALL)), -(-width // stride(SMALL)))
    assert answer[PROBABILITIES].shape == (2, 6)
    assert answer[CLASS_MAPS].shape == (2, *cells, 6)
    assert np.all((answer[CLASS_MAPS] >= 0) & (answer[CLASS_MAPS] <= 1))


def test_only_3x3_and_1x1_kernels_and_no_dense_layer():
    model = build_model(SMALL, 3)
    kernels = {x.kernel_size for x in model.layers if isinstance(x, keras.layers.Conv2D)}
    assert kernels == {(3, 3), (1, 1)}
    assert not [x for x in model.layers if isinstance(x, keras.layers.Dense | keras.layers.Flatten)]


def test_max_pooling_takes_the_strongest_cell_of_the_map():
    model = build_model(SMALL.model_copy(update={"pooling": "max"}), 3)
    answer = answer_of(model, slices(64, 64))
    strongest = answer[CLASS_MAPS].max(axis=(1, 2))
    np.testing.assert_allclose(answer[PROBABILITIES], strongest, rtol=1e-6)


def test_the_odds_of_the_map_add_up_to_those_of_the_slice():
    model = build_model(SMALL.model_copy(update={"pooling": "logsumexp"}), 3)
    answer = answer_of(model, slices(65, 71))
    cells, whole = (np.asarray(answer[x], float) for x in (CLASS_MAPS, PROBABILITIES))
    odds = (cells / (1 - cells)).sum(axis=(1, 2))
    np.testing.assert_allclose(odds, whole / (1 - whole), rtol=1e-4)
    assert np.all(cells.max(axis=(1, 2)) <= whole + 1e-6)


@pytest.mark.parametrize("pooling", ["max", "average", "logsumexp"])
def test_no_subtype_is_more_probable_than_any_hemorrhage(pooling):
    """Neither in a slice nor in a cell, whatever the weights."""
    for seed in range(5):
        keras.utils.set_random_seed(seed)
        model = build_model(SMALL.model_copy(update={"pooling": pooling}), 3)
        kernel, bias = model.get_layer("label_maps").weights
        kernel.assign(10 * np.random.default_rng(seed).normal(size=kernel.shape))
        bias.assign(np.random.default_rng(seed).normal(0, 5, size=bias.shape))
        answer = answer_of(model, slices(65, 71))
        for name in (PROBABILITIES, CLASS_MAPS):
            kinds, any_of_them = answer[name][..., :5], answer[name][..., 5:]
            assert np.all(kinds <= any_of_them + 1e-6)


def test_any_is_the_probability_of_a_subtype_or_of_another_hemorrhage():
    logits = np.random.default_rng(3).normal(-2, 4, (1000, 6)).astype("float32")
    answer = keras.ops.convert_to_numpy(AnyFromKinds()(logits)).astype(float)
    np.testing.assert_array_equal(answer[:, :5], logits[:, :5])
    expected = 1 - np.prod(1 - expit(logits.astype(float)), axis=1)
    np.testing.assert_allclose(expit(answer[:, 5]), expected, rtol=1e-4)
    extreme = np.array([[-200] * 6, [200] * 6, [-200, 200, 0, 0, 0, 0]], "float32")
    assert np.isfinite(AnyFromKinds()(extreme)).all()


def test_a_network_without_the_coherent_head_is_read_with_a_warning(tmp_path, caplog):
    model = build_model(SMALL, 3)
    maps = model.get_layer("label_maps").output
    pooled = GlobalLogSumExpPooling2D(dtype="float32", name="pooling")(maps)
    answer = keras.layers.Activation("sigmoid", dtype="float32", name=PROBABILITIES)(pooled)
    keras.Model(model.input, answer).save(tmp_path / "best.keras")
    load_model(tmp_path / "best.keras")
    assert "an older network" in caplog.text


def test_log_sum_exp_lies_between_mean_and_maximum_and_does_not_overflow():
    maps = np.random.default_rng(1).normal(0, 100, (3, 5, 7, 6)).astype("float32")
    pooled = keras.ops.convert_to_numpy(GlobalLogSumExpPooling2D()(maps))
    reference = np.log(np.mean(np.exp(maps.astype("float64")), axis=(1, 2)))
    np.testing.assert_allclose(pooled, reference, rtol=1e-5)
    assert np.all(pooled <= maps.max(axis=(1, 2)) + 1e-4)
    assert np.all(pooled >= maps.mean(axis=(1, 2)) - 1e-4)


def test_a_reloaded_network_gives_the_same_probabilities(tmp_path):
    model = build_model(SMALL.model_copy(update={"pooling": "logsumexp"}), 3)
    model.save(tmp_path / "best.keras")
    again = load_model(tmp_path / "best.keras")
    x = slices(80, 64)
    np.testing.assert_array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))


def test_a_damaged_checkpoint_is_reported(tmp_path):
    path = tmp_path / "best.keras"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"best\.keras: not a readable checkpoint"):
        load_model(path)


def test_predicts_on_a_tf_data_pipeline():
    dataset = tf.data.Dataset.from_tensor_slices(slices(64, 64, count=5)).batch(2)
    assert build_model(SMALL, 3).predict(dataset, verbose=0).shape == (5, 6)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("shape", [(2, 6, 8, 3), (2, 7, 5, 3)])
def test_pooling_of_pairs_is_max_pooling_bit_for_bit(shape, jit_compile):
    """In values and gradients, ties included, of which there are many behind a ReLU."""
    rng = np.random.default_rng(0)
    x = tf.constant(np.maximum(rng.integers(-3, 4, shape), 0).astype(np.float32))
    upstream = tf.constant(rng.normal(size=(2, -(-shape[1] // 2), -(-shape[2] // 2), 3)), x.dtype)

    def run(layer):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return y, tape.gradient(y, x, output_gradients=upstream)

    reference = run(lambda x, training: tf.nn.max_pool2d(x, 2, 2, "SAME"))
    pairs = tf.function(run, jit_compile=jit_compile)(MaxPoolingOfPairs2D(2, padding="same"))
    for one, other in zip(pairs, reference, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_network_trained_with_xla_is_the_same_anywhere(tmp_path):
    """It takes any size, and its checkpoint loads in Keras' safe mode."""
    compiled, plain = build_model(SMALL, 3, compiled=True), build_model(SMALL, 3)
    plain.set_weights(compiled.get_weights())
    compiled.save(tmp_path / "best.keras")
    for size in (64, 65):
        answers = [
            model(slices(size, 71), training=False).numpy()
            for model in (plain, compiled, load_model(tmp_path / "best.keras"))
        ]
        np.testing.assert_array_equal(answers[0], answers[1])
        np.testing.assert_array_equal(answers[0], answers[2])


def test_grey_is_scaled_in_float32_under_a_mixed_policy():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        scaled = build_model(SMALL, 3).get_layer("rescaling")(slices(8, 8))
    finally:
        keras.config.set_dtype_policy(before)
    np.testing.assert_allclose(scaled, slices(8, 8) / 127.5 - 1, atol=1e-6)


def test_keras_alone_loads_an_exported_network(tmp_path) -> None:
    """With `safe_mode`, and without this package; here the network with most layers of its own."""
    config = SMALL.model_copy(update={"pooling": "logsumexp"})
    model = build_model(config, 3, compiled=True)
    of_keras_layers(with_class_maps(model)).save(tmp_path / "model.keras")
    images = slices(65, 48)
    np.save(tmp_path / "images.npy", images)
    program = (
        "import keras, numpy as np, sys\n"
        "answer = keras.models.load_model('model.keras')(np.load('images.npy'), training=False)\n"
        "np.savez('answer.npz', **{name: np.asarray(x) for name, x in answer.items()})\n"
        "assert 'ich_keras' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    with np.load(tmp_path / "answer.npz") as answer:
        for name, expected in answer_of(model, images).items():
            np.testing.assert_allclose(answer[name], expected, rtol=1e-6, atol=1e-7)
