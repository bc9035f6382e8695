"""The page of a study as a reader sees it, in headless Chromium."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ich_keras.predict.tables import labels_at_thresholds
from ich_keras.view.html import write_page
from ich_keras.view.study_page import StudyPage
from tests.support.browser import SCREEN, TELEPHONE, Opened, chromium, opened
from tests.support.study_pages import made_page
from tfrecords_tools.classes import ANY, LABELS
from tfrecords_tools.windows import WINDOWS, Window, apply_windows

pytestmark = pytest.mark.integration
HOSTILE = "</script><script>console.error('markup')</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def show(browser, tmp_path) -> Iterator[Any]:
    """Opens a page; in the end, it has caused no message and no request."""
    shown: list[Opened] = []

    def open_page(page: StudyPage, viewport: dict[str, int] = SCREEN, **options: Any) -> Any:
        path = tmp_path / f"study_{len(shown)}.html"
        write_page(path, page)
        shown.append(opened(browser, path, viewport, **options))
        shown[-1].page.wait_for_selector("body[data-ready]")
        return shown[-1].page

    yield open_page
    for found in shown:
        assert found.messages == []
        assert found.requests == [found.page.url]
        found.page.close()


def grey(page: Any) -> np.ndarray:
    """The pixels of the slice; all are opaque grey."""
    shape, pixels = page.evaluate(
        """() => {
            const x = document.getElementById("slice");
            const data = x.getContext("2d").getImageData(0, 0, x.width, x.height).data;
            return [[x.height, x.width, 4], Array.from(data)];
        }"""
    )
    pixels = np.array(pixels).reshape(shape)
    assert (pixels[..., 3] == 255).all()
    assert (pixels[..., 1:3] == pixels[..., :1]).all()
    return pixels[..., 0]


def slice_number(page: Any) -> int:
    return int(page.locator("#position").input_value())


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def set_slider(page: Any, name: str, value: float) -> None:
    page.evaluate(
        """([name, value]) => {
            document.getElementById(name).value = value;
            document.getElementById(name).dispatchEvent(new Event("input"));
        }""",
        [name, value],
    )


def found(page: Any) -> str:
    """The labels that the page calls found, as in studies.csv."""
    return " ".join(x.split()[0] for x in page.locator(".label.found").all_inner_texts())


def test_each_window_shows_what_windows_py_computes(show):
    study = made_page()
    page = show(study)
    press(page, "Home")
    for window in WINDOWS.values():
        page.locator(f"[data-window={window.name}]").click()
        expected = apply_windows(study.hu[0], [window])[..., 0]
        np.testing.assert_array_equal(grey(page), expected, window.name)


def test_dragging_sets_level_and_width(show):
    study = made_page()
    page = show(study)
    press(page, "Home")
    box = page.locator("#stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 90, y - 60, steps=4)
    page.mouse.up()
    level, width = (float(page.locator(x).input_value()) for x in ("#level", "#width"))
    assert level > 40
    assert width > 80
    window = Window("own", level, width)
    difference = grey(page) - apply_windows(study.hu[0], [window])[..., 0].astype(int)
    assert np.abs(difference).max() <= 1  # a tie may be rounded either way
    assert page.locator("#windows [aria-pressed=true]").count() == 0


def test_the_pointer_tells_hu(show):
    study = made_page()
    page = show(study)
    press(page, "Home")
    box = page.locator("#slice").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 10.5 / 64, box["y"] + box["height"] * 20.5 / 48)
    assert (
        page.locator("#readout")
        .inner_text()
        .endswith(f"column 11, row 21: {study.hu[0, 20, 10]} HU")
    )


def test_every_key(show):
    study = made_page()
    page = show(study)
    best = np.argsort(-study.raw[:, ANY], kind="stable")[:3] + 1
    assert slice_number(page) == best[0]
    for key, number in [
        *(("Home", 1), ("ArrowUp", 2), ("PageUp", 7), ("ArrowDown", 6), ("PageDown", 1)),
        *(("ArrowDown", 1), ("End", 8), ("ArrowUp", 8)),
    ]:
        press(page, key)
        assert slice_number(page) == number, key
    press(page, "n")
    assert slice_number(page) in best
    for number, label in enumerate(LABELS, start=1):
        press(page, str(number))
        assert page.locator(".label[aria-pressed=true]").inner_text().startswith(label)
        shown = page.locator("#kind").input_value()
        assert shown == (str(number - 1) if number <= ANY else "strongest")
    for key, name in zip("bdesf", WINDOWS, strict=True):
        press(page, key)
        assert page.locator("#windows [aria-pressed=true]").get_attribute("data-window") == name
    for key, name in (("o", "#overlay"), ("m", "#mask")):
        assert page.locator(name).is_visible()
        press(page, key)
        assert not page.locator(name).is_visible()
    press(page, "Home", "e", "w")
    np.testing.assert_array_equal(grey(page), study.network[0, ..., 1])
    width = page.locator("#slice").bounding_box()["width"]
    press(page, "+")
    assert page.locator("#slice").bounding_box()["width"] > 1.2 * width
    press(page, "-", "0")
    assert page.locator("#slice").bounding_box()["width"] == pytest.approx(width)
    press(page, "?")
    assert page.locator("#help").is_visible()
    press(page, "Escape")
    assert not page.locator("#help").is_visible()


@pytest.mark.parametrize("smoothed", [False, True])
def test_the_verdict_is_that_of_the_tables(show, smoothed):
    study = made_page(3, shows_smoothed=smoothed)
    page = show(study)
    probabilities = study.smoothed if smoothed else study.raw
    maxima = pd.DataFrame([probabilities.max(axis=0)], columns=list(LABELS))
    thresholds = dict(study.thresholds["smoothed" if smoothed else "raw"]["answer"])
    assert found(page) == labels_at_thresholds(maxima, thresholds)[0]
    verdicts = set()
    for k, label in enumerate(LABELS):
        press(page, str(k + 1))
        for value in (maxima.loc[0, label] - 1e-6, maxima.loc[0, label] + 1e-6, 0.0, 0.8):
            thresholds[label] = float(value)
            set_slider(page, "threshold", float(value))
            verdicts.add(found(page))
            assert found(page) == labels_at_thresholds(maxima, thresholds)[0]
    assert len(verdicts) > 3


@pytest.mark.parametrize("fitted", [False, True])
def test_a_page_opens_with_the_threshold_that_was_given_and_says_so(show, fitted):
    study = made_page(3, own_threshold=0.0123, **({} if fitted else {"thresholds": None}))
    study.raw[:, 5] = 0.02  # below the fitted one
    page = show(study)
    chosen = page.locator("#point option:checked")
    assert chosen.inner_text() == "given, not fitted: any from 0.0123"
    assert "any" in found(page) and "≥ 0.012" in page.locator(".label").last.inner_text()
    page.locator("#smoothed").click()  # of whose probabilities it is no threshold
    assert chosen.inner_text() == ("95 % sensitivity for any" if fitted else "own thresholds")
    page.locator("#point").select_option("given")
    assert not page.locator("#smoothed").is_checked() and "any" in found(page)
    set_slider(page, "threshold", 0.03)
    assert chosen.inner_text() == "own thresholds" and "any" not in found(page)


def test_true_labels_are_agreed_missed_and_false_alarms(show):
    raw, labels = np.full((2, 6), 0.1), np.zeros((2, 6), int)
    raw[0, [0, 1, 5]] = 0.9
    labels[1, [0, 2, 5]] = 1
    page = show(made_page(2, raw=raw, labels=labels))
    verdicts = [x.split("\n")[-1] for x in page.locator(".label").all_inner_texts()]
    assert verdicts[0] == verdicts[5] == "found, agreed"
    assert verdicts[1] == "found, false alarm"
    assert verdicts[2] == "not found, missed"
    assert verdicts[3] == "not found, agreed"


def test_kinds_that_are_not_known_are_neither_agreed_nor_false_alarms(show):
    page = show(made_page(2, raw=np.full((2, 6), 0.9), labels=np.array([[0], [1]])))
    verdicts = [x.split("\n")[-1] for x in page.locator(".label").all_inner_texts()]
    assert verdicts == ["found"] * 5 + ["found, agreed"]


def test_a_click_on_a_curve_jumps_there_and_gaps_are_gaps(show):
    z = np.array([0, 5, 10, 60, 65, 70, 80, 90.0])
    page = show(made_page(position_mm=z))
    curve = page.locator(".curve .main").first
    assert curve.get_attribute("d").count("M") == 2
    box = page.locator(".curve svg").nth(4).bounding_box()
    page.mouse.click(box["x"] + box["width"] * (0.02 + 0.96 * 66 / 90), box["y"] + 5)
    assert slice_number(page) == 5
    assert page.locator(".label[aria-pressed=true]").inner_text().startswith("subdural")


def test_text_from_files_is_never_markup(show):
    study = made_page(remarks=[HOSTILE], notice=HOSTILE, rejects={HOSTILE: 2})
    page = show(study)
    for name in ("#notice", "#remarks li", "#rejects li"):
        assert HOSTILE in page.locator(name).inner_text()
    assert page.evaluate("document.images.length") == 0


def test_scripts_that_are_not_of_the_page_do_not_run(show, browser, tmp_path):
    path = tmp_path / "changed.html"
    write_page(path, made_page(1))
    path.write_text(path.read_text("utf-8").replace("<main>", f"<main>{HOSTILE}"), "utf-8")
    page = opened(browser, path, SCREEN)
    assert "markup" not in page.messages
    assert any("Content Security Policy" in x for x in page.messages)


@pytest.mark.parametrize(
    "study",
    [
        made_page(1, masks=None, labels=None),
        made_page(2, smoothed=None, thresholds=None, placed=False, position_mm=np.full(2, np.nan)),
        made_page(3, position_mm=np.array([5, 5, 5.0]), labels=made_page().labels[:1]),
    ],
    ids=["one slice", "not placed, not fitted", "all at one place, labels of the study"],
)
def test_studies_that_lack_something(show, study):
    page = show(study)
    press(page, "n", "End", "Home", "1", "m", "w")
    assert slice_number(page) == 1
    assert (page.locator(".side.left").inner_text() == "R") == study.placed
    assert page.locator("#smoothed").is_visible() == (study.smoothed is not None)
    if study.thresholds is None:
        assert found(page) == ""
        set_slider(page, "threshold", 0.0)
        assert found(page) == "epidural any"


def test_the_banner_stays_and_nothing_is_wider_than_a_telephone(show):
    page = show(made_page(), TELEPHONE)
    page.evaluate("scrollTo(0, 1e6)")
    assert page.locator("#banner").bounding_box()["y"] == 0
    assert "not for diagnosis" in page.locator("#banner").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_swipe_turns_slices(show):
    page = show(made_page(), TELEPHONE, has_touch=True)
    press(page, "Home")
    box = page.locator("#stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    client = page.context.new_cdp_session(page)
    for kind, dy in [("touchStart", 0), *(("touchMove", -10 * i) for i in range(1, 13))]:
        points = [{"x": x, "y": y + dy}]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert slice_number(page) > 1


def test_two_fingers_zoom(show):
    page = show(made_page(), TELEPHONE, has_touch=True)
    width = page.locator("#slice").bounding_box()["width"]
    box = page.locator("#stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    client = page.context.new_cdp_session(page)
    for kind, apart in [("touchStart", 20), *(("touchMove", 20 + 5 * i) for i in range(1, 9))]:
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert page.locator("#slice").bounding_box()["width"] == pytest.approx(3 * width, rel=0.1)


def test_keys_turn_slices_after_a_click_on_a_slider(show):
    page = show(made_page())
    press(page, "Home")
    page.locator("#opacity").click(position={"x": 5, "y": 5})
    opacity = page.locator("#opacity").input_value()
    press(page, "ArrowUp", "ArrowUp")
    assert slice_number(page) == 3
    assert page.locator("#opacity").input_value() == opacity


def test_a_screen_reader_finds_landmarks_and_labels(show):
    page = show(made_page())
    for role, name in (
        *(("main", None), ("banner", None), ("contentinfo", None), ("region", "Slices")),
        *(("region", "Probability along z"), ("group", "Windows"), ("slider", "Slice")),
        *(("combobox", "Class map"), ("slider", "Threshold of any"), ("spinbutton", "Level")),
    ):
        assert page.get_by_role(role, name=name).count() == 1, (role, name)
    assert "any" in page.locator("#slice").get_attribute("aria-label")
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, select')].filter(x => !x.labels.length).length"
    )
    assert unnamed == 0


@pytest.mark.slow
def test_600_slices_open_in_three_seconds_and_scroll(show):
    if os.getloadavg()[0] > (os.cpu_count() or 1):
        pytest.skip("the machine is busy, so times say nothing about the page")
    page = show(made_page(600, 182, 182))
    assert page.evaluate("Number(document.body.dataset.ready)") < 3000
    took = page.evaluate(
        """async () => {
            const begin = performance.now();
            for (let i = 0; i < 60; i++) {
                document.body.dispatchEvent(
                    new KeyboardEvent("keydown", { key: "ArrowUp", bubbles: true }));
                await new Promise(requestAnimationFrame);
            }
            return performance.now() - begin;
        }"""
    )
    assert took < 2000
