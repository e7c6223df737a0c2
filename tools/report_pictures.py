"""Take the pictures of docs/how-to/report.md: ``python -m tools.report_pictures RUN.html SET.html [folder]``.

The first report is of a run, the second of a set next to its real data. Every picture is taken twice: of a wide window,
and of a telephone, on which the page shows the second one. Needs Chromium on the path, or its place in ``CHROMIUM``.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Literal, NamedTuple

from playwright.sync_api import Browser, sync_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WIDE, PHONE = 1000, 390  # pixels of the windows
MARGIN = 12  # pixels above a section


class Picture(NamedTuple):
    """A part of a report."""

    name: str
    report: int  # 0 is that of the run, 1 that of the set
    section: str  # its anchor; "" is the top of the page
    scheme: Literal["light", "dark"]
    heights: tuple[int, int]  # pixels of the wide picture, 0 for none, and of that of a telephone


PICTURES = (
    Picture("report-light", 1, "images", "light", (836, 536)),
    Picture("report-dark", 0, "evolution", "dark", (570, 1156)),
    Picture("report-copies", 1, "copies", "light", (976, 737)),
    Picture("report", 0, "", "light", (0, 666)),
)


def take(browser: Browser, picture: Picture, report: Path, folder: Path) -> None:
    """Write NAME.png of a wide window and NAME-phone.png of a telephone."""
    for width, height, suffix in zip((WIDE, PHONE), picture.heights, ("", "-phone"), strict=True):
        if not height:
            continue
        scale = 2 if width == PHONE else 1
        page = browser.new_page(
            viewport={"width": width, "height": height},
            color_scheme=picture.scheme,
            device_scale_factor=scale,
            reduced_motion="reduce",  # the animation shows its last image
        )
        page.goto(report.resolve().as_uri())
        box = page.locator(f"#h-{picture.section}").bounding_box() if picture.section else None
        top = 0.0 if box is None else max(box["y"] - MARGIN, 0.0)
        clip = {"x": 0.0, "y": top, "width": float(width), "height": float(height)}
        page.screenshot(path=folder / f"{picture.name}{suffix}.png", full_page=True, clip=clip)  # type: ignore[arg-type]
        page.close()


def main() -> None:
    """Take all of them."""
    reports, folder = [Path(name) for name in sys.argv[1:3]], Path(sys.argv[3]) if len(sys.argv) > 3 else IMAGES
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if len(reports) != 2 or program is None:
        raise SystemExit("Expected two reports and Chromium (Debian: apt-get install chromium, or CHROMIUM=PROGRAM).")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for picture in PICTURES:
            take(browser, picture, reports[picture.report], folder)
        browser.close()


if __name__ == "__main__":
    main()
