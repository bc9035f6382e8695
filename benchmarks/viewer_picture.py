"""The picture of README.md: the page of a phantom study, with "phantom" written on its slice.

ich-keras synth first --patients 1 --seed 9
ich-keras predict phantom first/stage_2_train --smooth --view --out first-answer
python -m benchmarks.viewer_picture first-answer/study_001.html docs/images/viewer.png
"""

import io
from pathlib import Path

import click
from PIL import Image

WIDTH, HEIGHT = 1120, 828
SHOWN = 816  # without half a line below
COLORS = 256  # a palette: a third of the bytes
MARK = """() => {
  const mark = document.createElement("span");
  mark.textContent = "phantom";
  mark.style = "position:absolute; left:.8rem; top:.6rem; font: bold 1.5rem sans-serif";
  document.getElementById("stage").append(mark);
}"""


def photograph(page: Path, chromium: str) -> Image.Image:
    """The page as it opens: at the slice where any hemorrhage is most probable."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        shown.goto(page.resolve().as_uri())
        shown.wait_for_selector("body[data-ready]")
        shown.evaluate(MARK)
        pixels = shown.screenshot(clip={"x": 0, "y": 0, "width": WIDTH, "height": SHOWN})
        browser.close()
    return Image.open(io.BytesIO(pixels))


@click.command(help=__doc__.splitlines()[0])
@click.argument("page", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--chromium", default="/usr/bin/chromium", show_default=True)
def main(page: Path, out: Path, chromium: str) -> None:
    """Takes and writes the picture."""
    photograph(page, chromium).convert("RGB").quantize(COLORS).save(out, optimize=True)


if __name__ == "__main__":
    main()
