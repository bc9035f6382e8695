"""The notebook of the guide runs, shows what it promises, and needs only what users have."""

import ast
import base64
import json
import sys

import cv2
import numpy as np
import pytest

import ich_keras
from tests.support.documents import DOCS

NOTEBOOK = DOCS / "guides" / "phantom_study.ipynb"
CELLS = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
INSTALLED = {"cv2", "ich_keras", "matplotlib", "numpy"}  # with the program


def test_it_is_stored_without_outputs_in_at_most_ten_code_cells():
    assert 1 < len(CODE) <= 10
    for cell in CODE:
        assert cell["outputs"] == [] and cell["execution_count"] is None
    metadata = json.loads(NOTEBOOK.read_text("utf-8"))["metadata"]
    assert metadata["kernelspec"]["name"] == "python3"
    assert all(cell["metadata"] == {} for cell in CELLS)


def test_it_takes_only_what_the_package_gives_to_python():
    nodes = list(ast.walk(ast.parse("\n".join("".join(cell["source"]) for cell in CODE))))
    imports = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    imports += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in imports} <= INSTALLED | sys.stdlib_module_names
    assert [name for name in imports if name.startswith("ich_keras")] == ["ich_keras"]
    taken = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    public = {f"ich_keras.{name}" for name in ich_keras.__all__}
    used = {name for name in taken if name.count(".") == 1 and name.startswith("ich_keras.")}
    assert used and used <= public


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> dict[str, list]:
    """What each code cell shows when all run in an empty folder, by the name of the cell."""
    import nbformat  # not at the top: `make test` reads this file and does not install them
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    folder = tmp_path_factory.mktemp("notebook")
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}}).execute()
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def shown(outputs: list, kind: str) -> list[str]:
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


def printed(outputs: list, name: str) -> str:
    return "".join(x.text for x in outputs if x.output_type == "stream" and x.name == name)


def decoded(png: str) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(base64.b64decode(png), np.uint8), cv2.IMREAD_COLOR_RGB)


def has_warm_colors(png: str) -> bool:
    red, _, blue = cv2.split(decoded(png).astype(int))
    return bool((red > blue + 30).any())


@pytest.mark.integration
def test_it_draws_slices_probabilities_and_class_maps(outputs):
    pictures = {name: shown(x, "image/png") for name, x in outputs.items()}
    drawn = {name: pngs for name, pngs in pictures.items() if pngs}
    assert list(drawn) == ["slices-code", "probabilities-code", "maps-code"]
    for (png,) in drawn.values():
        assert np.ptp(decoded(png)) > 200
    assert not has_warm_colors(drawn["slices-code"][0])
    assert has_warm_colors(drawn["maps-code"][0])  # of a class map: the outlines are cyan


@pytest.mark.integration
def test_it_shows_the_answer_beside_the_truth(outputs):
    tables = {name: "".join(shown(x, "text/html")) for name, x in outputs.items()}
    assert "truncated_pixels" in tables["read-code"]
    for name in ("answer-code", "truth-code", "arrays-code"):
        assert "intraventricular" in tables[name] and "any" in tables[name]
    assert "worth_a_look" in tables["answer-code"]
    assert "intraparenchymal, intraventricular" in tables["truth-code"]
    assert "For research only" in printed(outputs["answer-code"], "stdout")
    assert not any("Warning" in printed(x, "stderr") for x in outputs.values())
