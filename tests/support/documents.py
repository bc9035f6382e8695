"""What the documents say, to be held against the code."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.paths import ROOT

DOCS = ROOT / "docs"
DOCUMENTS = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(DOCS.rglob("*.md")),
)


class Block(NamedTuple):
    """What stands in a fence.

    Attributes:
        language: as behind the fence.
        title: says what is needed to run it; empty where a test runs it.
        text: the lines.
    """

    language: str
    title: str
    text: str


def blocks(document: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    found = re.findall(
        r'^```(\w*)(?: title="(.*?)")?\n(.*?)^```$',
        document.read_text("utf-8"),
        flags=re.DOTALL | re.MULTILINE,
    )
    return [Block(*parts) for parts in found]


def command_lines(text: str) -> list[str]:
    """The commands of a block, those that go on over several lines joined."""
    joined = text.replace("\\\n", " ")
    return [
        line for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")
    ]


def ich_keras_commands(document: Path) -> Iterator[list[str]]:
    """What follows `ich-keras` in each command, in fences and in the text; an image's too."""
    lines = [line for x in blocks(document) if x.language == "sh" for line in command_lines(x.text)]
    lines += re.findall(r"`(ich-keras [^`]+)`", document.read_text("utf-8"))
    for line in lines:
        words = shlex.split(line, comments=True)
        if "ich-keras" in words and words[:2] != ["docker", "build"]:
            yield words[words.index("ich-keras") + 1 :]


def table(document: str, *header: str) -> list[list[str]]:
    """The cells, row by row, of the table of a document that has this header."""
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in (DOCS / document).read_text("utf-8").splitlines()
    ]
    first = rows.index(list(header)) + 2
    last = next((i for i in range(first, len(rows)) if len(rows[i]) < len(header)), len(rows))
    return rows[first:last]
