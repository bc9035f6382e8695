"""Many hostile folders and archives: `python -m tests.fuzzing.fuzz_trees --help`."""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.fuzzing.hostile_trees import make_tree
from tests.fuzzing.isolated_reader import Reader
from tests.fuzzing.tree_judge import DUE, TREE, judge
from tfrecords_tools.progress import progress


class Finding(NamedTuple):
    """The outcome of a hostile folder: `answered`, or a fault."""

    number: int
    outcome: str
    detail: str
    cpu_seconds: float


def fuzz_trees(seed: int, numbers: Iterable[int]) -> Iterator[Finding]:
    """Reads hostile folders, each in a process of its own."""
    with Reader() as reader:
        for number in numbers:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                (folder / TREE).mkdir()
                due = make_tree(folder / TREE, seed, number)
                (folder / DUE).write_text(json.dumps(sorted(due)))
                answer = reader.ask(judge, folder)
            yield Finding(number, answer.outcome, answer.detail, answer.cpu_seconds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing.fuzz_trees")
    parser.add_argument("--inputs", type=int, default=2_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    slowest = 0.0
    numbers = range(given.first, given.first + given.inputs)
    found = fuzz_trees(given.seed, numbers)
    for finding in progress(found, total=len(numbers), desc="fuzz", unit="folder"):
        counts[finding.outcome] += 1
        slowest = max(slowest, finding.cpu_seconds)
        if finding.outcome != "answered":
            print(*finding, sep=": ", flush=True)
    print(*(f"{count:7} {outcome}" for outcome, count in counts.most_common()), sep="\n")
    print(f"the slowest took {slowest:.2f} s of processor time")
    raise SystemExit(counts.total() > counts["answered"])


if __name__ == "__main__":
    main()
