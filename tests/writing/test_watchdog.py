"""Decoding is timed and noted, and nothing else is."""

import signal
import time

from tfrecords_tools.dataset.work import WORK
from tfrecords_tools.writing import watchdog as watchdog_module
from tfrecords_tools.writing.watchdog import file_at_crash, watchdog


def test_between_files_no_path_is_noted_and_no_time_is_limited(tmp_path, monkeypatch):
    """For example while a slow store provides the next file, or receives a record."""
    monkeypatch.setattr(watchdog_module, "SECONDS_PER_FILE", 0.2)
    note = tmp_path / WORK / "note"
    with watchdog(note) as watch:
        with watch.decoding("a.dcm"):
            assert note.read_bytes().startswith(b"a.dcm\0")
            assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 0.2
        time.sleep(0.3)
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
        assert file_at_crash(note) is None
        note.touch()
    assert not note.exists()
