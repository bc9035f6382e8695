"""Commands of the documents, run as they stand there; those with a title say what they need.

Trainings and searches are given fewer steps, nothing else.
"""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support import program
from tests.support.documents import DOCS, DOCUMENTS, blocks, command_lines

FIRST = DOCS / "index.md"  # makes the phantoms, shards and run that the others use
# Replaces the placeholders of the documents.
MEANT = {
    "RUN": "phantom-run",
    "OTHER": "phantom-run",
    "STUDY": "somebody",
    "DATA": "phantoms",
    "DIR": "phantoms/stage_2_train",
    "ELSEWHERE": "phantom-shards",
    "labels.csv": "phantoms/stage_2_train.csv",
    "own_labels.csv": "phantoms/stage_2_train.csv",
    "demo/shards": "phantom-shards",
    "OUT": "out",
}
SHORT = {
    "fit": ["training.max_steps=8", "training.validate_every=4", "evaluation.bootstrap_draws=50"],
    "tune": ["train_steps=2", "samples_per_point=1", "tuner=random", "trials=1"],
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Path:
    """The folder of somebody who follows the documents, after the first page."""
    folder = tmp_path_factory.mktemp("reader")
    for line in lines_to_run(FIRST):
        follow(line, folder)
    return folder


def lines_to_run(document: Path) -> list[str]:
    untitled = [x for x in blocks(document) if x.language == "sh" and not x.title]
    lines = [line for block in untitled for line in command_lines(block.text)]
    return [line for line in lines if not line.startswith("make ")]  # each a test run or a demo


def follow(line: str, folder: Path) -> None:
    """Runs a command, and fails with what it said."""
    words = shlex.split(line, comments=True)
    for meant, there in MEANT.items():
        words = [re.sub(rf"^{meant}(?=/|$)", there, word) for word in words]
    variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
    if words[0] == "ich-keras":
        words += [x for change in SHORT.get(words[1], ()) for x in ("--set", change)]
        done = program.run(words[1:], cwd=folder, environment=variables)
    else:
        done = subprocess.run(
            line, shell=True, cwd=folder, env=variables, capture_output=True, text=True
        )
    assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"


@pytest.mark.slow
def test_the_first_page_leads_to_answers(reader):
    assert (reader / "phantom-run" / "report.html").stat().st_size > 0
    assert (reader / "phantom-answers" / "studies.csv").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [line for document in DOCUMENTS if document != FIRST for line in lines_to_run(document)],
)
def test_a_command_of_the_documents_works(reader, line):
    follow(line, reader)


def test_every_block_of_commands_is_run_or_says_what_it_needs():
    for document in DOCUMENTS:
        for block in blocks(document):
            assert block.language, f"{document.name}: a fence without a language\n{block.text}"
            words = {
                line.split()[0] for line in command_lines(block.text) if block.language == "sh"
            }
            if not block.title:
                assert words <= {"ich-keras", "make", "head"}, f"{document.name}: {words}"
