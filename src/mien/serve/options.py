"""What a client may ask of a job, checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from mien.errors import OptionError
from mien.pipeline.clips import Span
from mien.serve.refusals import Refusal

STRETCH = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)-(\d{1,9}(?:\.\d{1,6})?)")
NUMBERS, FLAGS = ("every_s", "start_s", "end_s"), ("smooth", "mesh")
KNOWN = (*NUMBERS, *FLAGS, "baseline")
SCHEMA: Mapping[str, Any] = {
    **{name: {"type": "number", "minimum": 0} for name in NUMBERS},
    **{name: {"type": "boolean"} for name in FLAGS},
    "baseline": {"type": "string", "description": "auto, or seconds A-B of the clip"},
}
"""The fields, for OpenAPI."""


def job_options(fields: Mapping[str, str], mesh: bool) -> dict[str, Any]:
    """The options of a job, all of `KNOWN`; `None` where nothing was asked.

    Args:
        fields: of the form, as text.
        mesh: whether the mesh can be read here.

    Raises:
        Refusal: one is unknown or cannot be used.
    """
    if set(fields) - set(KNOWN):
        raise Refusal("bad_option", f"expected fields {', '.join(KNOWN)}, got another. Leave it out.")
    options: dict[str, Any] = {name: _number(name, fields.get(name)) for name in NUMBERS}
    try:
        Span(options["start_s"], options["end_s"], options["every_s"])
    except OptionError as error:
        raise Refusal("bad_option", str(error)) from None
    options |= {name: _flag(name, fields.get(name)) for name in FLAGS}
    options["baseline"] = _baseline(fields.get("baseline"))
    if options["mesh"] and not mesh:
        raise Refusal(
            "bad_option",
            "expected no mesh, which this service cannot read. Whoever runs it: pip install 'mien[mesh]' and mien weights "
            "fetch face_landmarker, then start it again.",
        )
    return options


def stretch(text: str) -> str | tuple[float, float]:
    """What a checked baseline stands for: "auto", or two times in seconds."""
    found = STRETCH.fullmatch(text)
    return text if found is None else (float(found[1]), float(found[2]))


def _number(name: str, text: str | None) -> float | None:
    if text is None or text == "":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Refusal("bad_option", f"expected a number of seconds as {name}, got something else.")
    return value


def _flag(name: str, text: str | None) -> bool:
    words = {None: False, "": False, "false": False, "0": False, "true": True, "1": True}
    if text not in words:
        raise Refusal("bad_option", f"expected true or false as {name}, got something else.")
    return words[text]


def _baseline(text: str | None) -> str | None:
    """`auto`, or two times; never a file, of which a client's word would be a path here."""
    if not text:
        return None
    times = stretch(text)
    if text != "auto" and not (isinstance(times, tuple) and times[0] < times[1]):
        raise Refusal(
            "bad_option", "expected a baseline 'auto' or seconds A-B with A before B, got something else."
        )
    return text
