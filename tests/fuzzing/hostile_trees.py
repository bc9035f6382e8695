"""Folders that hold whole slices among spoilt archives, links, pipes and odd names.

Seed and number determine a folder, so findings can be reproduced.
"""

import io
import os
import random
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.fuzzing.mutations import IDENTIFIERS, cut, delete, flip, insert, overwrite, repeat
from tests.support.archives import CRC, FLAGS, METHOD, UNPACKED, slice_bytes, with_entry, zipped

SLICES = 4  # of a study, in a folder or an archive
DAMAGES = (cut, delete, flip, insert, overwrite, repeat)
SYSTEM_NAMES = (".DS_Store", "Thumbs.db", "DICOMDIR", "._1.dcm", "__MACOSX/1.dcm")
ENCODINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)

Part = Callable[[Path, random.Random, str], set[str]]


def make_tree(folder: Path, seed: int, number: int) -> set[str]:
    """Makes a folder; returns the slices in it that nothing excuses from being answered."""
    rng = random.Random(f"{seed} {number}")
    due = whole_folder(folder, rng, "whole")
    for place in range(rng.randint(1, 4)):
        due |= rng.choice(PARTS)(folder, rng, f"part{place}")
    return due


def study(name: str) -> dict[str, bytes]:
    """The slices of a study by their file names; their ids are `ID_<name>_<i>`."""
    return {f"{i}.dcm": slice_bytes(i, f"ID_{name}", f"ID_{name}_{i}") for i in range(SLICES)}


def ids(name: str) -> set[str]:
    return {f"ID_{name}_{i}" for i in range(SLICES)}


# --- Parts whose slices are due -----------------------------------------------------------------


def whole_folder(folder: Path, rng: random.Random, name: str) -> set[str]:
    inside = folder.joinpath(name, *["deeper"] * rng.choice((0, 1, 30)))
    inside.mkdir(parents=True)
    for file, content in study(name).items():
        (inside / file).write_bytes(content)
    return ids(name)


def strange_names(folder: Path, rng: random.Random, name: str) -> set[str]:
    """In an archive; some of them are equal, and none becomes a path."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")  # of equal names
        for content in study(name).values():
            archive.writestr(rng.choice(IDENTIFIERS)[:60_000] or "x", content)
    (folder / f"{name}.zip").write_bytes(file.getvalue())
    return ids(name)


def beside_bytes(folder: Path, rng: random.Random, name: str) -> set[str]:
    """An archive behind a program that unpacks it."""
    content = b"MZ" + rng.randbytes(rng.randrange(3000)) + zipped(study(name))
    (folder / f"{name}.exe").write_bytes(content)
    return ids(name)


def one_bad_member(folder: Path, rng: random.Random, name: str) -> set[str]:
    place, size = rng.choice(((FLAGS, 1), (METHOD, 2), (CRC, 4), (UNPACKED, 3)))
    spoilt, content = rng.randrange(SLICES), zipped(study(name))
    value = rng.randrange(1, 1 << 8 * size) | (place == FLAGS)
    (folder / f"{name}.zip").write_bytes(with_entry(content, spoilt, place, value, size))
    return ids(name) - {f"ID_{name}_{spoilt}"}


def links(folder: Path, rng: random.Random, name: str) -> set[str]:
    whole_folder(folder, rng, name)
    for number, target in enumerate((name, "nowhere", "..", f"link{name}0", "/dev/zero", "/")):
        (folder / f"link{name}{number}").symlink_to(target)
    return ids(name)


def system_files(folder: Path, rng: random.Random, name: str) -> set[str]:
    content = {x: rng.randbytes(40) for x in SYSTEM_NAMES} | {"empty/": b"", "back\\": b""}
    (folder / f"{name}.zip").write_bytes(zipped(content | study(name)))
    return ids(name)


# --- Parts that excuse everything in them -------------------------------------------------------


def damaged_archive(folder: Path, rng: random.Random, name: str) -> set[str]:
    content = zipped(study(name), rng.choice(ENCODINGS))
    for _ in range(rng.choice((1, 1, 2, 5))):
        directory = max(content.find(b"PK\1\2"), 0)  # where one byte means much
        place = directory if rng.random() < 0.6 else 0
        content = content[:place] + _damaged(content[place:], rng)
    (folder / f"{name}.zip").write_bytes(content)
    return set()


def _damaged(content: bytes, rng: random.Random) -> bytes:
    return rng.choice(DAMAGES)(content, rng, b"") if content else b""


def other_archives(folder: Path, rng: random.Random, name: str) -> set[str]:
    file = io.BytesIO()
    mode = rng.choice(("w", "w:gz", "w:bz2", "w:xz"))
    with tarfile.open(fileobj=file, mode=mode) as archive:
        archive.addfile(tarfile.TarInfo("x.dcm"), io.BytesIO(b""))
    inner = {"inner.zip": zipped(study(name)), "inner.tar": file.getvalue()}
    (folder / f"{name}.tar").write_bytes(rng.choice((file.getvalue(), b"7z\xbc\xaf\x27\x1c")))
    (folder / f"{name}.zip").write_bytes(zipped(inner, rng.choice(ENCODINGS)))
    return set()


def bomb(folder: Path, rng: random.Random, name: str) -> set[str]:
    content = zipped({str(i): bytes(1 << 20) for i in range(8)})
    for i in range(rng.randrange(9)):
        content = with_entry(content, i, UNPACKED, rng.choice((1, 100, 255 << 20, 2**32 - 2)), 4)
    (folder / f"{name}.zip").write_bytes(content)
    return set()


def special_files(folder: Path, rng: random.Random, name: str) -> set[str]:
    os.mkfifo(folder / f"{name}.pipe")
    (folder / f"{name}.empty").write_bytes(b"")
    with (folder / f"{name}.sparse").open("wb") as file:
        file.truncate(rng.choice((1, 132, 1 << 20, 1 << 33)))
    for odd in ("\udcff\udcfe", "a\nb", "=1+1", "x" * 250, "PK", " "):
        (folder / f"{odd}{name[-1]}"[-255:]).write_bytes(rng.choice((b"PK\5\6", b"PK\3\4", b"x")))
    return set()


def damaged_slices(folder: Path, rng: random.Random, name: str) -> set[str]:
    for file, content in study(name).items():
        (folder / f"{name}{file}").write_bytes(_damaged(content, rng))
    return set()


PARTS: tuple[Part, ...] = (
    whole_folder,
    strange_names,
    beside_bytes,
    one_bad_member,
    links,
    system_files,
    *(damaged_archive,) * 6,
    other_archives,
    bomb,
    special_files,
    damaged_slices,
)
