"""The deaths of processes that write shards, and the files that are given up for them."""

import json
import logging
import signal
from collections import Counter
from pathlib import Path

from pebble import ProcessExpired

from tfrecords_tools.atomic import write_text
from tfrecords_tools.errors import InputError
from tfrecords_tools.header import DECODER_CRASH
from tfrecords_tools.shard import SECONDS_A_FILE, WORK, file_at_hand, read_work
from tfrecords_tools.storage import ShardPath

GIVEN_UP_NAME = "given_up.json"
DEATHS_A_FILE = 2  # the first may have been chance, or another program's hunger for memory
UNEXPLAINED_DEATHS = 8  # something else is wrong than a file

log = logging.getLogger(__name__)


class ConvertError(InputError):
    """A conversion that cannot go on."""


class Deaths:
    """Counts them by file.

    Attributes:
        given_up: path to reason and detail of the files that are not to be touched any more.
    """

    def __init__(self, folder: Path, out: ShardPath) -> None:
        """Begins with what an earlier attempt has given up.

        Args:
            folder: where shards are written, and noted is what is read.
            out: where they go, and where it is kept what is given up.
        """
        self._folder, self._out, self._file = folder, out, out / WORK / GIVEN_UP_NAME
        self._unexplained: Counter[str | None] = Counter()
        known = read_work(self._file) if self._file.is_file() else {}
        self.given_up: dict[str, tuple[str, str]] = {x: tuple(why) for x, why in known.items()}

    def note(self, shard: str, death: ProcessExpired) -> None:
        """Gives a file up at which processes died again and again.

        Raises:
            ConvertError: if they die whatever the file.
        """
        path = file_at_hand(self._folder, shard)
        self._unexplained[path] += 1
        if path is not None and self._unexplained[path] == DEATHS_A_FILE:
            del self._unexplained[path]
            detail = f"{DEATHS_A_FILE} processes that read it {_how_it_ended(death.exitcode)}"
            log.warning("%s: %s; it is left out", path, detail)
            self.given_up[path] = (DECODER_CRASH, detail)
            write_text(self._file, json.dumps(self.given_up))
        elif self._unexplained.total() >= UNEXPLAINED_DEATHS:
            raise ConvertError(
                f"{self._out}: {UNEXPLAINED_DEATHS} workers died, each at another file, so for want"
                " of memory or by another program; the same command goes on, with fewer --workers"
                " if memory is short"
            )


def _how_it_ended(exit_code: int) -> str:
    name = signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"
    return f"took more than {SECONDS_A_FILE} s" if name == "SIGALRM" else f"were ended by {name}"
