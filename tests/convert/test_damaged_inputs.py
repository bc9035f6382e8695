"""Label files, split files, records and manifests, damaged at random: refused, or right."""

import gzip
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.records.test_schema import make_example
from tests.support.shard_files import write_records, write_shards
from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.dataset.manifest import MANIFEST_NAME, ManifestError, read_manifest
from tfrecords_tools.errors import ConvertError, InputError
from tfrecords_tools.planning.split_file import GIVEN_SPLITS, read_split
from tfrecords_tools.records.example_proto import ExampleMessage
from tfrecords_tools.records.schema import ENCODINGS, SchemaError, decode_example, encode_example
from tfrecords_tools.records.tfrecord import RecordError, read_records
from tfrecords_tools.tables.label_csv import LabelError, read_labels

IN_TMP_PATH = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=150,
)

TOKENS = (b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"_", b"ID", b"Label", b"any")
TOKENS += (b"nan", b"0", b"1", b"split", b"train", b"[", b"{", b"}", b":", b"-1", b"1e999", b"\\")
TOKENS += (b'"\n', b",,,,,,,,", b"[" * 2000, b"9" * 5000)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("flip", "insert", "overwrite", "delete", "cut", "repeat")),
        st.integers(0, 1 << 20),
        st.sampled_from(TOKENS) | st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)


def damaged(content: bytes, steps: list[tuple[str, int, bytes]]) -> bytes:
    for kind, place, filling in steps:
        place %= len(content) + 1
        head, tail = content[:place], content[place:]
        if kind == "flip":
            tail = bytes([x ^ filling[0] | 1 for x in tail[:1]]) + tail[1:]
        elif kind == "insert":
            head += filling
        elif kind == "overwrite":
            head, tail = head + filling, tail[len(filling) :]
        elif kind == "delete":
            tail = tail[len(filling) :]
        elif kind == "cut":
            tail = b""
        else:
            head += tail[: 40 * len(filling)]
        content = head + tail
    return content


def refused(read: Callable, error: type[InputError], path: Path) -> object | None:
    """What is read, or None where it is refused in one line that names the file."""
    try:
        return read(path)
    except error as refusal:
        assert "\n" not in str(refusal)
        assert str(path) in str(refusal)
        return None


# --- Tables ---------------------------------------------------------------------------------


def long_labels() -> bytes:
    rows = [f"ID_{i:02x}_{label},{i % 2}" for i in range(4) for label in LABELS]
    return "\n".join(["ID,Label", *rows, ""]).encode()


def wide_labels() -> bytes:
    rows = [f"ID_{i:02x},{','.join(str(i % 2) * 6)}" for i in range(4)]
    return "\n".join([f"id,{','.join(LABELS)}", *rows, ""]).encode()


def check_labels(table: pd.DataFrame) -> None:
    assert tuple(table.columns) == LABELS
    assert table.index.is_unique
    assert table.index.str.fullmatch(r"[A-Za-z0-9_.-]{1,64}").all()
    assert set(np.unique(table)) <= {0, 1}
    assert (table[list(SUBTYPES)].max(axis=1) == table["any"]).all()


@pytest.mark.parametrize("whole", [long_labels(), wide_labels()], ids=["long", "wide"])
@given(steps=STEPS)
@IN_TMP_PATH
def test_damaged_labels(tmp_path: Path, whole: bytes, steps: list) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(damaged(whole, steps))
    table = refused(read_labels, LabelError, path)
    if table is not None:
        check_labels(table)


@given(steps=STEPS)
@IN_TMP_PATH
def test_damaged_compressed_labels_are_never_other_labels(tmp_path: Path, steps: list) -> None:
    path = tmp_path / "labels.csv.gz"
    path.write_bytes(gzip.compress(long_labels(), mtime=0))
    whole = read_labels(path)
    path.write_bytes(damaged(path.read_bytes(), steps))
    table = refused(read_labels, LabelError, path)
    if table is not None:
        pd.testing.assert_frame_equal(table, whole)


SPLIT = b"patient_id,split,note\n" + b"".join(
    f"p{i},{GIVEN_SPLITS[i % 3]},x\n".encode() for i in range(9)
)


@pytest.mark.parametrize("name", ["split.csv", "split.csv.gz"])
@given(steps=STEPS)
@IN_TMP_PATH
def test_damaged_splits(tmp_path: Path, name: str, steps: list) -> None:
    path = tmp_path / name
    path.write_bytes(damaged(gzip.compress(SPLIT) if name.endswith("gz") else SPLIT, steps))
    split = refused(read_split, ConvertError, path)
    if split is not None:
        assert split.index.is_unique
        assert set(split) <= set(GIVEN_SPLITS)


@pytest.mark.parametrize("damage", ["cut", "flipped", "plain"])
def test_a_damaged_compressed_split_is_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    packed = bytearray(gzip.compress(SPLIT * 50))
    if damage == "cut":
        packed = packed[: len(packed) // 2]
    elif damage == "flipped":
        packed[len(packed) // 2] ^= 0xFF
    else:
        packed = bytearray(SPLIT)
    path = tmp_path / "split.csv.gz"
    path.write_bytes(packed)
    assert refused(read_split, ConvertError, path) is None


# --- Records --------------------------------------------------------------------------------


@given(steps=STEPS)
@IN_TMP_PATH
def test_damaged_record_files_never_give_another_record(tmp_path: Path, steps: list) -> None:
    records = [b"first", b"", bytes(range(256)), b"last" * 40]
    path = tmp_path / "x.tfrecord"
    write_records(path, records)
    path.write_bytes(damaged(path.read_bytes(), steps))
    found = []
    try:
        for record in read_records(path):
            found.append(record)
    except RecordError as error:
        assert str(error).startswith(f"x.tfrecord: record {len(found)} at byte ")
    assert all(record in records for record in found)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(steps=STEPS)
@IN_TMP_PATH
def test_damaged_examples_are_refused_or_are_examples(encoding: str, steps: list) -> None:
    record = damaged(encode_example(make_example(), encoding), steps)
    try:
        example = decode_example(record, encoding)
    except SchemaError:
        return
    assert example.image.dtype == np.uint8
    assert example.image.ndim == 3
    assert example.label is None or set(example.label) <= {0, 1}


def example_with(encoding: str, **features: int | bytes) -> bytes:
    """A record of which some features are others, with all its checksums."""
    message = ExampleMessage()
    message.ParseFromString(encode_example(make_example(), encoding))
    for key, value in features.items():
        feature = message.features.feature[key]
        kind = feature.bytes_list if isinstance(value, bytes) else feature.int64_list
        kind.value[:] = [value]
    return message.SerializeToString(deterministic=True)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "shape",
    [(-1, 8, 3), (12, 8, -1), (0, 8, 3), (1 << 62, 8, 3), (1 << 40, 1 << 40, 3), (8, 12, 3)],
)
def test_shapes_that_lie_are_refused(encoding: str, shape: tuple[int, int, int]) -> None:
    height, width, channels = shape
    record = example_with(encoding, height=height, width=width, channels=channels)
    if encoding != "png" and shape == (8, 12, 3):
        assert decode_example(record, encoding).image.shape == shape  # as many bytes
        return
    with pytest.raises(SchemaError):
        decode_example(record, encoding)


def test_an_image_that_inflates_without_end_is_refused_before_it_does() -> None:
    packer = zlib.compressobj(9)
    zeros = bytes(1 << 20)
    bomb = b"".join(packer.compress(zeros) for _ in range(256)) + packer.flush()
    with pytest.raises(SchemaError, match="does not decompress to exactly 288 bytes"):
        decode_example(example_with("zlib", image=bomb), "zlib")


@pytest.mark.parametrize("tail", [b"\0", b"more"])
def test_bytes_behind_a_compressed_image_are_refused(tail: bytes) -> None:
    whole = zlib.compress(make_example().image.tobytes())
    assert decode_example(example_with("zlib", image=whole), "zlib")
    for damaged_image in (whole + tail, whole[:-1], whole[:-5]):
        with pytest.raises(SchemaError):
            decode_example(example_with("zlib", image=damaged_image), "zlib")


def test_a_png_of_another_size_or_depth_is_refused() -> None:
    def png(image: np.ndarray) -> bytes:
        return cv2.imencode(".png", image)[1].tobytes()

    deep = png(np.zeros((12, 8, 3), np.uint16))
    with pytest.raises(SchemaError, match="not a PNG of 8 bits"):
        decode_example(example_with("png", image=deep), "png")
    large = bytearray(png(np.zeros((12, 8, 3), np.uint8)))
    struct.pack_into(">II", large, 16, 30_000, 30_000)
    struct.pack_into(">I", large, 29, zlib.crc32(large[12:29]))
    with pytest.raises(SchemaError, match="not 8 x 12 pixels"):
        decode_example(example_with("png", image=bytes(large)), "png")


# --- Manifests ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("shards"), train=4, val=2).folder


@given(steps=STEPS)
@IN_TMP_PATH
def test_a_damaged_manifest_is_refused(tmp_path: Path, shards: Path, steps: list) -> None:
    whole = (shards / MANIFEST_NAME).read_bytes()
    (tmp_path / MANIFEST_NAME).write_bytes(damaged(whole, steps))
    manifest = refused(read_manifest, ManifestError, tmp_path)
    assert manifest is None or manifest == read_manifest(shards)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 10_000, "NaN", '"'])
def test_a_manifest_without_end_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match=r"damaged .*; convert again"):
        read_manifest(tmp_path)


def test_a_manifest_of_absurd_numbers_is_refused(tmp_path: Path, shards: Path) -> None:
    content = json.loads((shards / MANIFEST_NAME).read_text("utf-8"))
    for version in (1e999, "2", None, [2], {}, 10**400):
        text = json.dumps({**content, "format_version": version})
        (tmp_path / MANIFEST_NAME).write_text(text, encoding="utf-8")
        assert refused(read_manifest, ManifestError, tmp_path) is None
