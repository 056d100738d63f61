"""The page in a real browser, on a service with the real analyzer. Each test also fails on a request to another host."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.pipeline.analyzer import Analyzer
from mien.pipeline.pictures import read_picture
from mien.pipeline.table import COLUMNS, open_writer, rows_of
from mien.types.media import FrameResult

pytestmark = [pytest.mark.browser, pytest.mark.slow]
OpenPage = Callable[..., Any]
PHONE = {
    "viewport": {"width": 360, "height": 740},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
WAIT_MS = 120_000

CONTRASTS = """() => {
  const number = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, k) => sum + value * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, alpha = 1] = number(getComputedStyle(at).backgroundColor);
      if (alpha === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !element.checkVisibility()) continue;
    const [front, back] = [light(number(getComputedStyle(element).color)), light(behind(element))];
    found.push([(Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05), element.outerHTML.slice(0, 120)]);
  }
  return found;
}"""


def choose(page: Any, *paths: Path) -> None:
    page.set_input_files("#file", [str(path) for path in paths])


def shown_rows(page: Any) -> list[list[str]]:
    return [line.locator("td").all_inner_texts() for line in page.locator("#table-rows tr").all()]


def downloaded(page: Any, name: str, tmp_path: Path) -> Path:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=f"Download {name}").click()
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


@pytest.fixture
def clip(make_clip: Any, moving: Any, tmp_path: Path) -> Path:
    return make_clip(tmp_path / "smile.mp4", moving(30))


@pytest.mark.parametrize("in_browser", [True, False], ids=["browser", "service"])
def test_a_picture_gives_faces_a_table_and_files(
    open_page: OpenPage,
    runtime: None,
    analyzer: Analyzer,
    astronaut_path: Path,
    tmp_path: Path,
    in_browser: bool,
) -> None:
    page = open_page(in_browser)
    where = (
        "In your browser, nothing leaves this machine"
        if in_browser
        else "Through the service on this machine"
    )
    assert page.inner_text("#where") == where
    choose(page, astronaut_path)
    page.wait_for_selector("#downloads button")
    image = read_picture(astronaut_path)
    expected = rows_of(
        FrameResult(astronaut_path.name, 0, None, analyzer.analyze_image(image), image.shape[1::-1])
    )
    assert [cells[:3] for cells in shown_rows(page)] == [["1", expected[0]["expression"], ">99%"]]
    assert page.locator(".face:visible").count() == 1
    assert page.inner_text("#say").startswith("1 face found. Face 1: happy, >99%")
    pixels = page.evaluate(
        "() => { const c = document.getElementById('overlay'); return c.toDataURL().length }"
    )
    assert pixels > 1500  # something is drawn over the picture
    saved = json.loads(downloaded(page, "JSON", tmp_path).read_text())
    assert [list(row) for row in saved] == [list(COLUMNS)]
    for name, value in expected[0].items():
        assert saved[0][name] == (pytest.approx(value, abs=0.011) if isinstance(value, float) else value), (
            name
        )
    csv = downloaded(page, "CSV", tmp_path)
    assert csv.name == "astronaut.csv" and csv.read_text().splitlines()[0] == ",".join(COLUMNS)


def test_csv_is_what_python_writes(open_page: OpenPage, runtime: None, tmp_path: Path) -> None:
    blank = dict.fromkeys(COLUMNS)
    rows = [
        {**blank, "path": 'a "b", c\nd', "frame": 0, "uncertain": True, "confidence": 0.5},
        {**blank, "path": "e", "reliable": False},
    ]
    with open_writer(tmp_path / "x.csv") as table:
        table.write(rows)
    page = open_page()
    text = page.evaluate("async (rows) => (await import('/assets/save.js')).toCsv(rows)", rows)
    assert text == (tmp_path / "x.csv").read_bytes().decode()


def test_several_pictures_one_of_them_broken(
    open_page: OpenPage, runtime: None, astronaut_path: Path, tmp_path: Path
) -> None:
    broken, empty = tmp_path / "broken.jpg", tmp_path / "empty.png"
    broken.write_bytes(b"\xff\xd8\xff\xe0 and then nothing")
    Image.new("RGB", (64, 64), "grey").save(empty)
    page = open_page()
    choose(page, astronaut_path, broken, empty)
    page.wait_for_selector("#downloads button")
    table = shown_rows(page)
    assert [cells[0] for cells in table] == ["astronaut.jpg", "broken.jpg", "empty.png"]
    assert "expected" in table[1][2] and table[2][2] == "no face"
    page.get_by_role("button", name="Show empty.png").click()
    assert "No face found" in page.inner_text("#none")
    assert page.locator(".face:visible").count() == 0


def test_a_picture_that_only_the_service_can_read(
    open_page: OpenPage, runtime: None, astronaut: np.ndarray, tmp_path: Path
) -> None:
    Image.fromarray(astronaut).save(tmp_path / "a.tif")
    page = open_page()
    choose(page, tmp_path / "a.tif")
    page.wait_for_selector("#downloads button")
    assert "through the service" in page.inner_text("#pace")
    assert page.locator(".face:visible").count() == 1


@pytest.mark.parametrize(("darker", "hint"), [(0.12, "turn towards the light"), (None, "hold still")])
def test_a_poor_view_says_what_would_help(
    open_page: OpenPage, runtime: None, portrait: np.ndarray, tmp_path: Path, darker: float | None, hint: str
) -> None:
    small = Image.fromarray(portrait).resize((20, 20)).resize((256, 256))
    image = Image.fromarray((portrait * darker).astype(np.uint8)) if darker else small
    image.save(tmp_path / "poor.png")
    page = open_page()
    choose(page, tmp_path / "poor.png")
    page.wait_for_selector(".face:visible")
    assert hint in page.inner_text(".face .hint")
    assert page.get_attribute(".face", "data-state") == "poor"
    assert hint in page.inner_text("#say")


def test_a_clip_builds_its_timeline_and_gives_files(
    open_page: OpenPage, runtime: None, analyzer: Analyzer, clip: Path, tmp_path: Path
) -> None:
    pyarrow = pytest.importorskip(
        "pyarrow.parquet", reason="Parquet needs pyarrow: pip install 'mien[tables]'"
    )
    page = open_page()
    choose(page, clip)
    page.wait_for_selector("#lanes:visible")
    page.get_by_role("button", name="Download Parquet").wait_for(timeout=WAIT_MS)
    expected = [row for result in analyzer.stream(clip, every_s=0.2) for row in rows_of(result)]
    assert len(shown_rows(page)) == len(expected) > 3
    assert page.get_by_role("button", name="Download Report").count() == 0  # it is made of smoothed values
    assert page.locator("#progress").is_hidden()
    saved = json.loads(downloaded(page, "JSON", tmp_path).read_text())
    assert [row["time_s"] for row in saved] == [row["time_s"] for row in expected]
    assert [row["expression"] for row in saved] == [row["expression"] for row in expected]
    assert pyarrow.read_table(downloaded(page, "Parquet", tmp_path)).num_rows == len(expected)
    page.locator("#course summary").click()
    assert expected[0]["expression"] in page.inner_text("#course-rows")
    before = page.evaluate("document.querySelector('video').currentTime")
    page.locator("#seek").focus()
    page.keyboard.press("End")
    page.wait_for_timeout(800)
    assert page.evaluate("document.querySelector('video').currentTime") > before + 0.5


def test_a_clip_can_be_cancelled(
    open_page: OpenPage, runtime: None, make_clip: Any, moving: Any, tmp_path: Path
) -> None:
    page = open_page()
    page.locator(".options summary").click()
    page.select_option("select[name=every_s]", "")
    choose(page, make_clip(tmp_path / "long.mp4", moving(400)))
    page.wait_for_selector("#table-rows tr")
    page.click("#cancel")
    page.wait_for_selector("#progress", state="hidden", timeout=WAIT_MS)
    assert page.inner_text("#pace").startswith("stopped:")
    assert len(shown_rows(page)) < 200
    assert page.locator("#downloads button").count() == 2  # CSV and JSON of what there is


def test_a_clip_that_is_none_says_so(open_page: OpenPage, runtime: None, tmp_path: Path) -> None:
    (tmp_path / "none.mp4").write_bytes(b"no clip at all" * 100)
    page = open_page()
    choose(page, tmp_path / "none.mp4")
    page.wait_for_selector("#trouble:visible")
    assert "expected" in page.inner_text("#trouble")


@pytest.mark.parametrize("in_browser", [True, False], ids=["browser", "service"])
def test_the_camera_is_read_live(
    open_page: OpenPage, runtime: None, tmp_path: Path, in_browser: bool
) -> None:
    page = open_page(in_browser)
    page.click("#camera")
    page.locator("#pace", has_text="frames a second").wait_for(timeout=WAIT_MS)
    where = (
        "In your browser, nothing leaves this machine"
        if in_browser
        else "Through the service on this machine"
    )
    assert re.fullmatch(rf"{where} · \d+(\.\d)? frames a second", page.inner_text("#pace"))
    page.wait_for_selector(".face:visible")
    assert page.inner_text(".face .chip").startswith("happy")
    page.wait_for_selector("#lanes:visible")
    page.wait_for_selector("#table-rows tr", timeout=WAIT_MS)
    page.click("#stop")
    assert page.inner_text("#pace") == "The camera is off."
    rows = json.loads(downloaded(page, "JSON", tmp_path).read_text())
    assert len(rows) > 3 and rows[0]["path"] == "camera"
    times = [row["time_s"] for row in rows]
    assert times == sorted(times) and len(set(times)) == len(times)
    assert page.evaluate("document.querySelector('video').srcObject.active") is False


def test_everything_works_by_keyboard(open_page: OpenPage, runtime: None, astronaut_path: Path) -> None:
    page = open_page()

    def tab_to(identity: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if (
                page.evaluate(
                    "document.activeElement.id || document.activeElement.getAttribute('aria-label')"
                )
                == identity
            ):
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline == "solid", f"{identity} shows no focus"
                return
        raise AssertionError(f"the key Tab does not lead to {identity}")

    tab_to("choose")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(str(astronaut_path))
    page.wait_for_selector("#downloads button")
    tab_to("Download CSV")
    with page.expect_download():
        page.keyboard.press("Enter")
    page.evaluate("document.activeElement.blur()")
    page.evaluate("document.getElementById('choose').focus()")
    tab_to("camera")
    page.keyboard.press("Enter")
    page.wait_for_selector("#stop:visible")
    tab_to("stop")
    page.keyboard.press("Enter")
    assert page.inner_text("#pace") == "The camera is off."


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("what", ["sure", "poor", "clip"])
def test_text_can_be_read_in_light_and_dark(
    open_page: OpenPage,
    runtime: None,
    astronaut_path: Path,
    portrait: np.ndarray,
    clip: Path,
    tmp_path: Path,
    scheme: str,
    what: str,
) -> None:
    page = open_page(color_scheme=scheme, reduced_motion="reduce")
    poor = tmp_path / "poor.png"
    Image.fromarray((portrait * 0.12).astype(np.uint8)).save(poor)
    choose(page, {"sure": astronaut_path, "poor": poor, "clip": clip}[what])
    page.wait_for_selector("#downloads button", timeout=WAIT_MS)
    page.locator(".options summary").click()
    found = page.evaluate(CONTRASTS)
    assert len(found) > 30
    assert not [pair for pair in found if pair[0] < 4.5]
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", back))) < 150) == (scheme == "dark")


@pytest.mark.parametrize("what", ["start", "picture", "clip", "camera"])
def test_it_fits_a_phone(
    open_page: OpenPage, runtime: None, astronaut_path: Path, clip: Path, what: str
) -> None:
    page = open_page(**PHONE)
    if what == "camera":
        page.click("#camera")
        page.wait_for_selector("#lanes:visible", timeout=WAIT_MS)
    elif what != "start":
        choose(page, astronaut_path if what == "picture" else clip)
        page.wait_for_selector("#downloads button", timeout=WAIT_MS)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    low = "[...document.querySelectorAll('button, select')].filter((e) => e.checkVisibility() && e.offsetHeight < 44).map((e) => e.id)"
    assert page.evaluate(low) == []


def test_the_warning_stands_there_once(open_page: OpenPage, runtime: None, astronaut_path: Path) -> None:
    page = open_page()
    choose(page, astronaut_path)
    page.wait_for_selector("#downloads button")
    assert page.inner_text("body").count("An expression is not an emotion") == 1


def test_a_token_is_asked_for_and_kept(
    open_page: OpenPage, runtime: None, clip: Path, tmp_path: Path
) -> None:
    token = "correct-horse-battery"
    page = open_page(token=token, ready=False)
    for word in ("wrong-horse-battery-1", token):
        page.wait_for_selector("#ask[open]")
        page.fill("#token", word)
        page.keyboard.press("Enter")
    page.wait_for_selector("body[data-where=browser]")
    page.reload()
    page.wait_for_selector("body[data-where=browser]")
    assert page.locator("#ask[open]").count() == 0
    page.locator(".options summary").click()
    page.check("input[name=smooth]")
    choose(page, clip)
    page.get_by_role("button", name="Download Events").wait_for(timeout=WAIT_MS)
    assert "data:image/png" in downloaded(page, "Report", tmp_path).read_text()


def test_a_dropped_picture_is_read(open_page: OpenPage, runtime: None, portrait: np.ndarray) -> None:
    stream = io.BytesIO()
    Image.fromarray(portrait).save(stream, "PNG")
    page = open_page()
    page.evaluate(
        """(bytes) => {
          const data = new DataTransfer();
          data.items.add(new File([Uint8Array.from(bytes)], "dropped.png", { type: "image/png" }));
          document.getElementById("drop").dispatchEvent(new DragEvent("drop", { bubbles: true, dataTransfer: data }));
        }""",
        list(stream.getvalue()),
    )
    page.wait_for_selector(".face:visible")
