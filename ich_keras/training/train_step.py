"""Steps of training, the same under every distribution strategy."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from ich_keras.experiment.schema import TrainingConfig
from ich_keras.model.network import with_logits, with_map_logits
from ich_keras.run.environment import Computation
from ich_keras.training.losses import Loss

TrainStep = Callable[..., tuple[tf.Tensor, tf.Tensor]]  # of the tensors of a batch
TrainSteps = Callable[[Any, tf.Tensor], tf.Tensor]
TENSOR_CORES = (7, 0)  # compute capability of the first GPUs that have them, in float16 (Volta)
BFLOAT16_CORES = (8, 0)  # in bfloat16 too (Ampere)


def resolve_computation(config: TrainingConfig, strategy: str, devices: int) -> Computation:
    """Resolves each `auto` of `training`, per session; `devices` share a batch, on all workers."""
    return Computation(
        strategy, choose_precision(config.precision), _choose_jit_compile(config, devices)
    )


def choose_precision(name: str) -> str:
    """Returns the Keras dtype policy: `auto` is what all GPUs have tensor cores for.

    These are bfloat16 since Ampere, and float16 before, on Volta and Turing.
    """
    if name != "auto":
        return name
    capability = min(map(compute_capability, tf.config.list_physical_devices("GPU")), default=None)
    if capability is None or capability < TENSOR_CORES:
        return "float32"
    return "mixed_bfloat16" if capability >= BFLOAT16_CORES else "mixed_float16"


def compute_capability(gpu: Any) -> tuple[int, int]:
    """Returns that of a physical device; (0, 0) if TensorFlow does not know it."""
    details = tf.config.experimental.get_device_details(gpu)
    return details.get("compute_capability", (0, 0))


class WarmupThenConstant(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate rises linearly from 0 over the first steps, then stays."""

    def __init__(self, learning_rate: float, warmup_steps: int) -> None:
        super().__init__()
        self._learning_rate = learning_rate
        self._warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        rising = self._learning_rate * (step / max(self._warmup_steps, 1))
        return ops.where(step < self._warmup_steps, rising, self._learning_rate)

    def get_config(self) -> dict[str, Any]:
        return {"learning_rate": self._learning_rate, "warmup_steps": self._warmup_steps}


def make_optimizer(config: TrainingConfig) -> keras.optimizers.Optimizer:
    """Returns the optimizer with its schedule; normalization and biases do not decay."""
    schedule: keras.optimizers.schedules.LearningRateSchedule
    if config.schedule == "cosine":
        schedule = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0,
            warmup_target=config.learning_rate,
            warmup_steps=config.warmup_steps,
            decay_steps=max(config.max_steps - config.warmup_steps, 1),
        )
    else:
        schedule = WarmupThenConstant(config.learning_rate, config.warmup_steps)
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(
            schedule, momentum=0.9, nesterov=True, weight_decay=config.weight_decay
        )
    else:
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    if keras.config.dtype_policy().name == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def compile_train_step(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss_function: Loss,
    batch_size: int,
    jit_compile: bool,
    map_loss: Loss | None = None,
) -> TrainStep:
    """Compiles the step to one graph, which the strategy runs on all devices and machines.

    The batch size counts the slices of all devices. The step takes a batch, (image, label), to the
    scalars (loss, accuracy): means over the whole batch and the six labels, before the weights
    change. With `map_loss`, batches are (image, label, cells); it is trained beside the loss, but
    is no part of the result.
    """
    to_logits = with_logits(model) if map_loss is None else with_map_logits(model)
    loss_functions = (loss_function,) if map_loss is None else (loss_function, map_loss)

    def replica_step(image: tf.Tensor, *targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            outputs = tf.nest.flatten(to_logits(image, training=True))
            # Divided by the whole batch, so that the sum over replicas is the batch's mean.
            losses = [
                tf.reduce_sum(function(target, output)) / batch_size
                for function, target, output in zip(loss_functions, targets, outputs, strict=True)
            ]
            scaled = optimizer.scale_loss(tf.add_n(losses))
        gradients = tape.gradient(scaled, model.trainable_weights)
        optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))
        correct = tf.cast((outputs[0] >= 0) == (targets[0] >= 0.5), tf.float32)
        return losses[0], tf.reduce_sum(tf.reduce_mean(correct, axis=-1)) / batch_size

    # AutoGraph: see data/passes.py.
    @tf.function(jit_compile=jit_compile, autograph=False)
    def train_step(image: Any, *targets: Any) -> tuple[tf.Tensor, tf.Tensor]:
        loss, accuracy = strategy.run(replica_step, args=(image, *targets))
        total = tf.distribute.ReduceOp.SUM
        return (
            strategy.reduce(total, loss, axis=None),
            strategy.reduce(total, accuracy, axis=None),
        )

    return train_step


def compile_train_steps(train_step: TrainStep) -> TrainSteps:
    """Compiles a loop over batches to one graph, with the bits of single steps.

    A step launches hundreds of kernels, for which a GPU would otherwise wait between two steps.

    Returns:
        A function from an iterator of batches and the number of steps, an int32 scalar, to their
        losses and accuracies, float32 (steps, 2).
    """

    @tf.function(autograph=False)
    def train_steps(batches: Any, count: tf.Tensor) -> tf.Tensor:
        def body(step: tf.Tensor, results: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            return step + 1, results.write(step, tf.stack(train_step(*next(batches))))

        results = tf.TensorArray(tf.float32, size=count, element_shape=(2,))
        first = tf.constant(0)
        return tf.while_loop(lambda step, _: step < count, body, (first, results))[1].stack()

    return train_steps


def _choose_jit_compile(config: TrainingConfig, devices: int) -> bool:
    """Returns whether XLA compiles the step: `auto` on one GPU."""
    if config.jit_compile != "auto":
        return config.jit_compile
    return devices == 1 and bool(tf.config.list_logical_devices("GPU"))
