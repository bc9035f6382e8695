"""The report as a person sees it: in headless Chromium, on a screen and on a telephone."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from ich_keras.evaluation.evaluate import evaluate
from ich_keras.evaluation.run_scorer import EvaluateResult
from ich_keras.run.folder import RunFolder
from tests.support.browser import SCREEN, TELEPHONE, Opened, chromium, opened
from tests.support.scored_run import scored_run
from tfrecords_tools.classes import LABELS

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> tuple[RunFolder, EvaluateResult]:
    run, shards, _ = scored_run(tmp_path_factory.mktemp("report"))
    return run, evaluate(run, shards, split="test")


@pytest.fixture(scope="module", params=[SCREEN, TELEPHONE], ids=["screen", "telephone"])
def report(request, browser, scored) -> Opened:
    return opened(browser, scored[0].report, request.param)


def test_the_browser_reports_no_error_and_requests_nothing_else(report):
    assert report.messages == []
    assert report.requests == [report.page.url]


def test_a_page_with_an_error_is_detected(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("<script>console.error('wrong')</script><img src='gone.png'>")
    found = opened(browser, path, SCREEN)
    assert "wrong" in found.messages
    assert len(found.requests) == 2


def test_every_figure_is_decoded_and_none_is_wider_than_the_page(report, scored):
    widths = report.page.evaluate("[...document.images].map(x => [x.naturalWidth, x.width])")
    drawn = [x for x in scored[0].figures.glob("*.png") if x.stem.endswith(("_test", "curves"))]
    assert len(widths) == len(drawn) > 5
    assert all(natural > 500 for natural, _ in widths)
    assert all(shown <= report.page.viewport_size["width"] for _, shown in widths)
    assert report.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_figures_on_the_page_are_those_of_the_json(report, scored):
    scores = scored[1].scores
    table = report.page.locator("table.labels").first
    rows = table.locator("tbody tr")
    assert rows.count() == len(LABELS)
    for row, label in zip(rows.all(), LABELS, strict=True):
        cells = [cell.inner_text().split("\n") for cell in row.locator("td").all()]
        area, sensitivity = scores["auc"][label], scores["sensitivity"][label]
        assert cells[0] == [label]
        assert cells[1] == [str(scores["positives"][label])]
        assert cells[2] == [f"{area['value']:.3f}", "{:.3f} to {:.3f}".format(*area["interval"])]
        assert cells[3][0] == f"{sensitivity['value']:.3f}"
        assert cells[5][0] == str(scores["false_negatives"][label])
        assert cells[6][0] == str(scores["false_positives"][label])
        assert cells[9] == [f"{scores['always_negative_accuracy'][label]:.3f}"]


def test_the_summary_is_visible_without_scrolling(report):
    answer = report.page.locator(".answer p").first
    assert "always “no”" in answer.inner_text()
    box = answer.bounding_box()
    assert box["y"] + box["height"] < report.page.viewport_size["height"]


def test_a_screenshot_shows_the_page_from_top_to_bottom(report, tmp_path):
    report.page.screenshot(path=tmp_path / "report.png", full_page=True)
    pixels = imread(tmp_path / "report.png")[..., :3]
    height = report.page.evaluate("document.documentElement.scrollHeight")
    assert pixels.shape == (height, report.page.viewport_size["width"], 3)
    ground = np.median(pixels, axis=(0, 1))
    written = (np.abs(pixels - ground) > 0.1).any(axis=(1, 2))
    tenths = np.array_split(written, 10)
    assert all(part.mean() > 0.2 for part in tenths)
