"""Record files compared with TensorFlow's, and damage to each of their bytes."""

import hashlib
import struct
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.shard_files import write_records
from tfrecords_tools.records.tfrecord import RecordError, frame, read_records

RECORDS = [b"", b"a", b"slice" * 20, bytes(range(256))]
IN_TMP_PATH = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50
)


def written_by_tensorflow(path: Path, records: list[bytes]) -> Path:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


@given(st.lists(st.binary(max_size=300), max_size=6))
@IN_TMP_PATH
def test_files_equal_those_of_tensorflow(tmp_path, records):
    ours = tmp_path / "ours"
    digest = write_records(ours, records)
    theirs = written_by_tensorflow(tmp_path / "theirs", records)
    assert ours.read_bytes() == theirs.read_bytes()
    assert digest == hashlib.sha256(theirs.read_bytes()).hexdigest()
    assert list(read_records(theirs)) == records
    assert [x.numpy() for x in tf.data.TFRecordDataset(str(ours))] == records


def test_every_flipped_byte_is_found_and_located(tmp_path):
    path = tmp_path / "train-00000-of-00001.tfrecord"
    write_records(path, RECORDS)
    whole = path.read_bytes()
    starts = [sum(len(frame(x)) for x in RECORDS[:number]) for number in range(len(RECORDS))]
    for place in range(len(whole)):
        number = max(i for i, start in enumerate(starts) if start <= place)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(RecordError, match=rf"{path.name}: record {number} at byte "):
            list(read_records(path))


def test_every_truncated_record_is_found(tmp_path):
    path = tmp_path / "cut"
    write_records(path, RECORDS)
    whole = path.read_bytes()
    ends = {sum(len(frame(x)) for x in RECORDS[:count]): count for count in range(5)}
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        if length in ends:
            assert list(read_records(path)) == RECORDS[: ends[length]]
        else:
            with pytest.raises(RecordError, match="the file ends within"):
                list(read_records(path))


def test_records_before_the_damage_are_returned(tmp_path):
    path = tmp_path / "damaged"
    write_records(path, RECORDS)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    reader = read_records(path)
    assert [next(reader) for _ in RECORDS[:-1]] == RECORDS[:-1]
    with pytest.raises(RecordError, match="checksum of the record"):
        next(reader)


def test_an_impossible_length_allocates_no_memory(tmp_path):
    path = tmp_path / "absurd"
    length = struct.pack("<Q", 1 << 62)
    checksum = frame(length)[-4:]  # the checksum of these eight bytes, as of any record
    path.write_bytes(length + checksum + b"little else")
    with pytest.raises(RecordError, match="the length of 4611686018427387904 bytes is impossible"):
        list(read_records(path))
