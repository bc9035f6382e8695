"""Crashes of processes that write shards, and the files that are given up because of them."""

import json
import logging
import signal
from pathlib import Path

from pebble import ProcessExpired

from tfrecords_tools.dataset.work import WORK, read_work
from tfrecords_tools.dicom.rejection import DECODER_CRASH
from tfrecords_tools.errors import ConvertError
from tfrecords_tools.storage.atomic import write_text
from tfrecords_tools.storage.shard_path import ShardPath
from tfrecords_tools.writing.shard import decoding_note
from tfrecords_tools.writing.watchdog import SECONDS_PER_FILE, file_at_crash

GIVEN_UP_NAME = "given_up.json"
CRASHES_PER_FILE = 2  # the first may be chance, or another program that needs memory
CRASHES_WITHOUT_PROGRESS = 8  # without a finished shard in between, no single file is to blame

log = logging.getLogger(__name__)


class Crashes:
    """Decides whether a crash is due to a file, is chance, or ends the conversion.

    A file is given up once CRASHES_PER_FILE processes crashed while decoding it. Other crashes only
    cost time, as long as shards are finished: the conversion ends after CRASHES_WITHOUT_PROGRESS
    crashes since the last finished shard. So a long conversion survives any number of rare crashes,
    and one in which every process crashes ends soon.
    """

    def __init__(self, folder: Path, out: ShardPath) -> None:
        """Starts with the files that an earlier attempt gave up, which WORK of `out` lists.

        The notes about decoding are in the local `folder`.
        """
        self._folder, self._out, self._file = folder, out, out / WORK / GIVEN_UP_NAME
        self._without_progress: list[str | None] = []  # the file that each crash occurred at
        self._shards_of: dict[str, list[str]] = {}  # by file, the shard of each crash at it
        for stale in (folder / WORK).glob(decoding_note(folder, "*").name):
            stale.unlink()  # from an attempt that was killed
        known = read_work(self._file) if self._file.is_file() else {}
        # reason and detail of files that are no longer decoded, by path
        self.given_up: dict[str, tuple[str, str]] = {x: tuple(why) for x, why in known.items()}

    def add(self, shard: str, crash: ProcessExpired) -> None:
        """Records that the process that wrote a shard crashed; ConvertError if too many do."""
        path = file_at_crash(decoding_note(self._folder, shard))
        self._without_progress.append(path)
        if path is not None:
            self._shards_of.setdefault(path, []).append(shard)
            if len(self._shards_of[path]) == CRASHES_PER_FILE:
                self._give_up(path, crash)
                return
        if len(self._without_progress) >= CRASHES_WITHOUT_PROGRESS:
            raise ConvertError(
                f"{self._out}: {CRASHES_WITHOUT_PROGRESS} workers died and no shard was finished in"
                " between, because memory is short or another program ended them; the same command"
                " resumes, with fewer --workers if memory is short"
            )
        log.warning(
            "%s: its worker died (%s) %s; the shard is started again",
            *(shard, _signal(crash), f"decoding {path}" if path else "while it decoded no file"),
        )

    def shard_finished(self, shard: str) -> None:
        """Records progress: earlier crashes at files of this shard were chance."""
        self._without_progress.clear()
        for path, shards in list(self._shards_of.items()):
            self._shards_of[path] = [x for x in shards if x != shard]

    def _give_up(self, path: str, crash: ProcessExpired) -> None:
        self._without_progress = [x for x in self._without_progress if x != path]
        ended_by = _signal(crash)
        timed_out = ended_by == "SIGALRM"
        end = f"took more than {SECONDS_PER_FILE} s" if timed_out else f"were ended by {ended_by}"
        detail = f"{CRASHES_PER_FILE} processes that read it {end}"
        log.warning("%s: %s; it is left out", path, detail)
        self.given_up[path] = (DECODER_CRASH, detail)
        write_text(self._file, json.dumps(self.given_up))


def _signal(crash: ProcessExpired) -> str:
    code = crash.exitcode
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
