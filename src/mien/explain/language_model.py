"""An explanation in a language model's words, held against the measurement.

The model gets the facts of an `Explanation` as JSON, never a picture. Each claim about an action unit in its answer is
checked; what the measurement contradicts or does not hold is struck and counted. The conclusion, with its numbers, is
always that of the template. In English only, since only English claims can be read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mien.errors import LabelError, LanguageModelError
from mien.explain.endpoint import LanguageModel
from mien.explain.explanation import Explanation
from mien.explain.phrasebook import phrasebook
from mien.labels.action_units import unit_number
from mien.labels.claims import INTENSITIES, Claim, claims_in, label_in, names_label, without_units

MOST_CHARACTERS = 4000
"""Sentences that are longer together are refused."""
LEAST_FUNCTION_WORDS = 0.1
"""A text with a smaller share of words such as "the" and "of" is not taken for English."""

INSTRUCTIONS = (
    "You put measurements of one face into words. You see no picture, only JSON. Write in English, for a reader who knows "
    "no jargon. observations: one entry for each unit of units_seen that matters, with its number, present true, "
    "its facs_letter and side as given (null where they are null), and one sentence that names the unit as AU<number>. "
    "interpretation: two to four sentences on how the units combine, what speaks for and against the label, and whether "
    "evidence and label disagree. Name units as AU<number>. label: the label as given. Claim nothing that the JSON does "
    "not hold: no other unit, no cause, no feeling, no person, and no figures. Answer with one JSON object and nothing else."
)

MEASURED_WORDS = re.compile(r"\b(units?|evidence|label|network|measure\w*)\b", re.I)
"""What a sentence speaks of that names an expression and no unit, so that it is about the facts."""

_NULLABLE = {"intensity": [*INTENSITIES, None], "side": ["left", "right", "both", None]}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["observations", "interpretation", "label"],
    "properties": {
        "observations": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["unit", "present", "intensity", "side", "text"],
                "properties": {
                    "unit": {"type": "string"},
                    "present": {"type": "boolean"},
                    "intensity": {"enum": _NULLABLE["intensity"]},
                    "side": {"enum": _NULLABLE["side"]},
                    "text": {"type": "string"},
                },
            },
        },
        "interpretation": {"type": "string"},
        "label": {"type": "string"},
    },
}
"""What the model is asked for."""


@dataclass(frozen=True)
class Struck:
    """A claim that was taken out, and why: "contradicted", or "not measured"."""

    claim: Claim
    reason: str


@dataclass(frozen=True)
class ModelWords:
    """An explanation, in a model's words where they could be kept.

    Attributes:
        text: three parts with headings.
        source: "model", or "template" where the answer could not be used.
        reason: why it is the template; empty otherwise.
        claims: how many claims about action units the answer made.
        struck: those that the measurement does not bear out.
        left_out: sentences that nothing holds: of an observation, those that do not name its unit; of the
            interpretation, those that name no unit and no expression, or an expression without a word of what was
            measured; and any with a figure.
    """

    text: str
    source: str
    reason: str = ""
    claims: int = 0
    struck: tuple[Struck, ...] = ()
    left_out: int = 0

    @property
    def hallucination_rate(self) -> float:
        """Struck claims over all claims, in [0, 1]; NaN where there was none."""
        return len(self.struck) / self.claims if self.claims else math.nan


def describe(explanation: Explanation, model: LanguageModel, *, fallback: bool = True) -> ModelWords:
    """The explanation in the model's words, checked.

    Args:
        explanation: of one face, with its text in English.
        model: where it answers.
        fallback: where the answer cannot be used, give the template's text and the reason; otherwise raise.

    Raises:
        LanguageModelError: without `fallback`: no answer, or one that cannot be used.
        OptionError: the model's key is not set, or cannot be sent.
    """
    messages = [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": json.dumps(explanation.facts(), allow_nan=False)},
    ]
    try:
        words = checked(model.answer(messages, SCHEMA), explanation)
    except LanguageModelError as error:
        if not fallback:
            raise
        return ModelWords(explanation.text, "template", str(error))
    if words.source == "template" and not fallback:
        raise LanguageModelError(words.reason)
    return words


def checked(answer: str, explanation: Explanation) -> ModelWords:
    """An answer held against the measurement; the template's text where nothing of it can be kept.

    Args:
        answer: what the model wrote; thoughts in <think> tags and a fence around the JSON are put aside.
        explanation: the facts.

    Raises:
        LanguageModelError: not the JSON that was asked for, too long, or not in English.
    """
    data = _parsed(answer)
    claims = 0
    struck: list[Struck] = []
    left_out = 0
    parts: list[list[str]] = [[], []]
    for part, sentence, given, held in _sentences(data):
        said = _distinct([*given, *claims_in(sentence)])
        wrong = [Struck(claim, why) for claim in said if (why := objection(claim, explanation))]
        claims += len(said)
        struck += wrong
        if not held or re.search(r"\d", without_units(sentence)):
            left_out += 1
        elif not wrong:
            parts[part].append(sentence)
    reason = ""
    if label_in(data["label"]) != explanation.label and data["label"] != explanation.label:
        reason = f"expected the label {explanation.label}, the model concludes {data['label'][:40]!r}"
    elif not any(parts):
        reason = "nothing of the model's answer could be kept"
    texts = (" ".join(parts[0]), " ".join(parts[1]), explanation.conclusion)
    text = "\n".join(
        f"{head}: {body}" for head, body in zip(explanation.headings, texts, strict=True) if body
    )
    return ModelWords(
        explanation.text if reason else text,
        "template" if reason else "model",
        reason,
        claims,
        tuple(struck),
        left_out,
    )


def objection(claim: Claim, explanation: Explanation) -> str:
    """Why the measurement does not bear a claim out: "contradicted" or "not measured"; empty where it does.

    An intensity may be a FACS letter off. A trace is neither there nor absent beyond doubt, so both may be said of it.
    """
    found = next((one for one in explanation.measured if one.unit == claim.unit), None)
    if found is None:
        return "not measured"
    level = INTENSITIES.index(found.letter) + 1 if found.letter else 0
    trace = found.scale == "intensity" and level == 1
    if claim.present != found.seen and not trace:
        return "contradicted"
    if not claim.present:
        return ""
    if claim.intensity is not None:
        if found.scale != "intensity":
            return "not measured"
        if abs(INTENSITIES.index(claim.intensity) + 1 - level) > 1:
            return "contradicted"
    if claim.side is not None and claim.side != found.side:
        return "not measured" if found.side is None else "contradicted"
    return ""


def _sentences(data: dict[str, Any]) -> Iterator[tuple[int, str, list[Claim], bool]]:
    """Part (0 observations, 1 interpretation), sentence, the claim beside it in the JSON, and whether anything holds it.

    A sentence of an observation is held by naming that entry's unit itself; one of the interpretation by any unit, or by
    an expression and a word of what was measured ("The evidence speaks for sadness"). An entry's claim counts also where
    none of its sentences names the unit.
    """
    for entry in data["observations"]:
        claim = _claim(entry)
        sentences = _split(entry["text"]) or [""]
        named = [any(one.unit == claim.unit for one in claims_in(sentence)) for sentence in sentences]
        for place, sentence in enumerate(sentences):
            beside = named[place] or (place == 0 and not any(named))
            yield 0, sentence, [claim] if beside else [], named[place]
    for sentence in _split(data["interpretation"]):
        told = names_label(sentence) and bool(MEASURED_WORDS.search(sentence))
        yield 1, sentence, [], told or bool(claims_in(sentence))


def _split(text: str) -> list[str]:
    """Its sentences, also where the blank behind a full stop was left out."""
    parts = re.split(r"(?<=[.!?])\s+|(?<=[^\W\d][.!?])(?=[A-Z])|\n", text)
    return [part.strip() for part in parts if part.strip()]


def _claim(entry: dict[str, Any]) -> Claim:
    try:
        unit = unit_number(entry["unit"])
    except LabelError as error:
        raise _unusable(f"a unit {entry['unit'][:40]!r}") from error
    return Claim(unit, entry["present"], entry["intensity"], entry["side"])


def _distinct(claims: Sequence[Claim]) -> list[Claim]:
    """Claims without those that say the same of a unit as another, or less."""
    kept: list[Claim] = []
    for claim in claims:
        for index, other in enumerate(kept):
            pairs = ((claim.intensity, other.intensity), (claim.side, other.side))
            same = (claim.unit, claim.present) == (other.unit, other.present)
            if same and all(first is None or second is None or first == second for first, second in pairs):
                intensity, side = (first if first is not None else second for first, second in pairs)
                kept[index] = Claim(claim.unit, claim.present, intensity, side)
                break
        else:
            kept.append(claim)
    return kept


def _parsed(answer: str) -> dict[str, Any]:
    """The answer's object, of the form of `SCHEMA`, short enough and in English."""
    text = re.sub(r"<think>.*?</think>", "", answer, flags=re.S).strip()
    fence = re.fullmatch(r"```\w*\s*(.*?)\s*```", text, re.S)
    try:
        data = json.loads(fence[1] if fence else text)
    except (ValueError, RecursionError) as error:
        raise _unusable(repr(text[:80])) from error
    if not _fits(data):
        raise _unusable(f"JSON of another form: {text[:80]!r}")
    whole = " ".join([*(entry["text"] for entry in data["observations"]), data["interpretation"]])
    if len(whole) > MOST_CHARACTERS:
        raise _unusable(f"{len(whole)} characters, at most {MOST_CHARACTERS} are read")
    words = re.findall(r"[^\W\d_]+", whole.lower())
    common = set(phrasebook("en").phrases["function_words"])
    if sum(word in common for word in words) < LEAST_FUNCTION_WORDS * len(words):
        raise _unusable(f"text in another language: {whole[:80]!r}")
    return dict(data)


def _fits(data: Any) -> bool:
    """Whether it has the form of `SCHEMA`; what is there besides is passed over."""
    if not isinstance(data, dict) or not isinstance(data.get("observations"), list):
        return False
    entries = data["observations"]
    return all(isinstance(data.get(key), str) for key in ("interpretation", "label")) and all(
        isinstance(entry, dict)
        and isinstance(entry.get("unit"), str)
        and isinstance(entry.get("present"), bool)
        and isinstance(entry.get("text"), str)
        and all(key in entry and entry[key] in allowed for key, allowed in _NULLABLE.items())
        for entry in entries
    )


def _unusable(got: str) -> LanguageModelError:
    return LanguageModelError(
        f"expected the language model to answer with the JSON it was asked for, in English, got {got}"
    )
