"""Records have the bytes that TensorFlow writes, and TensorFlow reads them."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.shard_files import write_records
from tfrecords_tools.errors import UsageError
from tfrecords_tools.records.schema import (
    ENCODINGS,
    Example,
    SchemaError,
    check_encoding,
    decode_example,
    decode_image,
    encode_example,
    parse_examples,
    parse_labels,
)
from tfrecords_tools.records.tfrecord import RecordError, read_records

TEXT = st.text(min_size=1, max_size=20)


def make_example(channels: int = 3, **changes) -> Example:
    image = np.random.default_rng(1).integers(0, 256, (12, 8, channels), np.uint8)
    values = {
        "image": image,
        "label": (0, 1, 0, 0, 0, 1),
        "slice_id": "ID_1",
        "study_id": "ID_2",
        "patient_key": "abc",
        "position_mm": -12.5,
        **changes,
    }
    return Example(**values)


def tensorflows_own(example: Example) -> bytes:
    def texts(*values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    def integers(*values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    height, width, channels = example.image.shape
    feature = {
        "image": texts(example.image.tobytes()),
        "height": integers(height),
        "width": integers(width),
        "channels": integers(channels),
        "label": integers(*example.label),
        "slice_id": texts(example.slice_id.encode()),
        "study_id": texts(example.study_id.encode()),
        "patient_key": texts(example.patient_key.encode()),
        "position_mm": tf.train.Feature(float_list=tf.train.FloatList(value=[example.position_mm])),
    }
    message = tf.train.Example(features=tf.train.Features(feature=feature))
    return message.SerializeToString(deterministic=True)


def test_a_raw_record_equals_that_of_tensorflow():
    example = make_example()
    assert encode_example(example, "raw") == tensorflows_own(example)


def test_a_file_equals_that_of_tensorflow(tmp_path):
    records = [encode_example(make_example(slice_id=f"ID_{i}"), "zlib") for i in range(5)]
    write_records(tmp_path / "ours", records)
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in records:
            writer.write(record)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tensorflow_reads_what_was_written(tmp_path, encoding, channels):
    example = make_example(channels)
    write_records(tmp_path / "x.tfrecord", [encode_example(example, encoding)])
    shape = example.image.shape
    dataset = tf.data.TFRecordDataset([str(tmp_path / "x.tfrecord")] * 2).batch(2)
    (parsed,) = dataset.map(lambda records: parse_examples(records, labelled=True))
    for k in range(2):
        image = decode_image(parsed["image"][k].numpy(), encoding, shape)
        np.testing.assert_array_equal(image, example.image)
        assert tuple(parsed["label"][k].numpy()) == example.label
        assert parsed["slice_id"][k].numpy().decode() == example.slice_id
        assert parsed["position_mm"][k].numpy() == pytest.approx(example.position_mm)


@settings(max_examples=50)
@given(
    text=st.tuples(TEXT, TEXT, TEXT),
    label=st.none() | st.tuples(*[st.integers(0, 1)] * 6),
    position=st.floats(-3000, 3000, width=32),
    encoding=st.sampled_from(ENCODINGS),
)
def test_an_example_survives_encoding_and_decoding(text, label, position, encoding):
    example = make_example(
        label=label, slice_id=text[0], study_id=text[1], patient_key=text[2], position_mm=position
    )
    again = decode_example(encode_example(example, encoding), encoding)
    np.testing.assert_array_equal(again.image, example.image)
    assert (again.label, again.slice_id, again.study_id) == (label, text[0], text[1])
    assert (again.patient_key, again.position_mm) == (text[2], position)


def test_an_unlabelled_example_has_no_label():
    record = encode_example(make_example(label=None), "raw")
    assert decode_example(record, "raw").label is None
    parsed = parse_examples(tf.constant([record]), labelled=False)
    assert "label" not in parsed


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_image_of_another_size_is_refused(encoding):
    record = encode_example(make_example(), encoding)
    content = parse_examples(tf.constant([record]), labelled=True)["image"][0].numpy()
    with pytest.raises(ValueError, match=r"reshape|pixels|bytes"):
        decode_image(content, encoding, (12, 9, 3))


@settings(max_examples=200)
@given(place=st.integers(0, 10**6), value=st.integers(1, 255))
def test_a_damaged_record_is_refused_or_differs_but_never_crashes(place, value):
    record = bytearray(encode_example(make_example(), "zlib"))
    record[place % len(record)] ^= value
    with contextlib.suppress(SchemaError):
        decode_example(bytes(record), "zlib")


def test_labels_can_be_parsed_alone():
    record = encode_example(make_example(), "zlib")
    assert tuple(parse_labels(tf.constant([record]))[0].numpy()) == make_example().label


def test_an_invalid_label_is_refused():
    record = encode_example(make_example(label=(0, 2, 0, 0, 0, 1)), "raw")
    with pytest.raises(SchemaError, match="expected 6 of 0 or 1"):
        decode_example(record, "raw")


def test_impossible_encodings_are_refused():
    with pytest.raises(UsageError, match="unknown encoding 'jpeg'; choose from zlib, raw, png"):
        check_encoding("jpeg", 3)
    with pytest.raises(UsageError, match="PNG holds 1, 3 or 4 channels, not 2"):
        check_encoding("png", 2)


RECORDS = [b"first record", b"", b"third" * 100]


@pytest.fixture
def record_file(tmp_path):
    path = tmp_path / "x.tfrecord"
    write_records(path, RECORDS)
    return path


def test_records_are_read_in_order(record_file):
    assert list(read_records(record_file)) == RECORDS


def test_every_flipped_bit_is_found(record_file):
    content = record_file.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        record_file.write_bytes(damaged)
        with pytest.raises(RecordError, match=r"x\.tfrecord: record \d at byte \d+"):
            list(read_records(record_file))


def test_every_truncation_is_found(record_file):
    content = record_file.read_bytes()
    ends = {0}
    for record in RECORDS:
        ends.add(max(ends) + len(record) + 16)
    for length in range(len(content)):
        record_file.write_bytes(content[:length])
        if length in ends:  # between records nothing is damaged: the manifest counts them
            assert len(list(read_records(record_file))) < len(RECORDS)
            continue
        with pytest.raises(RecordError, match="the file ends within"):
            list(read_records(record_file))
