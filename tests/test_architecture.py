"""The modules import in one direction only, and the command line stays light."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("tfrecords_tools", "ich_keras")
HEAVY = ("tensorflow", "keras", "keras_tuner", "pandas", "matplotlib", "cv2", "pydicom")


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
    assert "tensorflow" not in {x.split(".")[0] for x in imports_of(MODULES["ich_keras.model"])}


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
        "from ich_keras.cli import main\n"
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
        "import sys, tfrecords_tools.convert, tfrecords_tools.verify, tfrecords_tools.phantom\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_map_of_the_modules_is_whole_and_leads_downwards():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    table = text.partition("| step | modules |")[2].partition("\n\n")[0]
    rows = [re.findall(r"`(\w+)(?:\.py|/)`", line) for line in table.splitlines()]
    place = {name: number for number, row in enumerate(rows) for name in row}
    own = {name: name.split(".")[1] for name in MODULES if "." in name and "__" not in name}
    assert set(own.values()) == set(place)
    assert sum(map(len, rows)) == len(place)
    for name, step in own.items():
        for found in imports_of(MODULES[name], top_level_only=True) & own.keys():
            assert place[own[found]] <= place[step], f"{name} imports {found}"
