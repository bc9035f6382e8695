"""What `doctor` says about GPUs, none of which is needed for it."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from ich_keras.cli import computation

WHEEL = ["sm_60", "sm_70", "sm_80", "sm_89", "compute_90"]  # of TensorFlow 2.21


@pytest.mark.parametrize(
    ("capability", "advice"),
    [
        ((6, 1), ""),
        ((7, 5), ""),
        ((8, 6), ""),
        ((9, 0), ""),
        ((12, 0), "was built for GPUs up to 9.0"),  # RTX 50xx
        ((10, 0), "was built for GPUs up to 9.0"),
        ((5, 2), "needs 6.0 or newer"),
    ],
)
def test_a_gpu_that_tensorflow_has_no_kernels_for(capability, advice):
    missing = computation.missing_kernels(capability, WHEEL)
    assert advice in missing
    assert bool(missing) == bool(advice)
    assert not computation.missing_kernels(capability, [])  # not known


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of 12 GiB, whose compute capability the test sets."""
    details = {"device_name": "a card", "compute_capability": (8, 6)}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: [SimpleNamespace(name="0")])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: details)
    info = {"cuda_compute_capabilities": WHEEL}
    monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: info)
    monkeypatch.setattr(computation, "_memory", lambda *_: (12 * 2**30, "12 of 12 GiB free"))
    return details


def test_a_batch_size_is_proposed_for_the_memory_of_a_gpu(gpu):
    (found,) = computation.find_gpus()
    assert found.state == "ok"
    assert "a card, compute capability 8.6, 12 of 12 GiB free;" in found.result
    bfloat16 = int(found.result.partition("up to ")[2].split()[0])
    gpu["compute_capability"] = (6, 1)
    (older,) = computation.find_gpus()
    float32 = int(older.result.partition("up to ")[2].split()[0])
    assert found.result.endswith("fit in mixed_bfloat16")
    assert older.result.endswith("fit in float32")
    assert float32 == pytest.approx(bfloat16 / 2, abs=1)
    # On a processor, a slice of float32 took 22 MiB; twice that is kept by an unfused step.
    assert 9 * 2**30 / float32 == pytest.approx(2 * 22 * 2**20, rel=0.3)


def test_a_gpu_newer_than_tensorflow_fails_with_what_to_do(gpu):
    gpu["compute_capability"] = (12, 0)
    (found,) = computation.find_gpus()
    assert found.state == "failed"
    assert "tf-nightly" in found.fix
