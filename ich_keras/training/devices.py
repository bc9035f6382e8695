"""On which devices and machines a step is computed."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from ich_keras.training.gpus import missing_gpu
from tfrecords_tools.errors import InputError

log = logging.getLogger(__name__)


class DistributionError(InputError):
    """Devices or workers that are not as the experiment wants them."""


@dataclass(frozen=True)
class Workers:
    """The processes that train together, as `TF_CONFIG` names them.

    Attributes:
        index: of this process, from 0.
        count: of all.
    """

    index: int = 0
    count: int = 1

    @property
    def chief(self) -> bool:
        """Whether this process is the one that writes the run's files."""
        return self.index == 0


def find_workers() -> Workers:
    """The place of this process in the cluster of `TF_CONFIG`; alone where there is none.

    Raises:
        DistributionError: if `TF_CONFIG` is not what TensorFlow defines.
    """
    try:
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        tasks = resolver.cluster_spec().as_dict()
        chiefs, workers = tasks.get("chief", []), tasks.get("worker", [])
        if not chiefs and not workers:
            return Workers()
        before = len(chiefs) if resolver.task_type == "worker" else 0
        if resolver.task_id >= len(tasks[resolver.task_type]):
            raise ValueError(f"there is no {resolver.task_type} {resolver.task_id}")
        return Workers(before + resolver.task_id, len(chiefs) + len(workers))
    except (ValueError, TypeError, KeyError) as error:
        raise DistributionError(
            f"TF_CONFIG: {error}; expected"
            ' {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
        ) from error


def resolve_strategy(name: str, workers: Workers) -> str:
    """The name of the distribution strategy, `one`, `mirrored` or `multi_worker`.

    Args:
        name: `one`, `mirrored`, `multi_worker`, or `auto`: the last where there are several
            workers, mirrored where there are several GPUs, else one.
        workers: from `find_workers`.

    Raises:
        DistributionError: if it does not go with the workers.
    """
    if name == "auto":
        name = "multi_worker" if workers.count > 1 else "one"
        if name == "one" and len(tf.config.list_logical_devices("GPU")) > 1:
            name = "mirrored"
    if (name == "multi_worker") != (workers.count > 1):
        raise DistributionError(
            f"training.strategy is {name} and TF_CONFIG names {workers.count} worker(s); set it to"
            " auto, or mend TF_CONFIG"
        )
    return name


def make_strategy(name: str) -> tf.distribute.Strategy:
    """The distribution strategy of a name from `resolve_strategy`.

    To be called before any tensor is made: the workers' collectives are set up at start.
    """
    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")


def warn_without_gpu() -> None:
    """Says before the first step, not after a night, that a GPU that is expected is not seen."""
    missing = "" if tf.config.list_physical_devices("GPU") else missing_gpu()
    if missing:
        log.warning("NO GPU: %s. Training goes on on the processor, many times slower.", missing)


def device_names(strategy: tf.distribute.Strategy) -> list[str]:
    """Such as "GPU:0", of this process."""
    return [name.rpartition("device:")[2] for name in strategy.extended.worker_devices]


def share_of_batch(strategy: tf.distribute.Strategy, batch_size: int) -> int:
    """Slices of a batch that one device takes.

    Raises:
        DistributionError: if the batch cannot be shared evenly, as sums over it must be.
    """
    devices = strategy.num_replicas_in_sync
    if batch_size % devices:
        raise DistributionError(
            f"training.batch_size {batch_size} is not a multiple of the {devices} devices;"
            " change it"
        )
    return batch_size // devices


def refuse_xla_on_several_devices(
    strategy: tf.distribute.Strategy, jit_compile: bool | str
) -> None:
    """Refuses at the start what TensorFlow would refuse at the first step.

    Raises:
        DistributionError: if XLA is to compile a step of several devices.
    """
    if jit_compile is True and strategy.num_replicas_in_sync > 1:
        raise DistributionError(
            f"training.jit_compile is true, and there are {strategy.num_replicas_in_sync} devices:"
            " XLA compiles the step of one; set it to auto, or training.strategy to one"
        )


def agree_with_the_chief(
    strategy: tf.distribute.Strategy, workers: Workers
) -> Callable[[float | None], float | None]:
    """A function from a worker's value to the chief's, whose last digits decide for all of them.

    It returns once all workers have called it. A value that does not exist is None.
    """
    if workers.count == 1:
        return lambda value: value
    on_a_worker = strategy.num_replicas_in_sync // workers.count

    @tf.function(autograph=False)
    def total(own: tf.Tensor) -> tf.Tensor:
        everyones = strategy.run(tf.identity, args=(own,))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, everyones, axis=None)

    def agree(value: float | None) -> float | None:
        chiefs = math.nan if value is None else value
        own = tf.constant(chiefs if workers.chief else 0.0, tf.float64)
        agreed = float(total(own)) / on_a_worker
        return None if math.isnan(agreed) else agreed

    return agree
