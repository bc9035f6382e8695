"""Batches hold what the shards hold, in an order that depends on seed and step alone."""

import numpy as np
import pytest
import tensorflow as tf

from ich_keras.config import AugmentationConfig, DataConfig
from ich_keras.dataset import (
    DatasetError,
    augment,
    evaluation_batches,
    open_shards,
    training_batches,
)
from tests.shard_files import CHANNELS, SIZE, write_shards
from tfrecords_tools.bleedings import LABELS


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), train=37, val=11)


def batches(folder, count, start=0, seed=3, **data):
    config = DataConfig(shuffle_buffer=8, **data)
    dataset = training_batches(
        open_shards(folder, config), config, batch_size=5, seed=seed, start_step=start
    )
    return [(x.numpy(), y.numpy()) for x, y in dataset.take(count)]


def test_evaluation_reads_every_slice_once_as_it_was_written(shards):
    found = {}
    opened = open_shards(shards.folder, DataConfig())
    for batch in evaluation_batches(opened, "val", batch_size=4):
        for i, name in enumerate(batch["slice_id"].numpy().astype(str)):
            assert name not in found
            found[name] = (batch["image"][i].numpy(), tuple(batch["label"][i].numpy()))
    written = {x.slice_id: (x.image, x.label) for x in shards.examples["val"]}
    assert found.keys() == written.keys()
    for name, (image, label) in written.items():
        np.testing.assert_array_equal(found[name][0], image)
        assert found[name][1] == label


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


@pytest.mark.parametrize("start", [1, 6, 7, 8, 20])
def test_starting_at_a_step_gives_what_an_undisturbed_run_sees(shards, start):
    augmentation = AugmentationConfig(flip=True, grey=0.1, rotate_degrees=10.0)
    whole = batches(shards.folder, start + 3, augmentation=augmentation)
    resumed = batches(shards.folder, 3, start=start, augmentation=augmentation)
    for (image, label), (again, same) in zip(whole[start:], resumed, strict=True):
        np.testing.assert_array_equal(image, again)
        np.testing.assert_array_equal(label, same)


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


def test_what_the_shards_cannot_give_is_refused(shards):
    with pytest.raises(DatasetError, match=r"32 pixels wide and size 64 was asked for"):
        open_shards(shards.folder, DataConfig(size=64))
    with pytest.raises(DatasetError, match=r"brain, subdural, bone, not stroke"):
        open_shards(shards.folder, DataConfig(windows=("stroke",)))
    with pytest.raises(DatasetError, match=r"no slices in split 'test'; choose one of: train, val"):
        open_shards(shards.folder, DataConfig()).slices("test")


def test_a_shard_cut_short_is_an_error_not_a_smaller_evaluation(tmp_path):
    shards = write_shards(tmp_path, train=3, val=9)
    path = next(tmp_path.glob("val-*.tfrecord"))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])
    opened = open_shards(shards.folder, DataConfig())
    with pytest.raises(tf.errors.OpError):
        list(evaluation_batches(opened, "val", batch_size=4))


def test_no_augmentation_leaves_the_slice_alone():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    same = augment(tf.constant(image), AugmentationConfig(), tf.constant([1, 2], tf.int64))
    np.testing.assert_array_equal(same, image)


@pytest.mark.parametrize(
    "limits",
    [{"flip": True}, {"rotate_degrees": 20.0}, {"scale": 0.2}, {"shift": 0.1}, {"grey": 0.2}],
)
def test_augmentation_is_the_same_for_the_same_seed_in_and_out_of_a_graph(limits):
    config = AugmentationConfig(**limits)
    image = tf.constant(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    seeds = [tf.constant([5, k], tf.int64) for k in range(8)]
    eager = [augment(image, config, seed).numpy() for seed in seeds]
    graph = tf.function(lambda seed: augment(image, config, seed))
    for expected, seed in zip(eager, seeds, strict=True):
        np.testing.assert_allclose(graph(seed), expected, atol=1)
    assert any(not np.array_equal(x, image) for x in eager)
    assert len({x.tobytes() for x in eager}) > 1


def test_a_flip_swaps_left_and_right_and_nothing_else():
    image = np.random.default_rng(0).integers(0, 256, (6, 6, 1), np.uint8)
    config = AugmentationConfig(flip=True)
    results = {
        augment(tf.constant(image), config, tf.constant([0, k], tf.int64)).numpy().tobytes()
        for k in range(20)
    }
    assert results == {image.tobytes(), image[:, ::-1].tobytes()}


def test_the_labels_are_in_the_order_of_the_schema(shards):
    example = shards.examples["val"][0]
    assert len(example.label) == len(LABELS)
