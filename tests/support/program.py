"""`ich-keras` as processes of its own, which need not load TensorFlow each.

They are forked from a process that has loaded it, and not used it, so that half of what a small
training costs is paid once. Nor do they end as Python does: what hangs on how it starts or ends is
tested with `subprocess`.
"""

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

FORKING = multiprocessing.get_context("forkserver")
LOADED = ["ich_keras.training.fit", "ich_keras.evaluation.evaluate", "keras_tuner"]
FORKING.set_forkserver_preload(LOADED)


class Program:
    """A command that was started, to be used as `subprocess.Popen`.

    Args:
        arguments: of `ich-keras`.
        cwd: where it runs.
        environment: all of its variables; those of this process unless told.
        first: is called by the process before the program; picklable.
    """

    def __init__(
        self,
        arguments: Sequence[object],
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        first: Callable[[], None] | None = None,
    ) -> None:
        said = Path(tempfile.mkdtemp(prefix="said-"))
        weakref.finalize(self, shutil.rmtree, said, ignore_errors=True)
        self._output, self._errors = said / "output", said / "errors"
        for path in (self._output, self._errors):
            path.touch()
        words = [str(x) for x in arguments]
        variables = dict(os.environ if environment is None else environment)
        self._process = FORKING.Process(
            target=_main,
            args=(words, cwd or Path.cwd(), variables, first, (self._output, self._errors)),
        )
        self._process.start()
        weakref.finalize(self, self._process.kill)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def errors(self) -> str:
        """What it has said on its standard error until now."""
        return self._errors.read_text("utf-8")

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it said on its standard output and its standard error, when it has ended."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self._output.read_text("utf-8"), self.errors()


def run(arguments: Sequence[object], **options) -> subprocess.CompletedProcess[str]:
    """A command to its end, as of `subprocess.run`; options as of `Program`."""
    program = Program(arguments, **options)
    output, errors = program.communicate()
    return subprocess.CompletedProcess(arguments, program.returncode, output, errors)


def _main(
    words: list[str],
    cwd: Path,
    variables: Mapping[str, str],
    first: Callable[[], None] | None,
    streams: tuple[Path, Path],
) -> None:
    os.setsid()
    for stream, path in zip((sys.stdout, sys.stderr), streams, strict=True):
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    tempfile.tempdir = None  # of the variables too
    sys.argv = ["ich-keras", *words]
    if first is not None:
        first()
    from ich_keras.cli.main import main

    main()
