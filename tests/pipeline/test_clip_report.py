from __future__ import annotations

import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mien import __version__
from mien.errors import MissingExtraError, OptionError
from mien.labels.expressions import EXPRESSIONS
from mien.pipeline import timeline
from mien.pipeline.clip_report import ReportWriter
from mien.types.media import Failure
from mien.types.track import Baseline, Event
from mien.types.units import ActionUnits

pytest.importorskip("matplotlib", reason="reports need matplotlib: pip install 'mien[plot]'")

HAPPY = Event("happy", 2.04, 3.0, 64.5, 0.934, 75, False, True, 2.25)
NO_CLOSE = {"meta", "img", "br"}


class Page(HTMLParser):
    """Reads a page, sees that what is opened is closed, and keeps addresses and words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.addresses += [
            value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")
        ]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in NO_CLOSE:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def said(self) -> str:
        return re.sub(r" ([,.])", r"\1", " ".join(" ".join(self.words).split()))


def report(path: Path, *courses, failures=()) -> Page:
    with ReportWriter(
        path, model="expression", sha256="5a" * 32, options={"every": 0.2, "smooth": True, "end": None}
    ) as writer:
        for course in courses:
            writer.add(course)
        for failure in failures:
            writer.add_failure(failure)
    return Page(path.read_text(encoding="utf-8"))


def test_a_report_holds_everything_and_asks_for_nothing(tmp_path: Path, track_of, course_of) -> None:
    path = tmp_path / "r.html"
    page = report(path, course_of(track_of(["happy"] * 250, events=[HAPPY])), course_of(path="b.mp4"))
    assert [one.name for one in tmp_path.iterdir()] == ["r.html"]
    assert all(address.startswith(("data:image/", "#clip")) for address in page.addresses)
    assert sum(address.startswith("data:image/png") for address in page.addresses) == 3
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text and "@media print" in text and 'name="viewport"' in text
    for words in (
        f"mien {__version__}",
        f"expression, sha256 {'5a' * 32}",
        "options every 0.2, smooth written",
    ):
        assert words in page.said, words


def test_names_and_messages_are_escaped(tmp_path: Path, track_of, course_of) -> None:
    course = course_of(
        track_of(["happy"] * 9), frames=9, path="in/<script>alert('x')&.mp4", trouble="<b>off</b>"
    )
    page = report(tmp_path / "r.html", course, failures=[Failure('<img src="x" onerror="y">.mp4', "got <i>")])
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<script" not in text and "&lt;script&gt;alert(&#x27;x&#x27;)&amp;.mp4" in text
    assert page.said.count("<script>alert('x')&.mp4") == 3  # contents, heading, path
    assert "The clip broke off: <b>off</b>" in page.said and "Not read: got <i>" in page.said


def test_the_table_says_what_the_event_says(tmp_path: Path, track_of, course_of) -> None:
    page = report(tmp_path / "r.html", course_of(track_of(["happy"] * 250, events=[HAPPY])))
    assert "happy 0:02.04 0:03.00 1:04.50 62.46 s 0.93 2.2 went on" in page.said
    without = replace(HAPPY, intensity=None, cut_after=False)
    page = report(tmp_path / "s.html", course_of(track_of(["happy"] * 250, events=[without])))
    assert "62.46 s 0.93 Face" not in page.said and "0.93 2.2" not in page.said and "went on" not in page.said


def test_shares_blinks_and_the_face_at_rest(tmp_path: Path, track_of, course_of) -> None:
    labels = ["happy"] * 120 + ["neutral"] * 180 + ["sad"] * 200
    blink = np.zeros(500, bool)
    blink[[20, 21, 300]] = True
    track = track_of(
        labels,
        blink=blink,
        talking=np.arange(500) < 50,
        units=ActionUnits((12,), np.ones((500, 1), np.float32), "intensity", "mesh"),
        baseline=Baseline(EXPRESSIONS, np.full(8, 1 / 8), 100, "auto"),
        baseline_note="auto: <calm>",
    )
    track.reliable[300:400] = False
    track.uncertain[400:] = True
    said = report(tmp_path / "r.html", course_of(track, frames=500)).said
    assert "In sight for 20.0 s: certain for 60%, no certain answer for 20%, not reliable for 20%." in said
    assert "Of the certain time (12.0 s): neutral 60%, happy 40%." in said
    assert "2 blinks in 20.0 s with a mesh (6.0 a minute); speech in 10% of its frames." in said
    assert "Relative to the face at rest (auto: <calm>)." in said
    plain = replace(
        track, blink=None, talking=None, units=None, baseline=None, baseline_note="none: too short"
    )
    said = report(tmp_path / "s.html", course_of(plain, frames=500)).said
    assert "blink" not in said and "Not relative to a face at rest (none: too short)." in said


def test_a_face_that_was_never_reliable_has_no_shares(tmp_path: Path, track_of, course_of) -> None:
    track = track_of(["happy"] * 50, reliable=np.zeros(50, bool))
    said = report(tmp_path / "r.html", course_of(track, frames=50)).said
    assert "certain for 0%, no certain answer for 0%, not reliable for 100%." in said
    assert "Of the certain time" not in said


def test_a_run_of_several_clips_has_contents(tmp_path: Path, track_of, course_of) -> None:
    happy = replace(HAPPY, apex_row=3)
    courses = [
        course_of(track_of(["happy"] * 9, events=[happy]), frames=9, path=name) for name in ("a.mp4", "b.mp4")
    ]
    page = report(tmp_path / "r.html", *courses, failures=[Failure("c.mp4", "empty")])
    assert [one for one in page.addresses if one.startswith("#")] == ["#clip1", "#clip2", "#clip3"]
    assert "a.mp4 1 face, 1 event" in page.said and "c.mp4 not read" in page.said
    assert "nav" not in report(tmp_path / "s.html", courses[0]).tags


def test_clips_without_faces_and_runs_without_clips(tmp_path: Path, course_of) -> None:
    page = report(tmp_path / "r.html", course_of(), course_of(frames=0))
    assert page.said.count("0 faces, 0 events") == 2
    assert "clips 0" in report(tmp_path / "s.html").said


def test_tracks_that_are_left_out_are_counted(
    tmp_path: Path, track_of, course_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "MOST_TRACKS", 2)
    course = course_of(*(track_of(["happy"] * (5 + number), number) for number in range(3)), frames=25)
    page = report(tmp_path / "r.html", course)
    assert "Face #0 " not in page.said and "Face #1 " in page.said
    assert "1 more left out, in sight for 0.20 s at most" in page.said


def test_an_error_leaves_no_report_and_a_stop_leaves_one(tmp_path: Path, course_of) -> None:
    def broken(error: type[BaseException]) -> None:
        with ReportWriter(tmp_path / "r.html", model="m", sha256="0", options={}) as writer:
            writer.add(course_of())
            raise error

    with pytest.raises(RuntimeError):
        broken(RuntimeError)
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        broken(KeyboardInterrupt)
    assert "clips 1" in Page((tmp_path / "r.html").read_text(encoding="utf-8")).said


def test_what_is_wrong_is_said_at_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, words in (
        (tmp_path / "r.csv", "ends in .html"),
        (tmp_path / "no" / "r.html", "folder that exists"),
    ):
        with pytest.raises(OptionError, match=words):
            ReportWriter(path, model="m", sha256="0", options={})
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"mien\[plot\]"):
        ReportWriter(tmp_path / "r.html", model="m", sha256="0", options={})
