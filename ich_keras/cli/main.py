"""The entry point: runs a command, reports an error in one line, and ends with an exit code.

`--help` must be fast, so the command modules import what is heavy inside their functions.
"""

import io
import logging
import os
import sys
import warnings
from typing import NoReturn

import click

from ich_keras import __version__
from ich_keras.cli.commands.convert import convert
from ich_keras.cli.commands.demo import demo
from ich_keras.cli.commands.doctor import doctor
from ich_keras.cli.commands.evaluate import evaluate
from ich_keras.cli.commands.export import export
from ich_keras.cli.commands.fit import fit
from ich_keras.cli.commands.predict import predict
from ich_keras.cli.commands.synth import synth
from ich_keras.cli.commands.tune import tune
from ich_keras.cli.commands.verify import verify
from ich_keras.cli.commands.view import view
from ich_keras.data.s3 import aborts_at_exit
from ich_keras.run.settings import settle_process
from tfrecords_tools.errors import InputError

COMMANDS = (convert, demo, doctor, evaluate, export, fit, predict, synth, tune, verify, view)
INTERRUPTED = 130
DEVICE_MEMORY = (
    "TensorFlow is out of memory; end other programs on the GPU (`nvidia-smi` lists them), or lower"
    " training.batch_size (`ich-keras doctor` proposes one) or --size"
)

log = logging.getLogger(__name__)


def main() -> None:
    """Runs a command and ends the process with its exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    settle_process()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # like standard error, on any console
    exit_code = _run()
    if aborts_at_exit():
        _leave(exit_code)
    sys.exit(exit_code)


def _leave(exit_code: int) -> NoReturn:
    """Ends the process without the clean-up of the interpreter."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _run() -> int:
    """Runs the command and returns its exit code."""
    try:
        cli.main(prog_name="ich-keras", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "ich-keras"
        message = error.format_message().rstrip(".")
        return _failed(f"{message} (see `{command} --help`)", error.exit_code)
    except click.ClickException as error:
        return _failed(error.format_message(), error.exit_code)
    except InputError as error:
        return _failed(str(error), error.exit_code)
    except OSError as error:
        return _failed(_os_error_line(error), 1)
    except MemoryError:
        return _failed("out of memory; give it more, or less to do at a time", 1)
    except (click.Abort, KeyboardInterrupt) as error:
        said = str(error.__cause__ or "")  # click raises its own error from a KeyboardInterrupt
        _failed(f"interrupted; {said}" if said else "interrupted", INTERRUPTED)
        # TensorFlow's threads still run Python code of a step that was cut in two: to take down
        # under them what it held can end the process by a signal.
        _leave(INTERRUPTED)
    except Exception as error:
        if type(error).__name__ != "ResourceExhaustedError":  # its module would load TensorFlow
            raise
        return _failed(DEVICE_MEMORY, 1)
    return 0


def _os_error_line(error: OSError) -> str:
    if error.filename is None or error.strerror is None:
        return str(error) or type(error).__name__
    return f"{error.filename}: {error.strerror}; check the path, the permissions and the space left"


def _failed(message: str, exit_code: int) -> int:
    log.debug("the error in full", exc_info=True)
    click.echo(f"ich-keras: {message}", err=True)
    return exit_code


def _show_version(context: click.Context, _parameter: click.Parameter, given: bool) -> None:
    if not given or context.resilient_parsing:
        return
    import platform

    from ich_keras.run.versions import commit, versions

    click.echo(f"ich-keras {__version__}, {commit() or 'commit not known'}")
    click.echo(f"Python {platform.python_version()}")
    for name, version in versions().items():
        if name != "ich-keras":
            click.echo(f"{name} {version or 'is not installed'}")
    context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the versions that an answer depends on, and exit.",
)
def cli() -> None:
    """Detects intracranial hemorrhage on head CT slices. For research, not for diagnosis."""
    # Damaged files cause these warnings; each rejected file has its reason in a table.
    warnings.filterwarnings("ignore", module=r"(pydicom|highdicom)\.")
    handler = logging.StreamHandler(_ProgressAware())
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in ("ich_keras", "tfrecords_tools"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.handlers = [handler]
        logger.propagate = False


for command in COMMANDS:
    cli.add_command(command)


class _ProgressAware:
    """A stream for log lines that do not cut through a progress bar."""

    def write(self, text: str) -> None:
        from tfrecords_tools.progress import write_above

        write_above(text)

    def flush(self) -> None:
        sys.stderr.flush()
