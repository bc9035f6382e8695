"""Which crashes of workers are due to a file, which are chance, and which end a conversion."""

import os
import signal
from pathlib import Path

import pytest
from pebble import ProcessExpired

from tfrecords_tools.dataset.work import WORK
from tfrecords_tools.engines.crashes import CRASHES_WITHOUT_PROGRESS, Crashes
from tfrecords_tools.errors import ConvertError
from tfrecords_tools.writing.shard import decoding_note
from tfrecords_tools.writing.watchdog import watchdog

KILLED = ProcessExpired("killed", code=-signal.SIGKILL)


@pytest.fixture
def out(tmp_path) -> Path:
    (tmp_path / WORK).mkdir()
    return tmp_path


def kill_while_decoding(note: Path, file: str) -> None:
    """A real process notes the file and is killed."""
    child = os.fork()
    if not child:
        with watchdog(note) as watch, watch.decoding(file):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def crash(out: Path, crashes: Crashes, shard: str, file: str | None = None) -> None:
    """A process that writes a shard dies while it decodes a file, or does anything else."""
    if file is not None:
        kill_while_decoding(decoding_note(out, shard), file)
    crashes.add(shard, KILLED)


@pytest.mark.parametrize("file", [None, "a{}.dcm"], ids=["no file", "another file each"])
def test_crashes_without_progress_end_the_conversion(out, file):
    crashes = Crashes(out, out)
    for number in range(CRASHES_WITHOUT_PROGRESS - 1):
        crash(out, crashes, f"s{number}", file and file.format(number))
    with pytest.raises(ConvertError, match=r"8 workers died and no shard was finished in between"):
        crash(out, crashes, "last", file and file.format("last"))


@pytest.mark.slow
def test_any_number_of_crashes_is_tolerated_while_shards_are_finished(out):
    crashes = Crashes(out, out)
    for number in range(10 * CRASHES_WITHOUT_PROGRESS):
        for attempt in range(CRASHES_WITHOUT_PROGRESS - 1):
            crash(out, crashes, f"s{number}", f"{number}-{attempt}.dcm" if attempt % 2 else None)
        crashes.shard_finished(f"s{number}")
    assert crashes.given_up == {}


def test_a_file_that_crashes_its_decoder_is_given_up_even_if_other_shards_are_finished(out):
    crashes = Crashes(out, out)
    crash(out, crashes, "s0", "bad.dcm")
    for number in range(1, 20):
        crashes.shard_finished(f"s{number}")
    crash(out, crashes, "s0", "bad.dcm")
    detail = "2 processes that read it were ended by SIGKILL"
    assert crashes.given_up == {"bad.dcm": ("decoder_crash", detail)}
    assert Crashes(out, out).given_up == crashes.given_up


def test_files_that_are_given_up_do_not_count_as_unexplained(out):
    crashes = Crashes(out, out)
    for number in range(3 * CRASHES_WITHOUT_PROGRESS):
        crash(out, crashes, "s0", f"bad{number}.dcm")
        crash(out, crashes, "s0", f"bad{number}.dcm")
    assert len(crashes.given_up) == 3 * CRASHES_WITHOUT_PROGRESS


def test_a_crash_that_its_shard_survived_was_chance(out):
    """Neighbours are decoded for several shards; two chance crashes are not due to the file."""
    crashes = Crashes(out, out)
    crash(out, crashes, "s0", "good.dcm")
    crashes.shard_finished("s0")
    crash(out, crashes, "s1", "good.dcm")
    assert crashes.given_up == {}


def test_a_file_is_not_blamed_for_crashes_of_the_next_process_or_an_earlier_attempt(out):
    """A process may die before it decodes anything, for example for lack of memory."""
    crashes = Crashes(out, out)
    crash(out, crashes, "s0", "good.dcm")
    crash(out, crashes, "s0")
    assert crashes.given_up == {}
    kill_while_decoding(decoding_note(out, "s1"), "good.dcm")
    again = Crashes(out, out)
    crash(out, again, "s1")
    crash(out, again, "s1", "good.dcm")
    assert again.given_up == {}
