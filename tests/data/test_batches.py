"""Batches hold what the shards hold, in an order that depends on seed and step alone."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from ich_keras.data.batches import (
    evaluation_batches,
    iterate_images,
    read_images,
    reading,
    training_batches,
)
from ich_keras.data.passes import training_passes
from ich_keras.data.shards import DatasetError, open_shards
from ich_keras.experiment.schema import AugmentationConfig, DataConfig
from tests.support.shard_files import CHANNELS, SIZE, overwrite_labels, write_records, write_shards
from tfrecords_tools.records.schema import encode_example

AUGMENTATION = AugmentationConfig(flip=True, grey=0.1, rotate_degrees=10.0)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), train=37, val=11)


def batches(folder, count, start=0, seed=3, batch_size=5, share=(0, 1), **data):
    config = DataConfig(shuffle_buffer=8, **data)
    dataset = training_batches(
        open_shards(folder, config),
        config,
        batch_size=batch_size,
        seed=seed,
        start_step=start,
        worker=share[0],
        workers=share[1],
    )
    return [(x.numpy(), y.numpy()) for x, y in dataset.take(count)]


def test_pipelines_run_without_the_tuner_that_delays_their_end(shards):
    config = DataConfig(shuffle_buffer=8, balance=0.5)
    opened = open_shards(shards.folder, config)
    for dataset in (
        training_batches(opened, config, batch_size=5, seed=3),
        evaluation_batches(opened, "val", batch_size=4),
    ):
        assert dataset.options().autotune.enabled is False


def test_evaluation_reads_every_slice_once_as_it_was_written(shards):
    read = {}
    opened = open_shards(shards.folder, DataConfig())
    for batch in evaluation_batches(opened, "val", batch_size=4):
        for i, name in enumerate(batch["slice_id"].numpy().astype(str)):
            assert name not in read
            read[name] = (batch["image"][i].numpy(), tuple(batch["label"][i].numpy()))
    written = {x.slice_id: (x.image, x.label) for x in shards.examples["val"]}
    assert read.keys() == written.keys()
    for name, (image, label) in written.items():
        np.testing.assert_array_equal(read[name][0], image)
        assert read[name][1] == label


def test_single_slices_are_read_in_the_order_of_their_ids(tmp_path):
    shards = write_shards(tmp_path, train=9, val=30, files=3)
    written = {x.slice_id: x.image for x in shards.examples["val"]}
    chosen = ["val0029", "val0001", "val0020"]  # of the third and the first shard
    (tmp_path / "val-00001-of-00003.tfrecord").unlink()
    opened = open_shards(tmp_path, DataConfig())
    images = read_images(opened, chosen)
    np.testing.assert_array_equal(images, np.stack([written[x] for x in chosen]))
    assert [name for name, _ in iterate_images(opened, chosen)] == [
        "val0001",
        "val0020",
        "val0029",
    ]
    assert list(iterate_images(opened, [])) == []


def test_one_pass_of_training_holds_every_slice_once(shards):
    # 37 slices are 7 batches of 5 and 2 over: 8 batches hold the first pass and 3 of the second.
    images = np.concatenate([x for x, _ in batches(shards.folder, 8)])[:37]
    seen = sorted(image.tobytes() for image in images)
    assert seen == sorted(x.image.tobytes() for x in shards.examples["train"])


def test_passes_differ_in_their_order(shards):
    images = np.concatenate([x for x, _ in batches(shards.folder, 15)])
    first, second = images[:37], images[37:74]
    assert not np.array_equal(first, second)
    assert sorted(x.tobytes() for x in first) == sorted(x.tobytes() for x in second)


@pytest.mark.parametrize("balance", [0.0, 0.7])
@pytest.mark.parametrize("start", [1, 6, 7, 8, 20])
def test_a_run_resumed_at_a_step_sees_what_an_uninterrupted_run_sees(shards, start, balance):
    data = {"augmentation": AUGMENTATION, "balance": balance}
    whole = batches(shards.folder, start + 3, **data)
    resumed = batches(shards.folder, 3, start=start, **data)
    for (image, label), (again, same) in zip(whole[start:], resumed, strict=True):
        np.testing.assert_array_equal(image, again)
        np.testing.assert_array_equal(label, same)


def stream(folder, count, share, start=0, **data) -> list[tuple[bytes, bytes]]:
    """The slices that a worker sees one by one, with their labels."""
    pairs = batches(folder, count, batch_size=share[1], share=share, start=start, **data)
    return [(image.tobytes(), label.tobytes()) for image, label in pairs]


def test_each_shard_is_read_by_one_worker_in_a_pass(tmp_path):
    shards = write_shards(tmp_path, train=36, val=7, files=4)  # of 9 slices each
    shard_of = {x.image.tobytes(): i // 9 for i, x in enumerate(shards.examples["train"])}
    streams = [stream(shards.folder, 6 * 18, (k, 2)) for k in range(2)]
    pairs = set()
    for first in range(0, 6 * 18, 18):
        shares = [[image for image, _ in x[first : first + 18]] for x in streams]
        assert sorted(shares[0] + shares[1]) == sorted(shard_of)
        read = [frozenset(shard_of[image] for image in share) for share in shares]
        assert [len(x) for x in read] == [2, 2]  # and so none is read by both
        pairs.add(read[0])
    assert len(pairs) > 1


@pytest.mark.parametrize(
    ("balance", "seed"),
    [(0.0, 3), pytest.param(0.7, 3, marks=pytest.mark.slow), (0.7, 2**32 - 1)],
)
def test_a_worker_resumed_at_a_step_sees_what_an_uninterrupted_one_sees(tmp_path, balance, seed):
    shards = write_shards(tmp_path, train=37, val=7, files=5)  # passes of 7, 14, 15 or 16 slices
    data = {"augmentation": AUGMENTATION, "balance": balance, "seed": seed}
    for worker in range(3):
        whole = stream(shards.folder, 50, (worker, 3), **data)
        for start in (7, 15, 40):
            assert stream(shards.folder, 10, (worker, 3), start, **data) == whole[start:][:10]


def test_a_run_resumed_late_in_a_pass_opens_no_shard_that_it_has_read(tmp_path):
    shards = write_shards(tmp_path, train=90, val=12, files=12)  # of 7 or 8 slices each
    config = DataConfig(shuffle_buffer=5)
    opened = open_shards(tmp_path, config)
    passes = training_passes(opened, config, seed=3, worker=0, workers=1)
    whole = list(passes.records_from(90).take(90).as_numpy_iterator())
    needed = {encode_example(x, "zlib"): x.slice_id for x in shards.examples["train"]}
    index = opened.index().set_index("slice_id")["shard"]
    for start in (1, 40, 70, 89):
        rest = whole[start:]
        for name in set(index[index.str.startswith("train")]) - {index[needed[x]] for x in rest}:
            (tmp_path / name).unlink(missing_ok=True)
        resumed = passes.records_from(90 + start).take(90 - start)
        assert list(resumed.as_numpy_iterator()) == rest
    assert len(list(tmp_path.glob("train-*"))) <= 4


def test_workers_draw_different_augmentations(tmp_path):
    """One slice in each shard, and all the same: what differs is the augmentation."""
    shards = write_shards(tmp_path, train=2, val=2)
    for number in range(2):
        path = tmp_path / f"train-{number:05d}-of-00002.tfrecord"
        write_records(path, [encode_example(shards.examples["train"][0], "zlib")])
    streams = [stream(tmp_path, 8, (k, 2), augmentation=AUGMENTATION) for k in range(2)]
    assert len({image for x in streams for image, _ in x}) == 16


def test_fewer_shards_than_workers_are_refused(shards):
    with pytest.raises(DatasetError, match=r"has 2 shards of the split train for 3 workers"):
        batches(shards.folder, 1, batch_size=6, share=(0, 3))


def test_a_batch_that_cannot_be_shared_is_refused(shards):
    with pytest.raises(ValueError, match=r"a batch of 5 cannot be shared by 2 workers"):
        batches(shards.folder, 1, share=(0, 2))


@pytest.mark.parametrize(("balance", "shares"), [(0.0, 1 / 7), (1.0, 1 / 6)])
def test_balance_shows_the_groups_as_often_as_configured(tmp_path, balance, shares):
    shards = write_shards(tmp_path, train=35, val=7)  # 5 of each kind, and 10 controls
    passes = batches(shards.folder, 200, batch_size=35, balance=balance)
    labels = np.concatenate([y for _, y in passes])
    np.testing.assert_allclose(labels[:, :5].mean(axis=0), shares, atol=0.012)
    seen = {x.tobytes() for images, _ in passes for x in images}
    assert seen == {x.image.tobytes() for x in shards.examples["train"]}


def test_balance_needs_two_groups(tmp_path):
    labels = {f"train{k:04d}": (0, 0, 0, 0, 0, 0) for k in range(9)}
    shards = write_shards(tmp_path, labels, train=9, val=7)
    with pytest.raises(DatasetError, match=r"so data.balance 0.5 has nothing to balance"):
        batches(shards.folder, 1, balance=0.5)


def test_the_seed_changes_the_order(shards):
    one, other = batches(shards.folder, 1, seed=1), batches(shards.folder, 1, seed=2)
    assert not np.array_equal(one[0][0], other[0][0])


def test_labels_stay_with_their_images(shards):
    written = {x.image.tobytes(): x.label for x in shards.examples["train"]}
    for images, labels in batches(shards.folder, 8):
        for image, label in zip(images, labels, strict=True):
            assert written[image.tobytes()] == tuple(label.astype(int))


def test_a_smaller_size_averages_areas(shards):
    opened = open_shards(shards.folder, DataConfig(size=SIZE // 2))
    batch = next(iter(evaluation_batches(opened, "val", batch_size=1)))
    name = batch["slice_id"].numpy()[0].decode()
    image = next(x.image for x in shards.examples["val"] if x.slice_id == name).astype(float)
    mean = image.reshape(SIZE // 2, 2, SIZE // 2, 2, CHANNELS).mean(axis=(1, 3))
    assert np.abs(batch["image"][0].numpy() - mean).max() <= 0.5 + 1e-6


def test_windows_are_chosen_by_name_and_order(shards):
    opened = open_shards(shards.folder, DataConfig(windows=("bone", "brain")))
    batch = next(iter(evaluation_batches(opened, "val", batch_size=1)))
    name = batch["slice_id"].numpy()[0].decode()
    image = next(x.image for x in shards.examples["val"] if x.slice_id == name)
    np.testing.assert_array_equal(batch["image"][0].numpy(), image[..., [2, 0]])


def test_a_shard_cut_short_is_an_error_not_a_smaller_evaluation(tmp_path):
    shards = write_shards(tmp_path, train=3, val=9)
    path = next(tmp_path.glob("val-*.tfrecord"))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])
    opened = open_shards(shards.folder, DataConfig())
    with pytest.raises(tf.errors.OpError):
        list(evaluation_batches(opened, "val", batch_size=4))


@pytest.mark.parametrize(
    "label",
    [
        (0, 1, 0, 0, 0, 0),  # `any` is missing
        (0, 0, 0, 0, 0, 1),  # a hemorrhage without subtype
        (0, 2, 0, 0, 0, 1),
        (0, -1, 1, 0, 0, 1),
        (0, 1, 0, 0, 1),
    ],
)
def test_invalid_labels_are_neither_learned_nor_scored(tmp_path, label):
    right = (0, 1, 0, 0, 0, 1)
    shards = write_shards(tmp_path, {"train0001": right, "val0001": right}, train=7, val=7)
    overwrite_labels(shards, {"train0001": label, "val0001": label})
    message = (
        rf"{tmp_path}: a label is not six of 0 or 1 .* `ich-keras verify {tmp_path}` tells which"
    )
    with pytest.raises(DatasetError, match=message), reading(tmp_path):
        batches(tmp_path, 2)
    with pytest.raises(DatasetError, match=message), reading(tmp_path):
        list(evaluation_batches(open_shards(tmp_path, DataConfig()), "val", batch_size=4))


@pytest.mark.parametrize("balance", [0.0, 0.5])
def test_fewer_records_than_the_manifest_says_stop_the_training(tmp_path, balance):
    shards = write_shards(tmp_path, train=14, val=7)
    path = next(tmp_path.glob("train-*.tfrecord"))
    write_records(path, [encode_example(x, "zlib") for x in shards.examples["train"][:5]])
    with pytest.raises(DatasetError, match=r"a shard cannot be read"), reading(tmp_path):
        batches(tmp_path, 6, balance=balance)


def test_a_process_ends_while_batches_are_being_prepared(shards):
    code = (
        "import sys; from pathlib import Path\n"
        "from ich_keras.experiment.schema import AugmentationConfig, DataConfig\n"
        "from ich_keras.data.batches import training_batches\n"
        "from ich_keras.data.shards import open_shards\n"
        "def fail():\n"
        "    data = DataConfig(augmentation=AugmentationConfig(rotate_degrees=9.0))\n"
        "    opened = open_shards(Path(sys.argv[1]), data)\n"
        "    batches = iter(training_batches(opened, data, batch_size=2, seed=1))\n"
        "    next(batches)\n"
        "    raise KeyError\n"
        "try: fail()\n"
        "except KeyError: sys.exit(3)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, shards.folder], timeout=120, check=False)
    assert done.returncode == 3


def test_a_cut_shard_is_named_in_a_loop_over_batches_too(tmp_path):
    """`fit` takes batches in the graph, where the error begins with the lines of the graph."""
    (tmp_path / "cut").write_bytes(b"x" * 200)
    batches = iter(tf.data.TFRecordDataset([str(tmp_path / "cut")]))
    take = tf.function(lambda source: tf.strings.length(next(source)), autograph=False)
    message = r"cannot be read \(corrupted record at 0"
    with pytest.raises(DatasetError, match=message), reading(tmp_path):
        take(batches)
