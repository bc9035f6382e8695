"""What the commands share: options, types of paths, and shell completion."""

import logging
import os
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from tfrecords_tools.errors import UsageError
from tfrecords_tools.storage.object_store import is_remote
from tfrecords_tools.storage.shard_path import shard_path


class LocalPath(click.Path):
    """A path on this machine."""

    def convert(self, value: Any, *context: Any) -> Any:
        if is_remote(str(value)):
            raise UsageError(f"{value}: only shards can lie on an object store; give a local path")
        return Path(os.fsdecode(super().convert(value, *context)))


class Run(LocalPath):
    """The name or path of a run, as text: a bare name may be that of a shipped network."""

    def convert(self, value: Any, *context: Any) -> Any:
        super().convert(value, *context)
        return os.fsdecode(value)

    def shell_complete(
        self, _context: click.Context, _parameter: click.Parameter, begun: str
    ) -> list[CompletionItem]:
        from ich_keras.run.shipped import shipped_networks

        names = [CompletionItem(x) for x in shipped_networks() if x.startswith(begun)]
        return names or [CompletionItem(begun, type="file")]


class ShardFolder(click.Path):
    """A folder of shards, on this machine or on an object store."""

    def convert(self, value: Any, *context: Any) -> Any:
        if is_remote(str(value)):
            return shard_path(str(value))
        return Path(os.fsdecode(super().convert(value, *context)))


def _set_verbosity(_context: click.Context, parameter: click.Parameter, given: bool) -> None:
    if given:
        level = logging.DEBUG if parameter.name == "verbose" else logging.WARNING
        for name in ("ich_keras", "tfrecords_tools"):
            logging.getLogger(name).setLevel(level)


def _verbosity_option(short: str, name: str, text: str) -> click.Option:
    return click.Option(
        [short, name], is_flag=True, expose_value=False, callback=_set_verbosity, help=text
    )


RESUMES = "finished work is kept, the same command resumes it"
BEGINS_AGAIN = "the same command begins again"


class Command(click.Command):
    """A command with the two options that all commands have.

    `interrupted` says what Ctrl-C leaves, unless the interrupt itself says more.
    """

    def __init__(self, *arguments: Any, interrupted: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.interrupted = interrupted
        self.params = [
            _verbosity_option("-v", "--verbose", "Every detail, and the traceback of an error."),
            _verbosity_option("-q", "--quiet", "Only warnings, errors and the last line."),
            *self.params,
        ]

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(str(interrupt) or self.interrupted) from interrupt


def complete_experiments(_context: click.Context, parameter: click.Parameter, begun: str) -> list:
    """Completes the names of experiments for fit and of searches for tune; otherwise files."""
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


def echo_result(sentence: str, notice: str) -> None:
    """Prints the last line of a command, after what the answers of the network have to say."""
    if notice:
        click.echo(notice)
    click.echo(sentence)


shards_option = click.option(
    "--shards",
    type=ShardFolder(),
    help="Folder of shards.  [default: the experiment's, else $ICH_SHARDS, else ./shards]",
)
set_option = click.option(
    "--set",
    "overrides",
    metavar="KEY.PATH=VALUE",
    multiple=True,
    shell_complete=complete_key_paths,
    help="Changes one value of the experiment; may be repeated.",
)
workers_option = click.option(
    "--workers", type=click.IntRange(min=1), help="Processes.  [default: one per core]"
)
