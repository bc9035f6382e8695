"""Which deaths of workers are a file's fault, which are chance, and which end a conversion."""

import os
import signal
import time
from pathlib import Path

import pytest
from pebble import ProcessExpired

from tfrecords_tools.dataset.work import WORK
from tfrecords_tools.engines.crashes import UNEXPLAINED_DEATHS, Deaths
from tfrecords_tools.errors import ConvertError
from tfrecords_tools.writing import watchdog as decoding_module
from tfrecords_tools.writing.shard import decoding_note
from tfrecords_tools.writing.watchdog import decoded_at_death, decoding_watch

KILLED = ProcessExpired("killed", code=-signal.SIGKILL)


@pytest.fixture
def out(tmp_path) -> Path:
    (tmp_path / WORK).mkdir()
    return tmp_path


def kill_while_decoding(note: Path, file: str) -> None:
    """A real process notes the file and is killed."""
    child = os.fork()
    if not child:
        with decoding_watch(note) as decoding, decoding(file):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def die(out: Path, deaths: Deaths, shard: str, file: str | None = None) -> None:
    """A process that writes a shard dies, as it decodes a file or does anything else."""
    if file is not None:
        kill_while_decoding(decoding_note(out, shard), file)
    deaths.note(shard, KILLED)


@pytest.mark.parametrize("file", [None, "a{}.dcm"], ids=["no file", "another file each"])
def test_deaths_without_progress_end_it(out, file):
    deaths = Deaths(out, out)
    for number in range(UNEXPLAINED_DEATHS - 1):
        die(out, deaths, f"s{number}", file and file.format(number))
    with pytest.raises(ConvertError, match=r"8 workers died and no shard was finished in between"):
        die(out, deaths, "last", file and file.format("last"))


@pytest.mark.slow
def test_any_number_of_deaths_is_borne_while_shards_are_finished(out):
    deaths = Deaths(out, out)
    for number in range(10 * UNEXPLAINED_DEATHS):
        for attempt in range(UNEXPLAINED_DEATHS - 1):
            die(out, deaths, f"s{number}", f"{number}-{attempt}.dcm" if attempt % 2 else None)
        deaths.finished(f"s{number}")
    assert deaths.given_up == {}


def test_a_file_that_kills_its_decoder_is_given_up_however_many_others_are_finished(out):
    deaths = Deaths(out, out)
    die(out, deaths, "s0", "bad.dcm")
    for number in range(1, 20):
        deaths.finished(f"s{number}")
    die(out, deaths, "s0", "bad.dcm")
    detail = "2 processes that read it were ended by SIGKILL"
    assert deaths.given_up == {"bad.dcm": ("decoder_crash", detail)}
    assert Deaths(out, out).given_up == deaths.given_up


def test_files_that_are_given_up_do_not_count_as_unexplained(out):
    deaths = Deaths(out, out)
    for number in range(3 * UNEXPLAINED_DEATHS):
        die(out, deaths, "s0", f"bad{number}.dcm")
        die(out, deaths, "s0", f"bad{number}.dcm")
    assert len(deaths.given_up) == 3 * UNEXPLAINED_DEATHS


def test_a_death_that_its_shard_survived_was_chance(out):
    """Neighbours are decoded for several shards; two chance deaths are not the file's fault."""
    deaths = Deaths(out, out)
    die(out, deaths, "s0", "good.dcm")
    deaths.finished("s0")
    die(out, deaths, "s1", "good.dcm")
    assert deaths.given_up == {}


def test_a_file_is_not_blamed_for_the_next_process_or_an_earlier_attempt(out):
    """A process may die before it decodes anything, as where there is no memory to start it."""
    deaths = Deaths(out, out)
    die(out, deaths, "s0", "good.dcm")
    die(out, deaths, "s0")
    assert deaths.given_up == {}
    kill_while_decoding(decoding_note(out, "s1"), "good.dcm")
    again = Deaths(out, out)
    die(out, again, "s1")
    die(out, again, "s1", "good.dcm")
    assert again.given_up == {}


def test_between_files_nothing_is_noted_and_nothing_is_timed(tmp_path, monkeypatch):
    """As while a slow store gives the next one, or takes a record."""
    monkeypatch.setattr(decoding_module, "SECONDS_A_FILE", 0.2)
    note = tmp_path / WORK / "note"
    with decoding_watch(note) as decoding:
        with decoding("a.dcm"):
            assert note.read_bytes().startswith(b"a.dcm\0")
            assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 0.2
        time.sleep(0.3)
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
        assert decoded_at_death(note) is None
        note.touch()
    assert not note.exists()
