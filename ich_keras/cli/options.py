"""What the commands share: options, kinds of paths, and what a shell completes."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from tfrecords_tools.errors import UsageError
from tfrecords_tools.storage.shard_path import SCHEMES, shard_path


class LocalPath(click.Path):
    """A path on this machine."""

    def convert(self, value: Any, *context: Any) -> Any:
        if str(value).startswith(SCHEMES):
            raise UsageError(f"{value}: only shards can lie on an object store; give a local path")
        return Path(os.fsdecode(super().convert(value, *context)))


class ShardFolder(click.Path):
    """A folder of shards, on this machine or on an object store."""

    def convert(self, value: Any, *context: Any) -> Any:
        if str(value).startswith(SCHEMES):
            return shard_path(str(value))
        return Path(os.fsdecode(super().convert(value, *context)))


class PipelineCommand(click.Command):
    """A command that hands on what stands behind `--`, as options of the engine that it drives."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        place = args.index("--") if "--" in args else len(args)
        ctx.obj = args[place + 1 :]
        return super().parse_args(ctx, args[:place])


def _set_verbosity(_context: click.Context, parameter: click.Parameter, given: bool) -> None:
    if given:
        level = logging.DEBUG if parameter.name == "verbose" else logging.WARNING
        for name in ("ich_keras", "tfrecords_tools"):
            logging.getLogger(name).setLevel(level)


def verbosity(command: Callable) -> Callable:
    """The two options of every command."""
    for name, short, text in (
        ("--quiet", "-q", "Only warnings, errors and the last line."),
        ("--verbose", "-v", "Every detail, and the traceback of an error."),
    ):
        option = click.option(
            short, name, is_flag=True, expose_value=False, callback=_set_verbosity, help=text
        )
        command = option(command)
    return command


def shards_option(function: Callable) -> Callable:
    return click.option(
        "--shards",
        type=ShardFolder(),
        help="Folder of shards.  [default: the experiment's, else $ICH_SHARDS, else ./shards]",
    )(function)


def complete_experiments(_context: click.Context, parameter: click.Parameter, begun: str) -> list:
    """Completes the name of an experiment for fit, of a search for tune; else files."""
    from ich_keras.experiment.yaml_files import shipped_experiments

    searches = parameter.name == "hparams"
    names = [x.name for x in shipped_experiments() if x.stem.endswith("_hparams") == searches]
    return [x for x in names if x.startswith(begun)] or [CompletionItem(begun, type="file")]


def complete_key_paths(
    _context: click.Context, _parameter: click.Parameter, begun: str
) -> list[str]:
    """Completes a key path of an experiment."""
    from ich_keras.experiment.experiment import Experiment
    from ich_keras.experiment.sections import key_paths

    return [f"{key}=" for key in key_paths(Experiment) if key.startswith(begun)]


def set_option(function: Callable) -> Callable:
    return click.option(
        "--set",
        "overrides",
        metavar="KEY.PATH=VALUE",
        multiple=True,
        shell_complete=complete_key_paths,
        help="Changes one value of the experiment; may be repeated.",
    )(function)


def workers_option(function: Callable) -> Callable:
    return click.option(
        "--workers",
        type=click.IntRange(min=1),
        help="Processes.  [default: one a core]",
    )(function)
