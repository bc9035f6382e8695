"""The commands. Each is a few lines; what is heavy is imported by the command that needs it."""

import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ich_keras import __version__
from ich_keras.cli.defaults import data_folder, default_shards, runs_folder, shards_folder
from ich_keras.cli.loading import load_store, load_tensorflow
from ich_keras.cli.options import (
    LocalPath,
    PipelineCommand,
    ShardFolder,
    complete_experiments,
    set_option,
    shards_option,
    verbosity,
    workers_option,
)
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.storage.shard_path import ShardPath, store_was_used

if TYPE_CHECKING:
    from ich_keras.run.folder import RunFolder

INTERRUPTED = 130

log = logging.getLogger(__name__)


def main() -> None:
    """The entry point: runs a command and ends the process with its exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error, on any console
    exit_code = _exit_code()
    if store_was_used():  # it would abort an orderly end
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    sys.exit(exit_code)


def _exit_code() -> int:
    """Runs the command."""
    try:
        commands.main(prog_name="ich-keras", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "ich-keras"
        message = error.format_message().rstrip(".")
        return _failed(f"{message} (see `{where} --help`)", error.exit_code)
    except click.ClickException as error:
        return _failed(error.format_message(), error.exit_code)
    except InputError as error:
        return _failed(str(error), error.exit_code)
    except OSError as error:
        return _failed(_os_error_line(error), 1)
    except MemoryError:
        return _failed("out of memory; give it more, or less to do at a time", 1)
    except (click.Abort, KeyboardInterrupt):
        message = "interrupted; what was finished stays, the same command goes on"
        return _failed(message, INTERRUPTED)
    return 0


def _os_error_line(error: OSError) -> str:
    if error.filename is None or error.strerror is None:
        return str(error) or type(error).__name__
    return f"{error.filename}: {error.strerror}; check the path, the permissions and the space left"


def _failed(message: str, exit_code: int) -> int:
    log.debug("the error in full", exc_info=True)
    click.echo(f"ich-keras: {message}", err=True)
    return exit_code


def _command(*arguments: Any, **options: Any) -> Callable:
    """A command with the options that all have."""

    def decorate(function: Callable) -> click.Command:
        return commands.command(*arguments, **options)(verbosity(function))

    return decorate


def _show_version(context: click.Context, _parameter: click.Parameter, given: bool) -> None:
    if not given or context.resilient_parsing:
        return
    import platform

    from ich_keras.run.environment import commit, versions

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
def commands() -> None:
    """Detects intracranial hemorrhage on head CT slices. For research, not for diagnosis."""
    # Of damaged files; each has the reason why it is left out.
    warnings.filterwarnings("ignore", module=r"(pydicom|highdicom)\.")
    handler = logging.StreamHandler(_ProgressAware())
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in ("ich_keras", "tfrecords_tools"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.handlers = [handler]
        logger.propagate = False


class _ProgressAware:
    """A stream for log lines that does not cut through a progress bar."""

    def write(self, text: str) -> None:
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr, end="")

    def flush(self) -> None:
        sys.stderr.flush()


@_command()
@click.argument("directory", type=LocalPath(), default=Path("demo"))
@click.option("--patients", type=click.IntRange(min=10), default=1100, help="Phantom patients.")
@click.option("--seed", type=int, default=0, help="Of the phantom studies and the split.")
@workers_option
@set_option
def demo(
    directory: Path, patients: int, seed: int, workers: int | None, overrides: tuple[str, ...]
) -> None:
    """The whole way on phantom studies, into DIRECTORY."""
    load_tensorflow()
    from ich_keras.cli.demo import run_demo

    report = run_demo(directory, patients=patients, seed=seed, workers=workers, overrides=overrides)
    click.echo(f"Demo finished: open {report}")


@_command()
@click.argument("directory", type=LocalPath())
@click.option("--patients", type=click.IntRange(min=1), default=320)
@click.option("--slices", type=click.IntRange(min=1), default=16, help="Slices a study.")
@click.option("--size", type=click.IntRange(min=32), default=256, help="Edge of a slice, pixels.")
@click.option("--seed", type=int, default=0)
@workers_option
@click.option("--tissues", is_flag=True, help="Write the true tissue of each pixel too.")
def synth(directory: Path, **options: Any) -> None:
    """Writes a phantom data set: DICOM files, labels and true masks."""
    from tfrecords_tools.phantom import synth as write_phantoms

    made = write_phantoms(directory, **options)
    click.echo(f"{made.slices:,} slices of {made.patients:,} phantom patients in {directory}")


@_command(cls=PipelineCommand, options_metavar="[OPTIONS]")
@click.argument("source", metavar="[SRC] [-- PIPELINE_OPTIONS]", type=LocalPath(), required=False)
@click.option(
    "--out",
    type=ShardFolder(),
    default=default_shards,
    show_default="$ICH_SHARDS, else ./shards",
)
@click.option("--size", type=click.IntRange(min=16), default=512, help="Edge of a slice, pixels.")
@click.option("--windows", default="brain,subdural,bone", help="Names, or name=centre/width.")
@click.option(
    "--neighbours",
    type=click.IntRange(min=0, max=8),
    default=0,
    help="Slices below and above beside each one, as further channels.",
)
@click.option(
    "--split",
    default="0.8,0.1,0.1",
    help="Fractions of patients: train,val,test; or a CSV file that says who is where.",
)
@click.option(
    "--group-duplicates", is_flag=True, help="Keep patients that share a slice in one split."
)
@click.option("--seed", type=int, default=0, help="Of the split, the order and the patient keys.")
@workers_option
@click.option("--encoding", type=click.Choice(["zlib", "raw", "png"]), default="zlib")
@click.option("--shard-size", type=click.IntRange(min=1), help="Records a shard.")
@click.option(
    "--labels",
    type=LocalPath(exists=True, dir_okay=False),
    help="CSV of the slices of SRC, where it has not the challenge's folders.",
)
@click.option("--unlabelled", is_flag=True, help="Convert SRC without labels.")
@click.option(
    "--patient-key-file",
    type=LocalPath(exists=True, dir_okay=False),
    help="Secret that keys the hash of patient ids; wanted for clinical data.",
)
@click.option("--fresh", is_flag=True, help="Replace what another conversion left in OUT.")
@click.option("--add", is_flag=True, help="Add to the shards in OUT what they do not hold yet.")
@click.option(
    "--runner",
    type=click.Choice(["local", "beam"]),
    default="local",
    help="This machine, or Apache Beam with the PIPELINE_OPTIONS.",
)
@click.pass_obj
def convert(
    pipeline_options: list[str], source: Path | None, out: ShardPath, **options: Any
) -> None:
    """Converts an RSNA-layout folder of DICOM files to TFRecord shards.

    SRC may be -, for a list of files on standard input, a path, s3:// or gs:// URI a line.
    """
    from tfrecords_tools.convert import convert as write_shards
    from tfrecords_tools.dataset.manifest import MANIFEST_NAME, read_manifest
    from tfrecords_tools.planning.scan import read_list

    source = source or data_folder()
    listed = source == Path("-")
    if not listed and not source.is_dir():
        raise UsageError(
            f"no data set at {source}; give its folder: `ich-keras convert SRC`, or set $ICH_DATA"
            " (no data yet? `ich-keras synth SRC` writes phantom studies)"
        )
    load_store(out)
    stood = options["add"] and (out / MANIFEST_NAME).is_file()
    before = read_manifest(out) if stood else None
    manifest = write_shards(
        read_list(sys.stdin.buffer) if listed else source,
        out,
        pipeline_options=pipeline_options,
        **options,
    )
    made = manifest.addition(before) if before else manifest.sentence()
    click.echo(f"{made}: {out}")


@_command()
@click.argument("shards", type=ShardFolder(exists=True, file_okay=False))
@workers_option
def verify(shards: ShardPath, workers: int | None) -> None:
    """Reads every record of SHARDS against its manifest."""
    from tfrecords_tools.verify import verify as verify_shards

    load_store(shards)
    summary = verify_shards(shards, workers=workers or os.cpu_count() or 1)
    click.echo(f"{shards}: {summary.records:,} records in {summary.shards} shards are as written")


@_command()
@click.argument("experiment", shell_complete=complete_experiments)
@shards_option
@click.option("--run", type=LocalPath(), help="[default: EXPERIMENT/<n> in $ICH_RUNS, else ./runs]")
@set_option
@click.option(
    "--resume/--fresh", default=True, help="Go on with the latest run, or start a new one."
)
def fit(
    experiment: str,
    shards: ShardPath | None,
    run: Path | None,
    overrides: tuple[str, ...],
    resume: bool,
) -> None:
    """Trains EXPERIMENT, a YAML file or the name of one that is shipped."""
    from ich_keras.experiment.experiment import load_experiment

    loaded = load_experiment(experiment, overrides)
    folder = shards_folder(shards, loaded.data.shards)
    load_tensorflow()
    from ich_keras.run.folder import RunFolder, choose_run
    from ich_keras.training.fit import fit as train

    chosen = (
        RunFolder(run) if run else choose_run(loaded.name, fresh=not resume, parent=runs_folder())
    )
    result = train(loaded, folder, chosen, resume=resume)
    click.echo(result.sentence())


@_command()
@click.argument("hparams", default="halfres_hparams.yaml", shell_complete=complete_experiments)
@shards_option
@click.option("--run", type=LocalPath(), help="[default: HPARAMS/<n> in $ICH_RUNS, else ./runs]")
@set_option
@click.option("--workers", type=click.IntRange(min=1), default=1, help="Trials at the same time.")
@click.option(
    "--resume/--fresh", default=True, help="Go on with the latest search, or start a new one."
)
def tune(
    hparams: str,
    shards: ShardPath | None,
    run: Path | None,
    overrides: tuple[str, ...],
    workers: int,
    resume: bool,
) -> None:
    """Searches hyperparameters with KerasTuner as HPARAMS says."""
    from ich_keras.search.config import load_search

    search = load_search(hparams, overrides)
    folder = shards_folder(shards, search.base.data.shards, gpus=False)
    load_tensorflow(gpus=False)
    from ich_keras.run.folder import choose_run
    from ich_keras.search.tune import tune as run_search
    from ich_keras.search.tuner import SearchPlace, role, work

    if run is not None and not resume and run.exists():
        raise UsageError(f"--fresh: {run} is there already; give another --run, or none")
    chosen = run or choose_run(search.name, fresh=not resume, parent=runs_folder()).path
    part = role()
    if part != "alone" and workers > 1:
        raise UsageError(
            "--workers is for one machine; KERASTUNER_TUNER_ID is set, so leave it out"
        )
    if part == "worker":
        work(SearchPlace(search, folder, chosen))
        click.echo(f"The chief has no more trials; it writes {chosen}")
        return
    click.echo(run_search(search, folder, chosen, workers=workers).sentence())


@_command()
@click.argument("run", type=LocalPath())
@click.option("--split", default="val")
@click.option(
    "--size",
    "sizes",
    type=click.IntRange(min=16),
    multiple=True,
    help="Edge of a slice, pixels; may be repeated, for a table.  [default: the run's]",
)
@shards_option
@click.option("--name", help="Of the scores, where they are not to replace those of the split.")
@click.option("--against", type=LocalPath(), help="Another run, compared on the same slices.")
@click.option(
    "--masks",
    type=LocalPath(exists=True, file_okay=False),
    help="True masks of the slices, as `synth` writes them: do class maps point at the bleeding?",
)
@click.option(
    "--dicom",
    type=LocalPath(exists=True, file_okay=False),
    help="Score the DICOM files of a folder instead of shards; with --labels.",
)
@click.option(
    "--labels",
    type=LocalPath(exists=True, dir_okay=False),
    help="CSV of their slices (as for convert), of studies (study_id,...), or CQ500's reads.csv.",
)
def evaluate(
    run: Path,
    split: str,
    sizes: tuple[int, ...],
    shards: ShardPath | None,
    name: str | None,
    against: Path | None,
    masks: Path | None,
    dicom: Path | None,
    labels: Path | None,
) -> None:
    """Scores RUN on a split, or on labelled DICOM files; writes its figures and report."""
    from ich_keras.run.folder import read_input, score_name, trained_run

    folder, other = trained_run(run), trained_run(against) if against else None
    own = read_input(folder)
    own_size = own.network.size
    wanted = sorted(set(sizes) or {own_size}, key=lambda x: (x == own_size, x))  # its own last
    if dicom is not None or labels is not None:
        if shards or against or masks:
            raise UsageError("--shards, --against, --masks are not for --dicom; leave them out")
        _evaluate_dicom(folder, dicom, labels, score_name(name or "external"), wanted)
        return
    place = shards_folder(shards, own.shards)
    named = score_name(name or split)
    load_tensorflow()
    from ich_keras.evaluation.evaluate import evaluate as score

    for size in wanted[:-1]:
        click.echo(score(folder, place, split=split, size=size, name=named).sentence())
    last = score(
        folder,
        place,
        split=split,
        size=wanted[-1],
        name=named,
        against=other,
        masks=masks,
    )
    click.echo(last.sentence())


def _evaluate_dicom(
    run: "RunFolder", dicom: Path | None, labels: Path | None, name: str, sizes: Sequence[int]
) -> None:
    if dicom is None or labels is None:
        raise UsageError("--dicom and --labels belong together: give both, or neither")
    load_tensorflow()
    from ich_keras.evaluation.dicom_folder import evaluate_dicom

    for size in sizes:
        click.echo(evaluate_dicom(run, dicom, labels, name=name, size=size).sentence())


@_command()
@click.argument("run", type=LocalPath())
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=LocalPath())
@click.option("--out", type=LocalPath(), help="[default: ./predictions]")
@click.option("--size", type=click.IntRange(min=16), help="[default: the run's]")
@click.option(
    "--smooth", is_flag=True, help="Smooth over the slices of a series, as fitted on validation."
)
@click.option(
    "--dicom", is_flag=True, help="Write the class maps as DICOM too, with the study's identity."
)
def predict(
    run: Path,
    paths: tuple[Path, ...],
    out: Path | None,
    size: int | None,
    smooth: bool,
    dicom: bool,
) -> None:
    """Applies RUN to DICOM files, folders or zip archives."""
    from ich_keras.run.folder import trained_run

    folder = trained_run(run)
    for path in paths:
        if not path.exists():
            raise UsageError(f"no such file or folder: {path}")
    load_tensorflow()
    from ich_keras.predict.predict import predict as apply_run

    target = out or Path("predictions")
    result = apply_run(folder, paths, target, size=size, smooth=smooth, dicom=dicom)
    click.echo(result.sentence())


@_command()
@click.argument("run", type=LocalPath())
@click.option(
    "--format", "kind", type=click.Choice(["savedmodel", "onnx", "keras"]), default="savedmodel"
)
@click.option("--out", type=LocalPath(), help="[default: RUN/export]")
def export(run: Path, kind: str, out: Path | None) -> None:
    """Writes RUN's network for use elsewhere."""
    from ich_keras.run.folder import trained_run

    folder = trained_run(run)
    load_tensorflow()
    from ich_keras.predict.export import export_model

    click.echo(f"Exported: {export_model(folder, kind, out or folder.path / 'export')}")


@_command()
@click.option(
    "--data", type=LocalPath(), help="Data set.  [default: $ICH_DATA, else /data/rsna-ich]"
)
@shards_option
def doctor(data: Path | None, shards: ShardPath | None) -> None:
    """Tells whether this machine is ready, and what to do where it is not."""
    folder = shards or default_shards()
    load_tensorflow()
    from ich_keras.cli.doctor import examine, show

    failed = show(examine(data or data_folder(), folder, runs_folder()))
    if failed:
        raise InputError(
            f"{len(failed)} of the checks failed: {', '.join(x.check for x in failed)}"
        )
    click.echo("Ready: no check failed")
