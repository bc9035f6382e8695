"""Steps: many in one call, by XLA too, with the bits of single ones; the size of their graph."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from ich_keras.experiment.experiment import load_experiment
from ich_keras.model.network import build_model
from ich_keras.training import stepper as stepping
from ich_keras.training.losses import make_loss, make_map_loss
from ich_keras.training.train_step import (
    choose_precision,
    compile_train_step,
    compile_train_steps,
    make_optimizer,
    resolve_computation,
)
from tfrecords_tools.progress import progress

EXPERIMENT = load_experiment(
    "demo", ["model.dropout=0.2", "model.widths=[4, 8]", "training.batch_size=4"]
)
STEPS, SIZE = 8, 18  # maps of 9 pixels, so that one is pooled at an odd size
# Each node of a graph that a GPU runs may be a kernel that has to be launched.
NODES_PER_STEP = 1_420


def step_of(experiment, *, jit_compile=False, map_loss=None):
    """The step of a network as it is before the first one, and all that it changes."""
    keras.utils.set_random_seed(1)
    config, strategy = experiment.training, tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        model = build_model(experiment.model, 3, compiled=jit_compile)
        optimizer = make_optimizer(config)
        optimizer.build(model.trainable_variables)
    step = compile_train_step(
        *(strategy, model, optimizer, make_loss(config), config.batch_size, jit_compile), map_loss
    )
    return step, [*model.variables, *optimizer.variables]


def batches():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (STEPS, 4, SIZE, SIZE, 3), np.uint8)
    labels = rng.integers(0, 2, (STEPS, 4, 6)).astype(np.float32)
    return iter(tf.data.Dataset.from_tensor_slices((images, labels)))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_many_steps_in_one_call_have_the_bits_of_single_ones(jit_compile):
    single, one = step_of(EXPERIMENT, jit_compile=jit_compile)
    expected = np.array([[x.numpy() for x in single(*batch)] for batch in batches()])
    step, other = step_of(EXPERIMENT, jit_compile=jit_compile)
    train_steps, source = compile_train_steps(step), batches()
    results = [train_steps(source, tf.constant(count)) for count in (1, 2, 5)]
    np.testing.assert_array_equal(np.concatenate(results), expected)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    assert train_steps.experimental_get_tracing_count() == 1  # whatever the number of steps


def test_the_loss_of_class_maps_is_trained_and_not_reported():
    config = EXPERIMENT.training.model_copy(update={"map_weight": 10.0})
    cells = np.zeros((4, 5, 5, 6), np.float32)
    images, labels = next(batches())
    plain, unmoved = step_of(EXPERIMENT)
    both, moved = step_of(EXPERIMENT, map_loss=make_map_loss(config))
    np.testing.assert_array_equal(plain(images, labels), both(images, labels, cells))
    for _ in range(5):
        plain(images, labels)
        both(images, labels, cells)
    biases = [next(x for x in v if x.path == "label_maps/bias").numpy() for v in (unmoved, moved)]
    assert biases[1].sum() < biases[0].sum()  # no cell may show anything


def test_a_step_is_a_graph_of_few_nodes():
    experiment = load_experiment("halfres.yaml")
    step, _ = step_of(experiment)
    size = experiment.training.batch_size
    image = tf.TensorSpec((size, 256, 256, 3), tf.uint8)
    graph = step.get_concrete_function(image, tf.TensorSpec((size, 6), tf.float32)).graph
    nodes = [x for x in graph.get_operations() if x.type not in ("Const", "Placeholder", "NoOp")]
    assert len(nodes) <= NODES_PER_STEP


class Clock:
    """A clock that moves only while steps are trained."""

    def __init__(self, seconds_per_step: float) -> None:
        self.now, self.calls, self._each = 0.0, [], seconds_per_step

    def train_steps(self, _batches, count):
        self.calls.append(int(count))
        self.now += self._each * int(count)
        return tf.zeros((int(count), 2))


def calls(monkeypatch, seconds_per_step: float, *, workers: int = 1) -> list[int]:
    """The steps of each call that `Stepper` makes for 100 of them."""
    clock = Clock(seconds_per_step)
    monkeypatch.setattr(stepping, "batches_from", lambda *_: ())
    monkeypatch.setattr(stepping.time, "monotonic", lambda: clock.now)
    session = SimpleNamespace(
        train_steps=clock.train_steps, workers=SimpleNamespace(count=workers), validation_slices=4
    )
    schedule = SimpleNamespace(end=300, validation_share=lambda _: 0.5)
    with progress(total=300, desc="fit", unit="step") as bar:
        results = stepping.Stepper(session, schedule, 0, bar).until(100)
    assert len(results) == sum(clock.calls) == 100
    return clock.calls


def test_a_call_takes_about_a_second(monkeypatch):
    assert calls(monkeypatch, 0.01) == [1, 2, 4, 8, 16, 32, 37]
    assert calls(monkeypatch, 3.0) == [1] * 100  # Ctrl-C waits for a call
    assert calls(monkeypatch, 0.01, workers=2) == [1] * 100  # all make the same calls


def test_the_end_of_a_run_is_forecast(monkeypatch, caplog):
    caplog.set_level("INFO")
    calls(monkeypatch, 1.5)
    assert "a step takes 1.500 s; 0:10:00 left with validations" in caplog.text


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ([], "float32"),
        ([(6, 1)], "float32"),
        ([(7, 0)], "mixed_float16"),
        ([(7, 5)], "mixed_float16"),
        ([(8, 0)], "mixed_bfloat16"),
        ([(8, 9), (7, 5)], "mixed_float16"),
    ],
)
def test_auto_is_the_precision_of_the_tensor_cores(monkeypatch, capabilities, precision):
    details = iter(capabilities)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: capabilities)
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda _: {"compute_capability": next(details)},
    )
    assert choose_precision("auto") == precision
    assert choose_precision("float32") == "float32"


@pytest.mark.parametrize("deterministic", [True, False])
def test_xla_compiles_the_step_on_a_single_gpu(monkeypatch, deterministic):
    config = EXPERIMENT.training.model_copy(update={"deterministic": deterministic})
    assert not resolve_computation(config, "one", 1).jit_compile
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: ["GPU:0"])
    assert resolve_computation(config, "one", 1).jit_compile
    assert not resolve_computation(config, "mirrored", 2).jit_compile
