"""Which conversion owns a folder of shards: none yet, this one, or another."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tfrecords_tools.dataset.manifest import (
    INDEX_NAME,
    MANIFEST_NAME,
    REJECTS_NAME,
    Manifest,
    read_manifest,
)
from tfrecords_tools.dataset.work import WORK, read_work
from tfrecords_tools.errors import UsageError
from tfrecords_tools.planning.plan import Plan
from tfrecords_tools.planning.source import Source
from tfrecords_tools.storage.atomic import PARTIAL, write_text
from tfrecords_tools.storage.lock import locked
from tfrecords_tools.storage.shard_path import ShardPath

PLAN_NAME = "plan.json"
LOCK_NAME = "lock"

log = logging.getLogger(__name__)


def check_free(out: ShardPath) -> None:
    """Refuses a folder with foreign files, before the time of a scan is spent."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; choose another --out")
    ours = (out / MANIFEST_NAME).is_file() or (out / WORK).is_dir()
    if out.is_dir() and any(out.iterdir()) and not ours:
        raise UsageError(f"{out}: is not empty and holds no shards; choose another --out")


def check_apart(out: ShardPath, source: Source) -> None:
    """Refuses a folder inside the source, where the shards would be read as input files."""
    for folder in source.folders:
        if isinstance(out, Path) and out.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{out}: is inside {folder}, which is read; choose another --out")


@contextmanager
def only_writer(out: ShardPath) -> Iterator[None]:
    """Locks the folder against a second conversion; object stores have no locks."""
    if not isinstance(out, Path):
        yield
        return
    created = not out.exists()
    (out / WORK).mkdir(parents=True, exist_ok=True)
    message = f"{out}: another conversion is writing here; wait for its end, or give another --out"
    with locked(out / WORK / LOCK_NAME, message):
        try:
            yield
        finally:
            with suppress(OSError):  # a folder that holds more than the lock stays
                (out / WORK / LOCK_NAME).unlink()
                (out / WORK).rmdir()
                if created:
                    out.rmdir()


def claim(out: ShardPath, plan: Plan, *, fresh: bool) -> Manifest | None:
    """Claims a folder for a plan; returns its manifest if nothing is left to do, otherwise None.

    An unfinished conversion of the plan is resumed; `fresh` removes what another left. Raises
    UsageError if the folder holds finished or unfinished shards of another plan.
    """
    if not plan.existing.is_empty:
        return _claim_addition(out, plan)
    if fresh and out.is_dir() and _read_claim(out) != _claim(plan) and not _holds(out, plan):
        _clear(out)
    if _holds(out, plan):
        log.info("%s: is complete already, nothing to do", out)
        return read_manifest(out)
    if (out / MANIFEST_NAME).is_file():
        raise UsageError(
            f"{out}: holds shards of other data or options; choose another --out, or give --fresh"
            " to replace them"
        )
    found = _read_claim(out)
    if found is None:
        _write_claim(out, plan)
    elif found != _claim(plan):
        same = found["fingerprint"] == plan.fingerprint
        cause = "files that were written again since" if same else "other data or options"
        raise UsageError(
            f"{out}: was begun with {cause}; choose another --out, or give --fresh to start again"
        )
    return None


def _claim_addition(out: ShardPath, plan: Plan) -> Manifest | None:
    """Claims the folder for more shards, and removes what is left of another addition."""
    if plan.changes_nothing:
        log.info("%s: holds all of this already, nothing to add", out)
        return plan.existing.manifest
    if _read_claim(out) == _claim(plan):
        return None
    known = {shard.name for shard in plan.existing.manifest.shards}
    unfinished = [path for path in out.glob("*.tfrecord") if path.name not in known]
    for path in (*unfinished, *out.glob(f"{PARTIAL}*")):
        path.unlink()
    if unfinished:
        log.info("%s: removed %d shards of an unfinished addition", out, len(unfinished))
    texts = plan.existing.texts
    for name, text in texts.items():  # that addition may have replaced them
        if not (out / name).is_file() or (out / name).read_text(encoding="utf-8") != text:
            write_text(out / name, text)
    if (out / WORK).is_dir():
        _clear_work(out)
    for name, text in texts.items():
        write_text(out / WORK / name, text)
    _write_claim(out, plan)
    return None


def _clear(out: ShardPath) -> None:
    _clear_work(out)
    for name in (MANIFEST_NAME, INDEX_NAME, REJECTS_NAME):
        (out / name).unlink(missing_ok=True)
    for path in (*out.glob("*.tfrecord"), *out.glob(f"{PARTIAL}*")):
        path.unlink()


def _clear_work(out: ShardPath) -> None:
    for path in (out / WORK).iterdir():
        if path.name != LOCK_NAME:
            path.unlink()


def _holds(out: ShardPath, plan: Plan) -> bool:
    """Whether the folder holds the finished shards of this plan."""
    complete = (out / MANIFEST_NAME).is_file()
    return complete and read_manifest(out).fingerprint == plan.fingerprint


def _claim(plan: Plan) -> dict[str, str]:
    return {"fingerprint": plan.fingerprint, "sources": plan.sources}


def _read_claim(out: ShardPath) -> dict[str, str] | None:
    path = out / WORK / PLAN_NAME
    return read_work(path) if path.is_file() else None


def _write_claim(out: ShardPath, plan: Plan) -> None:
    write_text(out / WORK / PLAN_NAME, json.dumps(_claim(plan)))
