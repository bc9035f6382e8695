"""The modules import in one direction only, and the command line stays light."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGES = ("tfrecords_tools", "ich_keras")
HEAVY = ("tensorflow", "keras", "keras_tuner", "pandas", "matplotlib", "cv2", "pydicom", "rich")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def parents(name: str) -> set[str]:
    """The packages around a module; to import a neighbour names them too."""
    parts = name.split(".")
    return {".".join(parts[:i]) for i in range(1, len(parts))}


MODULES = {
    module_name(path): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")
}


def test_the_offline_tools_need_neither_the_application_nor_keras():
    for name, path in MODULES.items():
        if name.startswith("tfrecords_tools"):
            roots = {found.split(".")[0] for found in imports_of(path)}
            assert not roots & {"ich_keras", "keras", "keras_tuner"}, name


def test_the_network_needs_no_tensorflow():
    assert "tensorflow" not in {
        x.split(".")[0] for x in imports_of(MODULES["ich_keras.model.network"])
    }


def test_there_are_no_circles():
    graph = {
        name: {found for found in imports_of(path, top_level_only=True) if found in MODULES}
        - {name, *parents(name)}
        for name, path in MODULES.items()
    }
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert set(order) == set(MODULES)


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["convert", "--help"], []])
def test_help_loads_nothing_heavy(arguments):
    code = (
        "import sys; sys.argv = ['ich-keras', *sys.argv[1:]]\n"
        "from ich_keras.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert "Usage: ich-keras" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_offline_tools_do_not_load_tensorflow():
    code = (
        "import sys, tfrecords_tools.convert, tfrecords_tools.verify\n"
        "import tfrecords_tools.phantom.rsna_files\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def rooms_in_order() -> dict[str, dict[str, int]]:
    """By package its folders and single modules, with their place, as CONTRIBUTING.md has them."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    lines = re.findall(r"^([\w.]+): (.*<.*)$", text, re.MULTILINE)
    return {
        package: {
            room: place
            for place, rooms in enumerate(order.split(" < "))
            for room in rooms.split(", ")
        }
        for package, order in lines
    }


@pytest.mark.parametrize("package", ["tfrecords_tools", "tfrecords_tools.phantom", "ich_keras"])
def test_each_room_imports_only_the_rooms_before_it(package):
    place = rooms_in_order()[package]
    rooms = {name: name.removeprefix(f"{package}.").split(".")[0] for name in MODULES}
    own = {x: room for x, room in rooms.items() if x.startswith(f"{package}.") and room in place}
    beside = {"phantom", "__main__"}
    inside = {rooms[x] for x in MODULES if x.startswith(f"{package}.")}
    assert inside - beside == set(place)
    upward = {
        f"{name} imports {found}"
        for name, room in own.items()
        for found in imports_of(MODULES[name]) & own.keys()
        if own[found] != room and place[own[found]] >= place[room]
    }
    assert not upward
