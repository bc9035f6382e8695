"""Whose a folder of shards is: nobody's yet, this conversion's, or another's."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from tfrecords_tools.dataset.existing import Standing
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
from tfrecords_tools.planning.scan import Source
from tfrecords_tools.storage.atomic import PARTIAL, write_text
from tfrecords_tools.storage.shard_path import ShardPath

PLAN_NAME = "plan.json"
LOCK_NAME = "lock"

log = logging.getLogger(__name__)


def check_free(out: ShardPath) -> None:
    """Refuses what is not ours, before the time that a scan takes is spent."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; choose another --out")
    ours = (out / MANIFEST_NAME).is_file() or (out / WORK).is_dir()
    if out.is_dir() and any(out.iterdir()) and not ours:
        raise UsageError(f"{out}: is not empty and holds no shards; choose another --out")


def check_apart(out: ShardPath, source: Source) -> None:
    """Refuses an output among the files that are read: its shards would be taken for some."""
    for folder in source.folders:
        if isinstance(out, Path) and out.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{out}: lies within {folder}, which is read; choose another --out")


@contextmanager
def only_writer(out: ShardPath) -> Iterator[None]:
    """Keeps a second conversion from the same folder; an object store knows no locks."""
    if not isinstance(out, Path):
        yield
        return
    made = not out.exists()
    (out / WORK).mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / WORK / LOCK_NAME, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(
            f"{out}: another conversion is writing here; wait for its end, or choose another --out"
        ) from None
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):  # where more than the lock is left, so is the folder
            (out / WORK / LOCK_NAME).unlink()
            (out / WORK).rmdir()
            if made:
                out.rmdir()


def clear(out: ShardPath, plan: Plan) -> None:
    """Removes what another conversion has left; what this one has begun stays."""
    if not out.is_dir() or _claim(out) == _claim_of(plan) or _is_of(out, plan):
        return
    _clear_work(out)
    for name in (MANIFEST_NAME, INDEX_NAME, REJECTS_NAME):
        (out / name).unlink(missing_ok=True)
    for path in (*out.glob("*.tfrecord"), *out.glob(f"{PARTIAL}*")):
        path.unlink()


def _clear_work(out: ShardPath) -> None:
    for path in (out / WORK).iterdir():
        if path.name != LOCK_NAME:
            path.unlink()


def _is_of(out: ShardPath, plan: Plan) -> bool:
    """Whether the folder holds the finished shards of this plan."""
    complete = (out / MANIFEST_NAME).is_file()
    return complete and read_manifest(out).fingerprint == plan.fingerprint


def finished(out: ShardPath, plan: Plan) -> Manifest | None:
    """The manifest of a folder that is complete already."""
    if not (out / MANIFEST_NAME).is_file():
        return None
    if not _is_of(out, plan):
        raise UsageError(
            f"{out}: holds shards of other data or options; choose another --out, or give --fresh"
            " to replace them"
        )
    log.info("%s: is complete already, nothing to do", out)
    return read_manifest(out)


def _claim_of(plan: Plan) -> dict[str, str]:
    return {"fingerprint": plan.fingerprint, "sources": plan.sources}


def _claim(out: ShardPath) -> dict[str, str] | None:
    """Of which plan and files the conversion is that was begun here."""
    path = out / WORK / PLAN_NAME
    return read_work(path) if path.is_file() else None


def begin(out: ShardPath, plan: Plan) -> None:
    """Claims the folder, or finds it claimed by this very conversion."""
    claim = _claim(out)
    if claim is None:
        (out / WORK).mkdir(parents=True, exist_ok=True)
        write_text(out / WORK / PLAN_NAME, json.dumps(_claim_of(plan)))
    elif claim != _claim_of(plan):
        same = claim["fingerprint"] == plan.fingerprint
        what = "files that were written anew since" if same else "other data or options"
        raise UsageError(
            f"{out}: was begun with {what}; choose another --out, or give --fresh to start anew"
        )


def begin_addition(out: ShardPath, plan: Plan, standing: Standing) -> None:
    """Claims the folder for more shards; what is left of an addition of other files is removed."""
    if _claim(out) == _claim_of(plan):
        return
    known = {shard.name for shard in standing.manifest.shards}
    left = [path for path in out.glob("*.tfrecord") if path.name not in known]
    for path in (*left, *out.glob(f"{PARTIAL}*")):
        path.unlink()
    if left:
        log.info("%s: %d shards of an addition that did not end are removed", out, len(left))
    for name, text in standing.texts.items():  # that addition may have replaced them
        if not (out / name).is_file() or (out / name).read_text(encoding="utf-8") != text:
            write_text(out / name, text)
    if (out / WORK).is_dir():
        _clear_work(out)
    for name, text in standing.texts.items():
        write_text(out / WORK / name, text)
    write_text(out / WORK / PLAN_NAME, json.dumps(_claim_of(plan)))
