"""One HTML file about the clips of a run, with everything in it: pictures, tables of events, what the numbers mean.

It needs no script and no file beside it, and asks nothing of any host. Needs matplotlib (extra `plot`).
"""

from __future__ import annotations

import base64
import io
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from html import escape
from pathlib import Path
from types import TracebackType

import numpy as np
from PIL import Image

from mien import __version__
from mien.errors import OptionError
from mien.evaluate.canvas import printable, require_matplotlib
from mien.files import whole
from mien.pipeline.confidence import decimals
from mien.pipeline.events import EVENTS_STEP_S
from mien.pipeline.plot_page import clock, colours_of, length
from mien.pipeline.report_style import STYLE
from mien.pipeline.strips import Shares, blinks_a_minute, meshed, meshed_s, shares_of, stretches
from mien.pipeline.thumbnails import Thumbnails, cut_thumbnails
from mien.pipeline.timeline import draw_summary, draw_track, left_out, shown
from mien.types.media import Failure
from mien.types.track import Course, Event, Track

MEANING = (
    "<b>Strength</b> is the smoothed probability of an expression at its apex: how plain it is to the network. It is no "
    "intensity as FACS has it. <b>Intensity</b>, where a mesh of the face was read, is the mean intensity (0 to 5) of the "
    "action units that speak for the expression at the apex, measured from the mesh and not by a coder.",
    "<b>Smoothed</b> values join each frame with those before and after it by a hidden Markov chain. That takes out "
    "flicker; it does not mend what the network gets wrong all the time. There is <b>no certain answer</b> where the smoothed "
    "probability lies under the network's threshold, or where the network doubts half of the frames around or more.",
    "<b>Shares</b> are of the time in which a face was seen, reliable and the answer certain, not of the whole clip. An "
    "expression is the look of a face, not what the person feels.",
)
CUTS = {(True, False): "had begun", (False, True): "went on", (True, True): "had begun, went on"}


class ReportWriter:
    """Collects the courses of a run, and writes the report when it is left. The file gets its name when it is whole.

    Pictures wait in a temporary file, so memory does not grow with the number of clips.

    Args:
        path: of the HTML file; its folder must be there.
        model: name of the network.
        sha256: of its file.
        options: of the run, by name, for the record; those that are `None` or `False` are left out.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OptionError: the name does not end in .html, or there is no such folder.
    """

    def __init__(self, path: Path, *, model: str, sha256: str, options: Mapping[str, object]) -> None:
        require_matplotlib()
        if path.suffix.lower() not in (".html", ".htm") or path.is_dir():
            raise OptionError(f"expected a file name that ends in .html for the report, got {path}")
        if not path.parent.is_dir():
            raise OptionError(
                f"expected a folder that exists for the report, got {path.parent}. Make it first."
            )
        self.path = path
        self._facts = {
            "mien": __version__,
            "network": f"{model}, sha256 {sha256}",
            "options": ", ".join(_option(*pair) for pair in options.items() if _is_set(pair[1])) or "none",
        }
        self._contents: list[str] = []
        self._waiting = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> ReportWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._waiting:
            if kind is None or issubclass(kind, KeyboardInterrupt):
                self._write()

    def add(self, course: Course, name: str | None = None) -> None:
        """Take a clip in. Use it as the `course` of `Analyzer.stream`.

        Args:
            course: of the clip; faces are cut out of the file at its path.
            name: shown in the place of that path.
        """
        thumbnails = cut_thumbnails(course, shown(course))
        course = course if name is None else replace(course, path=name)
        faces, events = len(course.tracks), sum(1 for _ in course.events())
        counted = f"{_many(faces, 'face')}, {_many(events, 'event')}"
        self._section(
            course.path, counted + (", broke off" if course.trouble else ""), _clip(course, thumbnails)
        )

    def add_failure(self, failure: Failure) -> None:
        """Take a file in that could not be read at all."""
        self._section(failure.path, "not read", _trouble(f"Not read: {failure.error}"))

    def _section(self, path: str, counted: str, body: str) -> None:
        number = len(self._contents) + 1
        name = _text(Path(path).name)
        self._contents.append(f'<li><a href="#clip{number}">{name}</a> <small>{counted}</small></li>')
        where = f'<p class="soft path">{_text(path)}</p>'
        section = f'<section id="clip{number}">\n<h2>{name}</h2>\n{where}\n{body}</section>\n'
        self._waiting.write(section.encode())

    def _write(self) -> None:
        now = datetime.now().astimezone()
        facts = {**self._facts, "written": f"{now:%Y-%m-%d %H:%M} ({now:%z})", "clips": len(self._contents)}
        before = (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
            "style-src 'unsafe-inline'\">\n"
            f"<title>Expressions over time</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
            f"<h1>Expressions over time</h1>\n{_facts(facts)}\n"
        )
        if len(self._contents) > 1:
            before += "<nav>\n<h2>Clips</h2>\n<ol>\n" + "\n".join(self._contents) + "\n</ol>\n</nav>\n"
        before += "<aside>\n<h2>What the numbers mean</h2>\n"
        before += "".join(f"<p>{sentence}</p>\n" for sentence in MEANING) + "</aside>\n"
        with whole(self.path) as file:
            file.write(before.encode())
            self._waiting.seek(0)
            shutil.copyfileobj(self._waiting, file)
            file.write(b"</body>\n</html>\n")


def _text(text: str) -> str:
    """A name as HTML."""
    return escape(printable(text))


def _is_set(value: object) -> bool:
    return value is not None and value is not False


def _option(name: str, value: object) -> str:
    return name if value is True else f"{name} {value}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _facts(facts: Mapping[str, object]) -> str:
    rows = "".join(f"<dt>{_text(name)}</dt><dd>{_text(str(value))}</dd>" for name, value in facts.items())
    return f"<dl>{rows}</dl>"


def _trouble(text: str) -> str:
    return f'<p class="trouble">{_text(text)}</p>\n'


def _picture(png: bytes, said: str) -> str:
    source = base64.b64encode(png).decode()
    return f'<div class="scroll"><img class="page" src="data:image/png;base64,{source}" alt="{said}"></div>\n'


def _clip(course: Course, thumbnails: Thumbnails) -> str:
    """All that is said of one clip."""
    tracks = shown(course)
    parts = [_trouble(f"The clip broke off: {course.trouble}") if course.trouble else ""]
    parts.append(_picture(draw_summary(course, thumbnails), f"All faces of {_text(Path(course.path).name)}"))
    for track in tracks:
        parts.append(_track(course, track, thumbnails))
    if rest := left_out(course):
        parts.append(f'<p class="soft">Faces: {rest}. Their frames and events stand in the tables.</p>\n')
    return "".join(parts)


def _track(course: Course, track: Track, thumbnails: Thumbnails) -> str:
    shares, colours = shares_of(course, track), colours_of(track.names)
    parts = [
        f"<h3>Face #{track.id}</h3>\n",
        _picture(draw_track(course, track, thumbnails), f"Face #{track.id} over time"),
        _shares(shares, colours),
    ]
    if said := _blinks(course, track):
        parts.append(f"<p>{said}</p>\n")
    if track.baseline is not None:
        parts.append(f"<p>Relative to the face at rest ({_text(track.baseline_note)}).</p>\n")
    elif track.baseline_note:
        parts.append(f"<p>Not relative to a face at rest ({_text(track.baseline_note)}).</p>\n")
    if course.frames > 1 and not course.shows_events(EVENTS_STEP_S):
        parts.append(f'<p class="soft">Events are told of frames at most {EVENTS_STEP_S:g} s apart.</p>\n')
    parts.append(_events(track, colours, thumbnails))
    return "".join(parts)


def _shares(shares: Shares, colours: Mapping[str, str]) -> str:
    """How the time in sight is divided, in words and as a bar."""

    def share(time_s: float, of_s: float) -> str:
        return f"{time_s / of_s:.0%}" if of_s > 0 else "none"

    words = (
        f"In sight for {length(shares.seen_s)}: certain for {share(shares.certain_s, shares.seen_s)}, no certain answer for "
        f"{share(shares.uncertain_s, shares.seen_s)}, not reliable for {share(shares.poor_s, shares.seen_s)}."
    )
    told = sorted((pair for pair in shares.expression_s.items() if pair[1] > 0), key=lambda pair: -pair[1])
    if not told:
        return f"<p>{words}</p>\n"
    bar = "".join(
        f'<span style="width:{100 * time_s / shares.certain_s:.2f}%;background:{colours[name]}"></span>'
        for name, time_s in told
    )
    names = ", ".join(
        f"{_named(name, colours[name])} {share(time_s, shares.certain_s)}" for name, time_s in told
    )
    return f'<p>{words} Of the certain time ({length(shares.certain_s)}): {names}.</p>\n<div class="bar">{bar}</div>\n'


def _named(name: str, colour: str) -> str:
    """A class with its colour."""
    return f'<span class="class"><i style="background:{colour}"></i>{_text(name)}</span>'


def _blinks(course: Course, track: Track) -> str:
    """Blinks and speech in words; `""` without a mesh."""
    if track.blink is None or track.talking is None:
        return ""
    rate, time_s = blinks_a_minute(course, track), meshed_s(course, track)
    told = f"{rate:.1f} a minute" if rate is not None else "too short or too few frames for a rate"
    blinks = f"{_many(len(stretches(track.blink)), 'blink')} in {length(time_s)} with a mesh ({told})"
    read = meshed(track)
    return (
        f"{blinks}; speech in {track.talking[read].mean():.0%} of its frames." if read.any() else f"{blinks}."
    )


def _events(track: Track, colours: Mapping[str, str], thumbnails: Thumbnails) -> str:
    if not track.events:
        return '<p class="soft">No event.</p>\n'
    heads = ("", "expression", "onset", "apex", "offset", "duration", "strength", "intensity", "cut")
    rows = "".join(
        _event(event, colours[event.label], thumbnails.get((track.id, event.apex_row)))
        for event in track.events
    )
    head = "".join(f"<th>{name}</th>" for name in heads)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n'
    )


def _event(event: Event, colour: str, face: np.ndarray | None) -> str:
    intensity = "" if event.intensity is None or np.isnan(event.intensity) else f"{event.intensity:.1f}"
    cells = (
        "" if face is None else _face(face),
        _named(event.label, colour),
        *(clock(time_s, 0.01) for time_s in (event.onset_s, event.apex_s, event.offset_s)),
        f"{event.duration_s:.2f} s",
        decimals(event.strength),
        intensity,
        CUTS.get((event.cut_before, event.cut_after), ""),
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"


def _face(face: np.ndarray) -> str:
    stored = io.BytesIO()
    Image.fromarray(face).save(stored, "JPEG", quality=88)
    return f'<img class="face" src="data:image/jpeg;base64,{base64.b64encode(stored.getvalue()).decode()}" alt="">'
