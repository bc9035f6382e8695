"""The networks that come with the program: folders of the package with what a run needs.

Such a folder is read as that of any run. It may be read-only, so what a command makes of the
network goes to another one. `notice.txt` in it holds what every answer has to say.
"""

import logging
from pathlib import Path

from ich_keras.run.folder import RunFolder, trained_run
from tfrecords_tools.errors import UsageError

log = logging.getLogger(__name__)

NETWORKS = Path(__file__).parents[1] / "networks"


def shipped_networks() -> list[str]:
    return sorted(path.parent.name for path in NETWORKS.glob("*/best.keras"))


def find_run(name: str) -> RunFolder:
    """The shipped network of that name, or the trained run in a folder.

    The results of a shipped network go to `./<name>-results`. Raises UsageError, which lists the
    shipped networks, if there is no such run.
    """
    if is_shipped(name):
        return RunFolder(NETWORKS / name, results=Path(f"{name}-results"))
    try:
        return trained_run(Path(name))
    except UsageError as error:
        raise UsageError(f"{error}, {or_shipped()}") from error


def find_weights(name: str) -> Path:
    """The checkpoint of the shipped network of that name, or the path itself."""
    return RunFolder(NETWORKS / name).best if is_shipped(name) else Path(name)


def is_shipped(name: str) -> bool:
    """Whether a bare name is that of a shipped network; it then never is a folder's."""
    if name not in shipped_networks():
        return False
    if Path(name).exists():
        log.info("%s is the shipped network; write ./%s for the folder of that name", name, name)
    return True


def or_shipped() -> str:
    """The end of a message on a run that does not exist."""
    return f"or the name of a shipped network: {', '.join(shipped_networks())}"
