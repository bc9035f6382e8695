"""The folder of a run: the paths of its files, and its input."""

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ich_keras.data.network_input import NetworkInput, network_input_from_json
from tfrecords_tools.dataset.manifest import read_manifest
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.storage.atomic import write_text
from tfrecords_tools.storage.shard_path import shard_path

log = logging.getLogger(__name__)

NOTICE_NAME = "notice.txt"


class RunError(InputError):
    """A run folder that is incomplete, or holds another run."""


@dataclass(frozen=True)
class RunInput:
    """What the network was trained on; the content of `input.json`."""

    network: NetworkInput  # size, windows and neighbours of its slices
    shards: str | None  # None if they were not kept, as those of a shipped network
    fingerprint: str


class RunFolder:
    """The files of one run, whose folder need not exist yet.

    `results` is where scores, figures and exports of the run go, by default into its folder.
    """

    def __init__(self, path: Path, results: Path | None = None) -> None:
        self.path = path
        self.results = results or path
        self.experiment = path / "experiment.yaml"
        self.environment = path / "environment.json"
        self.input = path / "input.json"
        self.history = path / "history.csv"
        self.best = path / "best.keras"
        self.last = path / "last"
        self.position = self.last / "position.json"
        self.tensorboard = path / "tensorboard"
        self.card = path / "README.md"
        self.figures = self.results / "figures"
        self.evaluation = self.results / "evaluation"
        self.comparisons = self.results / "comparisons"
        self.report = self.results / "report.html"

    def fitted(self, size: int) -> Path:
        """Postprocessing fitted on validation slices of that size."""
        return self.path / "fitted" / f"{size}.json"

    def page(self, name: str, number: int) -> Path:
        """The page of a study among those with the worst errors, by the name of the scores."""
        return self.evaluation / f"{name}_pages" / f"study_{number:03d}.html"

    def pages(self, name: str) -> list[Path]:
        """All such pages that exist."""
        return sorted(self.page(name, 1).parent.glob("study_*.html"))

    @property
    def notice(self) -> str:
        """What every answer of the network has to say, from `notice.txt`; empty without one."""
        path = self.path / NOTICE_NAME
        return path.read_text("utf-8").strip() if path.is_file() else ""


def trained_run(path: Path) -> RunFolder:
    """The run in a folder that `fit` wrote; UsageError if what predictions need is missing."""
    run = RunFolder(path)
    for needed in (run.experiment, run.input, run.best):
        if not needed.is_file():
            raise UsageError(
                f"{path}: not a trained run, {needed.name} is missing; give a RUN folder that"
                " `ich-keras fit` wrote, such as runs/halfres/1"
            )
    return run


def score_name(name: str) -> str:
    """A name for files of scores and figures; UsageError if it could lead out of their folders."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise UsageError(f"--name {name}: give letters, digits, - and _, such as hospital-a")
    return name


def choose_run(experiment_name: str, *, fresh: bool, parent: Path = Path("runs")) -> RunFolder:
    """`runs/<experiment>/<n>`, counted from 1: the latest run, or a new one if `fresh`."""
    folder = parent / experiment_name
    latest = max((int(x.name) for x in folder.glob("*") if x.name.isdecimal()), default=0)
    return RunFolder(folder / str(latest + 1 if fresh else max(latest, 1)))


def write_input(run: RunFolder, value: RunInput) -> None:
    shards = {"shards": value.shards, "fingerprint": value.fingerprint}
    write_json(run.input, value.network.as_json() | shards)


def read_input(run: RunFolder) -> RunInput:
    """Reads `input.json`; RunError if it is missing or damaged."""
    try:
        content = json.loads(run.input.read_text(encoding="utf-8"))
        if "shard_size" not in content:
            content["shard_size"] = _size_of_shards(run, content)
        network = network_input_from_json(content)
        return RunInput(network, content["shards"], content["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{run.input}: damaged ({error}); train again") from error


def _size_of_shards(run: RunFolder, content: dict[str, Any]) -> int:
    """Reads the size of the shards, which older runs did not record, from their manifest."""
    try:
        manifest = read_manifest(shard_path(content["shards"]))
        if manifest.fingerprint == content["fingerprint"]:
            return manifest.format.size
    except (InputError, OSError) as error:
        log.debug("%s: %s", content["shards"], error)
    log.warning(
        "%s: does not say at which size HU were windowed, and the shards of the training are not in"
        " %s; %d pixels are assumed",
        *(run.input, content["shards"], content["size"]),
    )
    return int(content["size"])


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file, complete or not at all; refuses NaN, which JSON does not have."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
