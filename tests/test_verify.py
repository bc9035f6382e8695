"""Any damage to a folder of shards is found and reported with its file."""

import itertools
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from tests.convert.test_damaged_inputs import IN_TMP_PATH, STEPS, damaged
from tests.support.rsna_folder import EDGE, write_rsna
from tests.support.shard_files import write_records
from tfrecords_tools.convert import ConvertOptions, convert
from tfrecords_tools.dataset.manifest import (
    INDEX_NAME,
    MANIFEST_NAME,
    ManifestError,
    file_sha256,
    read_manifest,
    write_manifest,
)
from tfrecords_tools.errors import InputError
from tfrecords_tools.records.schema import decode_example, encode_example
from tfrecords_tools.records.tfrecord import read_records
from tfrecords_tools.verify import VerifyError, verify


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    write_rsna(folder / "rsna", patients=12, test_patients=2)
    options = {"size": EDGE, "split": "0.5,0.25,0.25", "shard_size": 6, "workers": 1}
    convert(folder / "rsna", folder / "shards", ConvertOptions(**options))
    return folder / "shards"


@pytest.fixture
def shards(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "shards")


def faults(folder) -> list[str]:
    with pytest.raises(VerifyError) as caught:
        verify(folder)
    return str(caught.value).splitlines()[1:]


def sealed_again(folder, name: str) -> None:
    """Updates the manifest to a changed file, so that only its content reveals the change."""
    manifest, sha256 = read_manifest(folder), file_sha256(folder / name)
    shards = tuple(replace(x, sha256=sha256) if x.name == name else x for x in manifest.shards)
    tables = {x: sha256 if x == name else old for x, old in manifest.tables.items()}
    write_manifest(folder / MANIFEST_NAME, replace(manifest, shards=shards, tables=tables))


def rewritten(folder, name: str, change) -> list[str]:
    """The faults after the examples of a shard were changed, with valid checksums."""
    examples = [decode_example(record, "zlib") for record in read_records(folder / name)]
    write_records(folder / name, (encode_example(x, "zlib") for x in change(examples)))
    sealed_again(folder, name)
    return faults(folder)


def test_converted_shards_have_no_faults(sound):
    assert verify(sound) == read_manifest(sound)
    assert verify(sound).slices == 42


def test_a_flipped_byte_is_found_wherever_it_is(shards):
    rng = np.random.default_rng(0)
    files = sorted(shards.iterdir())
    assert {path.suffix for path in files} == {".json", ".csv", ".tfrecord"}
    for path in files:
        whole = path.read_bytes()
        places = {0, len(whole) - 1, *map(int, rng.integers(0, len(whole), 3))}
        for place in places:
            damaged = bytearray(whole)
            damaged[place] ^= 1 << rng.integers(8)
            path.write_bytes(damaged)
            with pytest.raises(InputError, match=path.name):
                verify(shards)
        path.write_bytes(whole)
    verify(shards)


def test_a_flipped_byte_is_reported_with_its_record(shards):
    path = shards / "train-00001-of-00003.tfrecord"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    found = faults(shards)
    assert f"{path.name}: its SHA-256 differs from the manifest" in found
    assert any(x.startswith(f"{path.name}: record 5 at byte ") for x in found)


@pytest.mark.parametrize("name", ["val-00000-of-00002.tfrecord", "rejects.csv"])
def test_a_missing_file_is_named(shards, name):
    (shards / name).unlink()
    assert faults(shards) == [f"{name}: is missing"]


@pytest.mark.parametrize("name", [INDEX_NAME, MANIFEST_NAME])
def test_without_index_or_manifest_there_is_one_line(shards, name):
    (shards / name).unlink()
    with pytest.raises(InputError, match=name) as caught:
        verify(shards)
    assert "\n" not in str(caught.value)


def test_swapped_shards_are_both_named(shards):
    first, second = (shards / f"train-0000{number}-of-00003.tfrecord" for number in (0, 2))
    first.rename(shards / "third")
    second.rename(first)
    (shards / "third").rename(second)
    found = faults(shards)
    for path in (first, second):
        assert any(x.startswith(f"{path.name}: its SHA-256") for x in found)
        assert any(x.startswith(f"{path.name}: its slices are not") for x in found)


def test_a_stray_shard_is_named(shards):
    shutil.copy(shards / "train-00000-of-00003.tfrecord", shards / "train-00009-of-00010.tfrecord")
    assert faults(shards) == ["train-00009-of-00010.tfrecord: is not in the manifest"]


def test_a_lost_record_is_found(shards):
    name = "val-00000-of-00002.tfrecord"
    found = rewritten(shards, name, lambda examples: examples[1:])
    records = next(x.records for x in read_manifest(shards).shards if x.name == name)
    assert f"{name}: {records - 1} slices, {records} in the manifest" in found


def test_a_record_that_occurs_twice_is_found(shards):
    found = rewritten(shards, "val-00000-of-00002.tfrecord", lambda x: [*x[:-1], x[0]])
    assert any("occurs twice" in fault for fault in found)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"label": (1, 0, 0, 0, 0, 0)}, "`any` is not the OR of the five labels"),
        ({"label": (1, 1, 1, 1, 1, 1)}, "the label differs from the index"),
        ({"label": None}, "there is no label"),
        ({"study_id": "ID_other"}, "study or patient differ from the index"),
        ({"patient_key": "0" * 16}, "study or patient differ from the index"),
        ({"position_mm": 3.0}, "the position differs from the index"),
        ({"slice_id": "ID_other"}, "the index does not name this slice in this shard"),
        ({"image": np.zeros((EDGE, EDGE, 1), np.uint8)}, r"the image has the shape"),
    ],
)
def test_a_wrong_record_with_correct_checksums_is_found(shards, change, fault):
    name = "train-00000-of-00003.tfrecord"
    found = rewritten(shards, name, lambda x: [x[0], replace(x[1], **change), *x[2:]])
    assert any(x.startswith(f"{name}: record 1: {fault}") for x in found)


def test_a_fault_of_many_records_is_one_line(shards):
    name = "train-00000-of-00003.tfrecord"
    found = rewritten(shards, name, lambda x: [replace(y, position_mm=-1.0) for y in x])
    assert found == [f"{name}: record 0 and 5 more: the position differs from the index"]


def index_after(folder, change) -> list[str]:
    lines = (folder / INDEX_NAME).read_text(encoding="utf-8").splitlines()
    header, *rows = (line.split(",") for line in lines)
    text = "\n".join(",".join(row) for row in [header, *change(rows)]) + "\n"
    (folder / INDEX_NAME).write_text(text, encoding="utf-8")
    sealed_again(folder, INDEX_NAME)
    return faults(folder)


def test_a_patient_in_two_splits_is_found(shards):
    def share(rows):
        train = next(row for row in rows if row[3] == "train")
        val = next(row for row in rows if row[3] == "val")
        return [[*row[:2], train[2], *row[3:]] if row is val else row for row in rows]

    assert any("is in several splits" in fault for fault in index_after(shards, share))


def test_lost_and_duplicated_rows_are_found(shards):
    found = index_after(shards, lambda rows: [rows[1], *rows[1:]])
    assert any(fault.startswith("index.csv: slice ") for fault in found)
    assert any(fault.endswith("that the index names") for fault in found)


@pytest.mark.parametrize("value", ["1e999", "nan", "", "0.5"])
def test_labels_that_are_no_numbers_are_found(shards, value):
    index_after(shards, lambda rows: [[*row[:5], value, *row[6:]] for row in rows])


def test_counts_of_the_manifest_are_compared_with_the_index(shards):
    manifest = read_manifest(shards)
    split = manifest.splits["train"]
    for wrong in (
        replace(split, slices=1),
        replace(split, patients=1),
        replace(split, positives={}),
    ):
        write_manifest(
            shards / MANIFEST_NAME, replace(manifest, splits={**manifest.splits, "train": wrong})
        )
        (fault,) = faults(shards)
        assert fault.startswith("split train: manifest")


def test_a_manifest_of_another_version_says_so(shards):
    write_manifest(shards / MANIFEST_NAME, replace(read_manifest(shards), format_version=99))
    with pytest.raises(ManifestError, match="format version 99, this program reads 2"):
        verify(shards)


def test_a_folder_without_shards_says_what_to_do(tmp_path):
    with pytest.raises(ManifestError, match="no finished shards; let `ich-keras convert` finish"):
        verify(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"format_version": 2}', "\xff"])
def test_an_invalid_manifest_is_refused(tmp_path, text):
    (tmp_path / MANIFEST_NAME).write_text(text, encoding="latin-1")
    with pytest.raises(ManifestError, match=r"damaged .*; convert again"):
        read_manifest(tmp_path)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """One record per shard, so that every byte of every file can be damaged."""
    folder = tmp_path_factory.mktemp("tiny")
    write_rsna(folder / "rsna", patients=2, test_patients=1)
    for path in (folder / "rsna").rglob("*.dcm"):
        if dcmread(path).ImagePositionPatient[2] != 12.5:
            path.unlink()
    options = {"size": 4, "windows": "brain", "shard_size": 1, "workers": 1}
    convert(folder / "rsna", folder / "shards", ConvertOptions(**options))
    verified = verify(folder / "shards")
    assert (len(verified.shards), verified.slices) == (3, 3)
    return folder / "shards"


def each_damage(whole: bytes):
    """Every byte flipped; at every twelfth a cut, a byte that is missing, two that are swapped."""
    for place, byte in enumerate(whole):
        head, tail = whole[:place], whole[place + 1 :]
        yield head + bytes([byte ^ 1 << place % 8]) + tail
        if place % 12 == 0:
            yield head
        if place % 12 == 4:
            yield head + tail
        if place % 12 == 8 and tail and tail[0] != byte:
            yield head + tail[:1] + bytes([byte]) + tail[1:]
    yield whole + b"\n"


@pytest.mark.slow
def test_every_damaged_byte_of_every_file_is_found(tiny):
    assert len(list(tiny.iterdir())) == 3 + 3
    for path in sorted(tiny.iterdir()):
        whole = path.read_bytes()
        for content in each_damage(whole):
            path.write_bytes(content)
            try:
                found = verify(tiny)
            except InputError as error:
                assert path.name in str(error)
            else:
                pytest.fail(f"{path.name}: {found} in spite of {content!r}")
        path.write_bytes(whole)
    verify(tiny)


def test_swapped_shards_and_missing_files_are_named(tiny):
    for path in sorted(tiny.iterdir()):
        whole = path.read_bytes()
        path.unlink()
        with pytest.raises(InputError, match=path.name):
            verify(tiny)
        path.write_bytes(whole)
    shards = sorted(tiny.glob("*.tfrecord"))
    for first, second in itertools.combinations(shards, 2):
        one, other = first.read_bytes(), second.read_bytes()
        first.write_bytes(other)
        second.write_bytes(one)
        with pytest.raises(VerifyError) as caught:
            verify(tiny)
        assert first.name in str(caught.value)
        assert second.name in str(caught.value)
        first.write_bytes(one)
        second.write_bytes(other)


@given(which=st.integers(0, 6), steps=STEPS)
@IN_TMP_PATH
def test_random_damage_to_any_file_is_found(tiny, which, steps):
    paths = sorted(tiny.iterdir())
    path = paths[which % len(paths)]
    whole = path.read_bytes()
    path.write_bytes(damaged(whole, steps))
    try:
        if path.read_bytes() != whole:
            with pytest.raises(InputError, match=path.name):
                verify(tiny)
    finally:
        path.write_bytes(whole)
