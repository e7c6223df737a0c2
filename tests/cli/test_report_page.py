"""The report in a real browser: zoom by mouse and keyboard, toggles, narrow and dark, no error and nothing fetched."""

from __future__ import annotations

import shutil

import pytest
import torch

import ncfm
from ncfm._utils.files import write_json
from ncfm.synthetic.folders import SCORES_FILE
from ncfm.workflows.report import write_report
from tiny import SETTINGS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="the dev extra (playwright) is not installed")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path (Debian: apt-get install chromium)"),
    # Of the driver's own: a pipe that the interpreter closes at its end.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    settings = SETTINGS | {"distill.iterations": 3, "machine.diagnose_every": 1}
    ncfm.distill(digits, ipc=2, recipe="none", settings=settings, out=folder)
    counts = torch.eye(10, dtype=torch.int64).add(1).tolist()
    write_json(
        folder / SCORES_FILE,
        [
            {
                "accuracy_mean": 0.2,
                "accuracies": [0.2],
                "network": "convnet",
                "protocol": "quick",
                "per_class": [0.2] * 10,
                "confusion": counts,
            }
        ],
    )
    return write_report(folder).path


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, report):
    """Open the report; at the end there must have been no error and no request but for the file."""
    opened = []

    def open_(**options):
        page = browser.new_page(**{"viewport": {"width": 1100, "height": 800}} | options)
        heard = []
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: heard.append(request.url))
        page.goto(report.as_uri())
        opened.append((page, heard))
        return page

    yield open_
    for page, heard in opened:
        page.close()
        assert [said for said in heard if not said.startswith("data:")] == [report.as_uri()]


def test_an_image_opens_and_closes_by_mouse_and_by_keyboard(open_page):
    page = open_page()
    dialog, tile = page.locator("#zoom"), page.locator(".class .own").first
    assert not dialog.is_visible()
    tile.click()
    assert dialog.is_visible()
    assert page.locator("#zoom-text").inner_text() == "Synthetic image of 0, 1 of 2"
    assert page.locator("#zoom-image").bounding_box()["width"] > 5 * tile.bounding_box()["width"]
    assert page.locator("#previous").is_disabled()
    page.keyboard.press("ArrowRight")
    assert page.locator("#zoom-text").inner_text() == "Synthetic image of 0, 2 of 2"
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    # The focus is on the image that was looked at last; Enter opens it again, and arrows move along the row.
    assert page.evaluate("document.activeElement.querySelector('img').alt") == "Synthetic image of 0, 2 of 2"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    assert page.locator("#zoom-text").inner_text() == "Synthetic image of 0, 1 of 2"
    page.locator("#close").click()
    assert not dialog.is_visible()
    # A row is one stop of the tab key.
    assert page.locator(".class .tiles").first.locator(".tile[tabindex='0']").count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.querySelector('img').alt").startswith("Real image of 1")


def test_whatever_can_be_toggled_toggles(open_page):
    page = open_page()
    assert page.locator("#animation").evaluate("image => image.complete && image.naturalWidth > 0")
    moving = page.locator("#animation").get_attribute("src")
    page.locator("#pause").click()
    assert page.locator("#pause").inner_text() == "Play"
    assert page.locator("#animation").get_attribute("src") != moving
    page.locator("#pause").click()
    assert page.locator("#animation").get_attribute("src") == moving == page.locator("#save").get_attribute("href")

    cloud = page.locator(".map .cloud")
    page.locator("#class").select_option("3")
    assert [float(cloud.nth(i).evaluate("g => getComputedStyle(g).opacity")) for i in (2, 3)] == [0.07, 1.0]
    page.locator("#class").select_option("")
    assert float(cloud.nth(2).evaluate("g => getComputedStyle(g).opacity")) == 1.0

    for part in page.locator("details.more").all():
        folded = part.locator(":scope > :not(summary)")
        assert not folded.is_visible()
        part.locator(":scope > summary").click()
        assert folded.is_visible()
    for details in page.locator("details:not(.more)").all():  # numbers of charts, and the settings
        assert not details.locator("table").is_visible()
        details.locator("summary").click()
        assert details.locator("table").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1100  # tables scroll inside their cards


def test_a_folded_page_is_shorter_and_prints_whole(open_page):
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True)
    height = "document.documentElement.scrollHeight"
    folded, closed = page.evaluate(height), page.locator("details.more:not([open])").count()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.more[open]").count() == closed >= 6
    assert page.evaluate(height) > 1.5 * folded
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(height) == folded


def test_every_image_can_be_decoded(open_page):
    page = open_page()
    broken = page.evaluate("[...document.images].filter(i => i.id !== 'zoom-image' && !i.naturalWidth).length")
    assert broken == 0


@pytest.mark.parametrize("width", [320, 360, 768])
def test_narrow_pages_do_not_scroll_sideways(open_page, width):
    page = open_page(viewport={"width": width, "height": 700}, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.locator(".class .own").first.tap()
    box = page.locator("#zoom").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


def test_dark_is_dark(open_page):
    def brightness(page):
        colours = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,"
            " getComputedStyle(document.querySelector('.chart text')).fill]"
        )
        return [sum(map(int, c[4:-1].split(","))) for c in colours]

    light, dark = (brightness(open_page(color_scheme=scheme)) for scheme in ("light", "dark"))
    assert light[0] > 600 > 300 > max(light[1:])
    assert dark[0] < 100 < 450 < min(dark[1:])


def test_nothing_moves_for_those_who_want_it_still(open_page):
    page = open_page(reduced_motion="reduce")
    assert page.locator("#pause").inner_text() == "Play"
    assert page.locator("#animation").get_attribute("src") != page.locator("#save").get_attribute("href")
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
