"""The deaths of processes that write shards, and the files that are given up for them."""

import json
import logging
import signal
from pathlib import Path

from pebble import ProcessExpired

from tfrecords_tools.dataset.work import WORK, read_work
from tfrecords_tools.dicom.refusal import DECODER_CRASH
from tfrecords_tools.errors import ConvertError
from tfrecords_tools.storage.atomic import write_text
from tfrecords_tools.storage.shard_path import ShardPath
from tfrecords_tools.writing.shard import decoding_note
from tfrecords_tools.writing.watchdog import SECONDS_A_FILE, decoded_at_death

GIVEN_UP_NAME = "given_up.json"
DEATHS_A_FILE = 2  # the first may have been chance, or another program's hunger for memory
UNEXPLAINED_DEATHS = 8  # without a finished shard in between: something else than a file is wrong

log = logging.getLogger(__name__)


class Deaths:
    """Decides whether a death is a file's fault, chance, or the end of the conversion.

    A file at whose decoding DEATHS_A_FILE processes died is given up. A death that no file
    explains costs nothing but time, as long as shards are finished: the conversion ends once
    UNEXPLAINED_DEATHS processes have died since the last finished shard. So a long conversion
    survives any number of rare deaths, and one in which every process dies ends soon.

    Attributes:
        given_up: path to reason and detail of the files that are not decoded any more.
    """

    def __init__(self, folder: Path, out: ShardPath) -> None:
        """Begins with the files that an earlier attempt has given up.

        Args:
            folder: where shards and notes of decoded files are written.
            out: where shards go; the files that are given up are kept in its WORK.
        """
        self._folder, self._out, self._file = folder, out, out / WORK / GIVEN_UP_NAME
        self._without_progress: list[str | None] = []  # the decoded file of each death
        self._shards_of: dict[str, list[str]] = {}  # file to the shard of each death at it
        for stale in (folder / WORK).glob(decoding_note(folder, "*").name):
            stale.unlink()  # of an attempt that was killed
        known = read_work(self._file) if self._file.is_file() else {}
        self.given_up: dict[str, tuple[str, str]] = {x: tuple(why) for x, why in known.items()}

    def note(self, shard: str, death: ProcessExpired) -> None:
        """Notes that the process that wrote a shard died.

        Raises:
            ConvertError: if processes die and no shard is finished any more.
        """
        path = decoded_at_death(decoding_note(self._folder, shard))
        self._without_progress.append(path)
        if path is not None:
            self._shards_of.setdefault(path, []).append(shard)
            if len(self._shards_of[path]) == DEATHS_A_FILE:
                self._give_up(path, death)
                return
        if len(self._without_progress) >= UNEXPLAINED_DEATHS:
            raise ConvertError(
                f"{self._out}: {UNEXPLAINED_DEATHS} workers died and no shard was finished in"
                " between, so for want of memory or by another program; the same command goes on,"
                " with fewer --workers if memory is short"
            )
        log.warning(
            "%s: its worker died (%s) %s; the shard is started again",
            *(shard, _signal(death), f"decoding {path}" if path else "while it decoded no file"),
        )

    def finished(self, shard: str) -> None:
        """Notes that a shard is finished: deaths that its files seemed to cause were chance."""
        self._without_progress.clear()
        for path, shards in list(self._shards_of.items()):
            self._shards_of[path] = [x for x in shards if x != shard]

    def _give_up(self, path: str, death: ProcessExpired) -> None:
        self._without_progress = [x for x in self._without_progress if x != path]
        detail = f"{DEATHS_A_FILE} processes that read it {_how_it_ended(death)}"
        log.warning("%s: %s; it is left out", path, detail)
        self.given_up[path] = (DECODER_CRASH, detail)
        write_text(self._file, json.dumps(self.given_up))


def _how_it_ended(death: ProcessExpired) -> str:
    name = _signal(death)
    return f"took more than {SECONDS_A_FILE} s" if name == "SIGALRM" else f"were ended by {name}"


def _signal(death: ProcessExpired) -> str:
    code = death.exitcode
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
