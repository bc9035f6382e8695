"""Checks of what computes: GPUs, precision and XLA."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ich_keras.cli.finding import Finding
from ich_keras.experiment.experiment import load_experiment
from ich_keras.model.network import build_model
from ich_keras.model.summary import largest_batch, summarize
from ich_keras.training.devices import missing_gpu
from ich_keras.training.train_step import choose_precision, compute_capability

EXPERIMENT = "halfres.yaml"  # for which a batch size is proposed
SIZE, CHANNELS = 256, 3  # of its slices
GIB = 2**30
BFLOAT16_ERROR = 0.02  # of a convolution; bfloat16 has eight significant bits
NO_GPU = "only training needs one; convert, verify, predict and the demo do not"


def find_gpus() -> Iterator[Finding]:
    """A finding for each GPU; one if there is none."""
    devices = tf.config.list_physical_devices("GPU")
    for number, device in enumerate(devices):
        yield _gpu(number, device)
    if not devices:
        missing = missing_gpu()
        yield Finding("GPU", "failed" if missing else "note", "none", missing or NO_GPU)


def _gpu(number: int, device: Any) -> Finding:
    details = tf.config.experimental.get_device_details(device)
    capability = compute_capability(device)
    name = details.get("device_name", device.name)
    memory, text = _memory(details, number)
    text = f"{name}, compute capability {_dotted(capability)}, {text}"
    built: Sequence[str] = tf.sysconfig.get_build_info().get("cuda_compute_capabilities", ())
    if missing := missing_kernels(capability, built):
        return Finding(f"GPU {number}", "failed", text, missing)
    proposal = f"; {_proposed_batch(memory)}" if memory else ""
    return Finding(f"GPU {number}", "ok", text + proposal)


def missing_kernels(capability: tuple[int, int], built: Sequence[str]) -> str:
    """What to do about a GPU that TensorFlow has no kernels for; "" if it has some.

    `built` are the capabilities that TensorFlow was built for. Those of `sm_80` run on 8.0 and on
    newer ones of the same major version. `compute_90` is code which the driver compiles for 9.0 and
    newer; but the libraries beside it, such as cuDNN, do not know a newer major version.
    """
    major, minor = capability
    versions = [divmod(int(x.rpartition("_")[2]), 10) for x in built]
    if not versions or any(x == major and y <= minor for x, y in versions):
        return ""
    if capability > max(versions):
        return (
            f"TensorFlow {tf.__version__} was built for GPUs up to {_dotted(max(versions))}: take a"
            " newer one that lists this GPU, such as tf-nightly or NVIDIA's container of"
            " TensorFlow, or hide the GPU with CUDA_VISIBLE_DEVICES=-1"
        )
    return (
        f"TensorFlow {tf.__version__} needs {_dotted(min(versions))} or newer: take an older one,"
        " or hide the GPU with CUDA_VISIBLE_DEVICES=-1"
    )


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _proposed_batch(memory: int) -> str:
    """The largest batch for so many bytes, by the network's own count."""
    experiment = load_experiment(EXPERIMENT)
    model = build_model(experiment.model, CHANNELS)
    precision = choose_precision(experiment.training.precision)
    value_bytes = 4 if precision == "float32" else 2
    largest = largest_batch(summarize(model, experiment.model, SIZE), memory, value_bytes)
    chosen = experiment.training.batch_size
    return f"training.batch_size of {EXPERIMENT} is {chosen}; up to {largest:,} fit in {precision}"


def _memory(details: dict, number: int) -> tuple[int, str]:
    """Returns the total memory in bytes, 0 if unknown, and a text; only the driver knows it."""
    try:
        import pynvml

        pynvml.nvmlInit()
        if address := details.get("pci_bus_id"):
            handle = pynvml.nvmlDeviceGetHandleByPciBusId(address)
        else:
            handle = pynvml.nvmlDeviceGetHandleByIndex(number)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        driver = pynvml.nvmlSystemGetDriverVersion()
    except ImportError:
        return 0, "memory not known without nvidia-ml-py (extra gpu)"
    except pynvml.NVMLError as error:
        return 0, f"memory not known: {error}"
    free, total = memory.free / GIB, memory.total / GIB
    return memory.total, f"{free:.0f} of {total:.0f} GiB free, driver {driver}"


def check_precision() -> Finding:
    """Whether a convolution in bfloat16 equals that in float32, except for rounding."""
    image, kernel = _convolution()
    exact = tf.nn.conv2d(image, kernel, 1, "SAME")
    rounded = tf.nn.conv2d(tf.cast(image, tf.bfloat16), tf.cast(kernel, tf.bfloat16), 1, "SAME")
    rounded = tf.cast(rounded, tf.float32)
    error = float(tf.reduce_max(tf.abs(rounded - exact)) / tf.reduce_max(tf.abs(exact)))
    text = f"auto is {choose_precision('auto')} here; bfloat16 is off by {100 * error:.2f} %"
    if error > BFLOAT16_ERROR:
        return Finding("precision", "failed", text, "set training.precision to float32")
    return Finding("precision", "ok", text)


def check_xla() -> Finding:
    compiled = tf.function(tf.nn.conv2d, jit_compile=True, autograph=False)
    try:
        compiled(*_convolution(), 1, "SAME")
    except tf.errors.OpError as error:
        reason = error.message.splitlines()[0]
        return Finding("XLA", "failed", reason, "set training.jit_compile to false")
    return Finding("XLA", "ok", "compiles a convolution")


def _convolution() -> tuple[tf.Tensor, tf.Tensor]:
    """Returns an image and a kernel, always the same."""
    rng = np.random.default_rng(0)
    image = rng.standard_normal((1, 32, 32, 8), np.float32)
    return tf.constant(image), tf.constant(rng.standard_normal((3, 3, 8, 8), np.float32))
