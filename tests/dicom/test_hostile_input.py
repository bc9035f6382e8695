"""Hostile files: each gives a slice in HU that a reference confirms, or a rejection."""

import ctypes
import sys
from collections import Counter
from pathlib import Path

import pytest
from pydicom import uid

from tests.fuzzing.fuzz import Groups, fuzz, judge
from tests.fuzzing.hostile_corpus import made_samples, phantom_samples, real_samples
from tests.fuzzing.isolated_reader import CRASHED, HUNG, HUNGRY, Reader, ours
from tests.fuzzing.mutations import bomb, damaged, layout, nested
from tests.support.encoders import LOSSLESS, LOSSY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits by process and by /proc")

NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
)
SEED = 0  # other files are for `make fuzz`
WORKERS = 2


@pytest.fixture(scope="module")
def made() -> Groups:
    return made_samples(), phantom_samples()


@pytest.fixture(scope="module")
def real(realdata: Path) -> Groups:
    return real_samples(realdata)


@pytest.fixture(scope="module")
def reader():
    with Reader() as reader:
        yield reader


def faults(groups: Groups, inputs: int, kept: Path) -> tuple[list[str], Counter[str]]:
    found, counts = [], Counter()
    for finding in fuzz(groups, SEED, range(inputs), WORKERS, kept):
        counts[finding.outcome] += 1
        if finding.is_fault:
            found.append(f"{finding}, kept as {kept / f'{SEED}-{finding.number}.dcm'}")
    return found, counts


@pytest.mark.parametrize("corpus", ["made", "real"])
@pytest.mark.parametrize(
    ("inputs", "outcomes"), [(60, 8), pytest.param(300, 11, marks=pytest.mark.slow)]
)
def test_hostile_files_are_rejected_or_match_a_reference(
    corpus: str,
    inputs: int,
    outcomes: int,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    kept = tmp_path_factory.mktemp("faults")
    found, counts = faults(request.getfixturevalue(corpus), inputs, kept)
    assert not found, "\n".join(found)
    assert counts.total() == inputs
    assert counts["read"] > inputs / 20, "too much damage tells nothing of what is believed"
    assert len(counts) >= outcomes, counts


def test_whole_samples_match_a_reference(made: Groups, reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "sample.dcm"
    for sample in made[0]:
        path.write_bytes(sample.content)
        assert judge(reader, path) == ("read", ""), sample.name


def test_every_transfer_syntax_is_damaged(made: Groups) -> None:
    contents = [sample.content for group in made for sample in group]
    for syntax in {*NATIVE, *(encoder.syntax for encoder in (*LOSSLESS, *LOSSY))}:
        padded = syntax.encode() + b"\0" * (len(syntax) % 2)
        assert any(_syntax(content) == padded for content in contents), syntax


def _syntax(content: bytes) -> bytes:
    element = layout(content).of(0x00020010)
    return content[element.value : element.end] if element else b""


def test_damage_follows_from_seed_and_number(made: Groups) -> None:
    first = [damaged(made, 3, number) for number in range(50)]
    assert first == [damaged(made, 3, number) for number in range(50)]
    assert first != [damaged(made, 4, number) for number in range(50)]


# --- What no chance would make --------------------------------------------------------------


def test_sequences_without_end_are_rejected(made: Groups, reader: Reader, tmp_path: Path) -> None:
    plain = next(x.content for x in made[0] if x.name == "Explicit VR Little Endian")
    place = layout(plain).elements[3].start
    path = tmp_path / "nested.dcm"
    for levels in (100, 10_000, 1_000_000):
        path.write_bytes(plain[:place] + nested(levels, defined=False) + plain[place:])
        assert reader.ask(ours, path).outcome == "not_dicom"
    path.write_bytes(plain[:place] + nested(4000, defined=True) + plain[place:])
    assert reader.ask(ours, path).outcome == "not_dicom"


@pytest.mark.parametrize("gigabytes", [1, 3])
def test_a_deflate_bomb_is_rejected_before_it_is_inflated(
    made: Groups, reader: Reader, tmp_path: Path, gigabytes: int
) -> None:
    plain = next(x.content for x in made[0] if x.name == "Explicit VR Little Endian")
    path = tmp_path / "bomb.dcm"
    path.write_bytes(bomb(plain, gigabytes << 30))
    assert path.stat().st_size < 8 << 20
    answer = reader.ask(ours, path)
    assert answer.outcome in ("not_dicom", "too_large"), answer
    assert answer.megabytes < 700, answer


# --- The reader in its own process ----------------------------------------------------------


def crash(_: Path) -> tuple[str, str]:
    return str(ctypes.string_at(0)), ""


def hang(_: Path) -> tuple[str, str]:
    while True:
        pass


def eat(_: Path) -> tuple[str, str]:
    return "read", str(len(b"\1" * (1100 << 20)))


def ask_too_much(_: Path) -> tuple[str, str]:
    return "read", str(len(b"\1" * (1 << 40)))


@pytest.mark.parametrize(
    ("accident", "outcome"),
    [
        (crash, CRASHED),
        (hang, HUNG),
        (eat, HUNGRY),
        (ask_too_much, "raised MemoryError"),
    ],
)
def test_accidents_are_reported_and_affect_no_other_file(accident, outcome, reader: Reader) -> None:
    assert reader.ask(accident, Path()).outcome == outcome
    assert reader.ask(ours, Path("nowhere/nothing.dcm")).outcome == "raised FileNotFoundError"
