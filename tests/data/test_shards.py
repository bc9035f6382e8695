"""Shards are opened as the experiment reads them, and what they lack is refused."""

import numpy as np
import pandas as pd
import pytest

from ich_keras.data.passes import training_passes
from ich_keras.data.shards import DatasetError, open_shards
from ich_keras.experiment.schema import DataConfig
from tests.support.shard_files import write_shards
from tfrecords_tools.dataset.manifest import INDEX_NAME


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), train=37, val=11)


def test_sizes_windows_and_splits_that_the_shards_lack_are_refused(shards):
    with pytest.raises(DatasetError, match=r"32 pixels wide and size 64 was asked for"):
        open_shards(shards.folder, DataConfig(size=64))
    with pytest.raises(DatasetError, match=r"brain, subdural, bone, not stroke"):
        open_shards(shards.folder, DataConfig(windows=("stroke",)))
    with pytest.raises(DatasetError, match=r"no slices in split 'test'; choose one of: train, val"):
        open_shards(shards.folder, DataConfig()).slices("test")


def test_labels_of_the_index_are_those_of_the_records(shards):
    labels = np.concatenate(open_shards(shards.folder, DataConfig()).labels_by_shard("train"))
    assert labels.tolist() == [list(x.label) for x in shards.examples["train"]]


def test_an_index_that_contradicts_the_manifest_is_refused_before_training(tmp_path):
    write_shards(tmp_path, train=14, val=7)
    opened = open_shards(tmp_path, DataConfig())
    path = tmp_path / INDEX_NAME
    index = pd.read_csv(path)
    index.loc[index["split"] == "train", "epidural"] = 0
    index.to_csv(path, index=False)
    with pytest.raises(
        DatasetError, match=r"index.csv and dataset.json count .* train differently"
    ):
        training_passes(opened, DataConfig(), seed=0, worker=0, workers=1)
    path.write_text("slice_id\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"index.csv: cannot be read .*; convert again"):
        opened.labels_by_shard("train")
