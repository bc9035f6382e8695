"""What the documents say is so: links lead somewhere, names exist, commands and files are taken."""

import re
import shutil
from pathlib import Path

import click
import pytest

from ich_keras.cli.main import cli
from ich_keras.experiment.experiment import load_experiment
from ich_keras.search.config import load_search
from tests.support.documents import DOCS, DOCUMENTS, blocks, ich_keras_commands
from tests.support.paths import ROOT

MAKE_TARGETS = set(
    re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
)


def prose(document: Path) -> str:
    """Without what stands in fences."""
    return re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """As the site and the forges make them of headings."""
    titles = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings_that_are_there(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_modules_that_are_named_exist(document):
    known = {path.name for path in ROOT.rglob("*.py") if ".venv" not in str(path)}
    for name in re.findall(r"`(?:[\w/]*/)?(\w+\.py)`", prose(document)):
        assert name in known, name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_their_options_exist(document):
    for words in ich_keras_commands(document):
        named = (
            words[:1] if words and words[0].isalpha() and words[0].islower() else []
        )  # COMMAND stands for any
        with click.Context(cli) as context:
            command = cli.get_command(context, *named) if named else cli
        assert command is not None, words
        known = {x for option in command.params for x in (*option.opts, *option.secondary_opts)}
        known |= {"--help", "--version"}
        ours = words[: words.index("--")] if "--" in words else words  # the rest is Beam's
        for word in ours:
            assert word == "-" or not word.startswith("-") or word.partition("=")[0] in known, (
                words,
                word,
            )


def test_the_navigation_of_the_site_leads_to_every_page():
    listed = re.findall(r"(\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(
        path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")
    )


def sources() -> str:
    """The code, with the parts of a text that goes on over several lines joined."""
    code = "".join(
        path.read_text("utf-8")
        for package in ("ich_keras", "tfrecords_tools")
        for path in sorted((ROOT / package).rglob("*.py"))
    )
    return re.sub(r'"\s*f?"', "", code)


def test_messages_that_troubleshooting_quotes_are_those_of_the_program():
    page = (DOCS / "guides" / "troubleshooting.md").read_text("utf-8")
    cells = "\n".join(re.findall(r"^\| (.+?) \|", page, re.MULTILINE))
    quotes = re.findall(r"(`+) ?(.+?) ?\1(?!`)", cells)
    code, quoted = sources(), 0
    for _, quote in quotes:
        for part in re.split(r"\.\.\.|[A-Z/]{3,}(?:\.yaml|\.csv)?|\d[\d.]*", quote):
            if len(part.strip(" ;:,()")) >= 8:  # the rest differs from time to time
                quoted += 1
                assert part.strip(" ;:,()") in code, part
    assert quoted > 20


def test_tests_that_documents_name_exist():
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"`(test_\w+)`", document.read_text("utf-8"))
    }
    assert len(named) > 50
    assert named <= defined


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_make_targets_and_programs_exist(document):
    text = document.read_text("utf-8")
    assert set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", text, re.MULTILINE)) <= MAKE_TARGETS
    for module in re.findall(r"python -m (benchmarks\.\w+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_tests_that_are_named_exist(document):
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    assert set(re.findall(r"`(test_\w+)`", prose(document))) <= defined


def test_experiments_in_the_documents_are_taken(tmp_path):
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    file = tmp_path / "experiments" / "classification" / "written.yaml"
    found = [x.text for document in DOCUMENTS for x in blocks(document) if x.language == "yaml"]
    assert found
    for text in found:
        search = re.search(r"^search:", text, re.MULTILINE)
        whole = search or re.search(r"^include:", text, re.MULTILINE)
        file.write_text(text if whole else f"include: demo.yaml\n{text}")
        (load_search if search else load_experiment)(str(file))


@pytest.mark.parametrize(
    "file", sorted((ROOT / "experiments" / "classification").glob("*.yaml")), ids=lambda x: x.name
)
def test_an_experiment_opens_with_its_command_and_its_cost(file):
    comment = "".join(re.match(r"(?:#.*\n)+", file.read_text("utf-8"))[0])
    assert re.search(r"^# +ich-keras (?:fit|tune|demo)\b", comment, re.MULTILINE)
    assert "# Cost: " in comment
