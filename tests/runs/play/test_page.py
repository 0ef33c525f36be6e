"""The page in a real browser: narrow, by mouse and by keyboard, all scenes, exported and opened offline."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
playwright = pytest.importorskip("playwright.sync_api")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
IDLE = "idle()"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    """Serve the page of the bundled Wall."""
    log = tmp_path_factory.mktemp("play") / "log"
    with log.open("w") as file:
        words = ["-m", "jepawm", "play", "wall", "--no-browser", "--port", "0"]
        process = subprocess.Popen([sys.executable, *words], stderr=file, stdout=file)
    while ";" not in log.read_text():
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    yield log.read_text().partition(";")[0]
    process.terminate()
    process.wait()
    assert "Traceback" not in log.read_text()


@pytest.fixture
def page(url: str):
    """Open the page, 390 pixels wide; whatever its console complains about fails the test."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no Chromium on this machine")
    complaints = []
    with playwright.sync_playwright() as player:
        chromium = player.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 390, "height": 800}, bypass_csp=True)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda one: complaints.append(one.text) if one.type == "error" else None)
        page.goto(url)
        page.wait_for_function(IDLE, timeout=60_000)
        yield page
        chromium.close()
    assert complaints == []


def test_a_drag_plans_anew(page):
    before = page.evaluate("boards[0].answer.path")
    page.locator("canvas.scene").first.scroll_into_view_if_needed()
    box = page.locator("canvas.scene").first.bounding_box()
    x, y = page.evaluate("toPicture(goal, handles()[0].columns)")
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"], steps=4)
    page.mouse.up()
    page.wait_for_function(IDLE)
    assert page.evaluate("boards[0].answer.path") != before
    assert page.evaluate("Math.abs(toPicture(goal, [0, 1])[0] - 0.3)") < 0.02
    page.locator("#execute").click()
    page.wait_for_function(f"{IDLE} && boards[0].answer.real_path")


def test_it_fits_a_narrow_screen_and_keys_move_things(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    start = page.evaluate("start[0]")
    page.locator("canvas.scene").first.focus()
    for key in ("s", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    page.wait_for_function(IDLE)
    assert page.evaluate("start[0]") > start


def test_every_scene_opens_in_both_languages(page):
    for index in range(8):
        page.locator("#tour button").nth(index + 1).click()
        page.wait_for_function(f"scene === {index} && {IDLE}", timeout=60_000)
        page.wait_for_function("boards.length === about.scenes[scene].asks.length")
        assert page.locator("#status").text_content() == ""
        assert page.locator("#text li").count() == 5
    page.locator("#language").click()
    assert page.evaluate("document.documentElement.lang") == "zh"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_page_stands_still_when_it_is_done(page):
    page.evaluate(
        """window.still = async () => {
          const look = () => JSON.stringify([...document.querySelectorAll("button, select, input, canvas, img")]
            .map((one) => one.getBoundingClientRect()));
          const first = look();
          for (let frame = 0; frame < 8; frame += 1) {
            await new Promise(requestAnimationFrame);
            if (look() !== first) return false;
          }
          return true;
        }"""
    )
    for index in (4, 3, 0):
        page.locator("#tour button").nth(index + 1).click()
        page.wait_for_function(f"scene === {index} && {IDLE}")
        assert page.evaluate("still()")


def test_models_that_are_opened_at_the_same_time_do_not_mix(page):
    page.evaluate("openScene(2); openScene(4)")  # PointMaze, then Wall
    page.wait_for_function(f"scene === 4 && {IDLE}")
    assert page.evaluate("[about.model, start.length, boards.length]") == ["wall", 2, 1]


def test_an_exported_play_opens_without_a_server(page, tmp_path: Path):
    page.locator("#execute").click()
    page.wait_for_function(f"{IDLE} && boards[0].answer.real_path")
    with page.expect_download() as waiting:
        page.locator("#export").click()
    file = tmp_path / "play.html"
    waiting.value.save_as(file)
    other = page.context.browser.new_page()
    other.context.set_offline(True)
    other.goto(file.as_uri())
    other.wait_for_function(IDLE)
    assert other.locator("figure.board").count() == 1
    assert other.locator("#tour button").count() >= 1
    assert not other.locator("#controls").is_visible()
    assert not other.locator("#model").is_visible()
