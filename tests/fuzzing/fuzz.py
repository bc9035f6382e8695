"""Many hostile files: `python -m tests.fuzzing.fuzz --help`."""

import argparse
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from tests.fuzzing.hostile_corpus import made_samples, phantom_samples, real_samples
from tests.fuzzing.isolated_reader import Reader, gdcm, itk, openjph, ours
from tests.fuzzing.mutations import Sample, damaged
from tests.support.paths import REALDATA
from tfrecords_tools.dicom.rejection import REASONS
from tfrecords_tools.progress import progress

REFERENCES = (gdcm, itk, openjph)
EXCUSED = "read, HU not compared"
Groups = tuple[tuple[Sample, ...], ...]


class Finding(NamedTuple):
    """The outcome of a hostile file.

    Attributes:
        number: number of the file.
        name: of its sample and its damage.
        outcome: `read`, EXCUSED, a reason for rejection, or a fault.
        detail: about the outcome.
    """

    number: int
    name: str
    outcome: str
    detail: str

    @property
    def is_fault(self) -> bool:
        return self.outcome not in ("read", EXCUSED, *REASONS)


def fuzz(
    groups: Groups, seed: int, numbers: Iterable[int], workers: int, kept: Path
) -> Iterator[Finding]:
    """Reads hostile files, and compares those that are accepted with other decoders.

    Args:
        groups: of samples, drawn with equal probability.
        seed: of the damage.
        numbers: of the files.
        workers: processes that read.
        kept: folder for the files that show a fault.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        readers: SimpleQueue[Reader] = SimpleQueue()
        for _ in range(workers):
            readers.put(stack.enter_context(Reader()))

        def judged(number: int) -> Finding:
            reader = readers.get()
            hostile = damaged(groups, seed, number)
            path = folder / f"{seed}-{number}.dcm"
            path.write_bytes(hostile.content)
            finding = Finding(number, hostile.name, *judge(reader, path))
            if finding.is_fault:
                kept.mkdir(parents=True, exist_ok=True)
                (kept / path.name).write_bytes(hostile.content)
            path.unlink()
            readers.put(reader)
            return finding

        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(judged, numbers)


def judge(reader: Reader, path: Path) -> tuple[str, str]:
    """Outcome of a file and its detail; if it is read, a reference must read the same."""
    answer = reader.ask(ours, path)
    if answer.outcome != "read":
        return answer.outcome, answer.detail
    answers = {reference.__name__: reader.ask(reference, path) for reference in REFERENCES}
    if any(x.outcome == "equal" for x in answers.values()):
        return "read", ""
    excuse = next((x.detail for x in answers.values() if x.outcome == "excused"), None)
    if excuse:
        return EXCUSED, excuse
    said = "; ".join(f"{name} {x.outcome}: {x.detail}" for name, x in answers.items())
    others = any(x.outcome == "other" for x in answers.values())
    return ("other HU" if others else "believed alone"), said


def all_groups() -> Groups:
    """Synthetic, phantom and, if available, real samples."""
    real = real_samples(REALDATA) if REALDATA.is_dir() else ()
    return (made_samples(), phantom_samples(), *real)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing.fuzz")
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--kept", type=Path, default=Path("fuzz-findings"), help="files with faults"
    )
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of samples that somebody else has damaged
    groups = all_groups()
    print("samples:", " + ".join(str(len(group)) for group in groups))
    counts: Counter[str] = Counter()
    faults = 0
    numbers = range(given.first, given.first + given.inputs)
    found = fuzz(groups, given.seed, numbers, given.workers, given.kept)
    for finding in progress(found, total=len(numbers), desc="fuzz", unit="file"):
        counts[finding.outcome] += 1
        if finding.is_fault:
            faults += 1
            print(*finding, sep=": ", flush=True)
    print(*(f"{count:7} {outcome}" for outcome, count in counts.most_common()), sep="\n")
    raise SystemExit(faults > 0)


if __name__ == "__main__":
    main()
