"""Exp-CoT engine: from labels and measured action units to a text that reasons from the units to the label.

The engine of ExpLLM: Lan et al., IEEE Transactions on Multimedia 2025. Official code: starhiking/ExpLLM-TMM (the
engine's prompts are not in it).
The description has three parts: key observations (units with intensities), overall interpretation (how they go
together), conclusion (the label). A record of theirs is {file_name, emo, au[24], description}; the text is
written by GPT, told the units and the true label.

Differs from the paper: the text is made of templates of ours, varied by a seed, so that it needs no service and says
nothing that was not measured; with `ask`, a language model writes it instead, and what it writes is kept only if it
states measured units alone and concludes with the true label. Any number of units.

Needs: ids, labels, and `ActionUnits` in intensities (NaN where a unit could not be told), or none. Gives: `Record`s,
and JSON lines of them. Needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import DataError, LabelError, LanguageModelError, ShapeError
from mien.files import write_whole
from mien.labels.action_units import ACTION_UNITS, unit_label
from mien.labels.claims import label_in, stated_units
from mien.labels.evidence import evidence_table
from mien.labels.expressions import canonical
from mien.types.units import ActionUnits

VISIBLE = 1.0
"""Intensity from which a unit is an observation: FACS letter A, a trace."""

MOST_OBSERVATIONS = 5
"""So many units are named, the strongest first: more makes the text long and the rest are traces."""

LEVELS = ("a trace", "slight", "marked", "extreme", "maximal")
"""Words for the intensities 1 to 5, FACS letters A to E."""

TYPICAL = 0.5
"""Weight in the evidence table from which a unit is said to speak for an expression."""

OBSERVED = ("The face shows {units}.", "Visible are {units}.", "Key observations: {units}.")
NOTHING_OBSERVED = ("No action unit is clearly visible.", "The face shows no clear action unit.")
FITTING = ("{units} {speak} for {label}.", "{units} {are} typical of the expression {label}.")
UNFITTING = (
    "Alone these units do not settle it; the whole face decides.",
    "This is no textbook pattern; the whole face decides.",
)
AT_REST = ("The face is close to rest.", "Little moves in this face.")
CONCLUSIONS = ("The expression is {label}.", "So the expression is {label}.", "Conclusion: {label}.")

Ask = Callable[[Sequence[Mapping[str, str]], Mapping[str, Any]], str]
"""Chat messages, each {"role": ..., "content": ...}, and a JSON schema -> the answer, as `LanguageModel.answer` gives."""


@dataclass(frozen=True)
class Description:
    """The three parts of a chain of thought."""

    observations: str
    interpretation: str
    conclusion: str

    @property
    def text(self) -> str:
        """The parts as one paragraph."""
        return f"{self.observations} {self.interpretation} {self.conclusion}"


INSTRUCTIONS = (
    "You explain facial expressions from action units (FACS, intensity 1 to 5). Answer with a JSON object of three short "
    'texts: "observations" (the given units and how strong they are, each named as AU and number), "interpretation" (what '
    'they mean together) and "conclusion" (one sentence that names the given expression and no other). Use no unit that '
    "is not given."
)
"""To a language model that writes the descriptions."""

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in Description.__dataclass_fields__},
    "required": list(Description.__dataclass_fields__),
    "additionalProperties": False,
}
"""Of a language model's answer."""


@dataclass(frozen=True)
class Record:
    """One picture's instruction data.

    Attributes:
        id: the picture.
        emo: mien's name of its class.
        au: FACS number -> intensity 0 to 5, `None` where it could not be told; empty where none was measured.
        description: the chain of thought; `None` where no unit was measured, so that only the label can be asked.
        writer: "template" or "language model"; `None` without description.
    """

    id: str
    emo: str
    au: Mapping[int, float | None]
    description: Description | None
    writer: str | None


def records(
    ids: Sequence[str],
    labels: Sequence[str],
    units: ActionUnits | None = None,
    *,
    seed: int = 0,
    ask: Ask | None = None,
) -> list[Record]:
    """Instruction data of N pictures. A picture's text depends on its id, its values and the seed alone.

    Args:
        ids: names of the pictures.
        labels: their classes, in any known spelling.
        units: intensities (N, K); `None` for labels alone.
        seed: of the choice of templates.
        ask: a language model that writes the descriptions, such as `mien.explain.endpoint.LanguageModel(...).answer`.
            Where it raises LanguageModelError the template writes, and the record's `writer` says so.

    Raises:
        ShapeError: the three do not belong together.
        LabelError: a label is not known, or the units are no intensities.
    """
    if len(ids) != len(labels) or (units is not None and len(units) != len(ids)):
        raise ShapeError(
            f"expected as many labels and rows of units as ids, got {len(ids)} ids, {len(labels)} labels"
            + ("" if units is None else f", {len(units)} rows")
        )
    if units is not None and units.scale != "intensity":
        raise LabelError(f"expected units as intensities from 0 to 5, got {units.scale!r}")
    made = []
    for row, (name, label) in enumerate(zip(ids, labels, strict=True)):
        values = {} if units is None else dict(zip(units.units, units.values[row].tolist(), strict=True))
        made.append(_record(str(name), canonical(label), values, seed, ask))
    return made


def _record(
    name: str,
    label: str,
    values: Mapping[int, float],
    seed: int,
    ask: Ask | None,
) -> Record:
    told = {unit: None if math.isnan(value) else value for unit, value in values.items()}
    if all(value is None for value in told.values()):
        return Record(name, label, told, None, None)
    strong = observed(told)
    if ask is not None:
        answered = _asked(ask, label, {unit: told[unit] for unit in strong})
        if answered is not None:
            return Record(name, label, told, answered, "language model")
    random = np.random.default_rng(list(hashlib.sha256(f"{seed} {name}".encode()).digest()))
    text = describe(label, {unit: told[unit] or 0.0 for unit in strong}, random)
    return Record(name, label, told, text, "template")


def observed(values: Mapping[int, float | None], most: int = MOST_OBSERVATIONS) -> tuple[int, ...]:
    """The visible units, strongest first, at most so many."""
    seen = [(-value, unit) for unit, value in values.items() if value is not None and value >= VISIBLE]
    return tuple(unit for _, unit in sorted(seen)[:most])


def typical_units(label: str) -> frozenset[int]:
    """The units that speak for an expression, by the evidence table; none for neutral.

    A unit that speaks by being on one side alone (AU12 and AU14 for contempt) is not among them: the values that texts
    are written from have no sides.
    """
    table = evidence_table()
    row = table.expressions.index(label)
    weights = np.where(table.one_sided[row], 0, table.speaks_for[row])
    return frozenset(unit for unit, weight in zip(table.units, weights, strict=True) if weight >= TYPICAL)


def describe(
    label: str,
    strong: Mapping[int, float],
    random: np.random.Generator,
) -> Description:
    """Three parts from templates.

    Args:
        label: mien's name of the class.
        strong: the observed units, strongest first -> intensity from `VISIBLE` to 5.
        random: chooses the templates.
    """

    def one_of(templates: Sequence[str], **words: str) -> str:
        return templates[int(random.integers(len(templates)))].format(**words)

    named = [
        f"{unit_label(unit)} ({ACTION_UNITS[unit]}, {LEVELS[min(5, round(value)) - 1]})"
        for unit, value in strong.items()
    ]
    observations = one_of(OBSERVED, units=_and(named)) if named else one_of(NOTHING_OBSERVED)
    fitting = [unit_label(unit) for unit in strong if unit in typical_units(label)]
    if fitting:
        one = len(fitting) == 1
        interpretation = one_of(
            FITTING,
            units=_and(fitting),
            speak="speaks" if one else "speak",
            are="is" if one else "are",
            label=label,
        )
    else:
        interpretation = one_of(UNFITTING if named else AT_REST)
    return Description(observations, interpretation, one_of(CONCLUSIONS, label=label))


def _and(names: Sequence[str]) -> str:
    """One: "a"; two: "a and b"; three: "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _asked(ask: Ask, label: str, strong: Mapping[int, float | None]) -> Description | None:
    """A language model's description, or `None` where there is none, or it is not fit to learn from."""
    facts = ", ".join(
        f"{unit_label(unit)} {ACTION_UNITS[unit]} {value:.1f}" for unit, value in strong.items()
    )
    question = [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": f"Units: {facts or 'none visible'}. Expression: {label}."},
    ]
    try:
        answer = ask(question, SCHEMA)
    except LanguageModelError:
        return None
    try:
        parts = json.loads(answer[answer.index("{") : answer.rindex("}") + 1])
        made = Description(*(str(parts[name]).strip() for name in Description.__dataclass_fields__))
    except (ValueError, KeyError, TypeError):
        return None
    honest = stated_units(made.text) <= set(strong) and all(asdict(made).values())
    return made if honest and label_in(made.conclusion) == label else None


def write_records(path: str | Path, made: Iterable[Record]) -> None:
    """Write JSON lines, one a record; the file is there whole or not at all."""
    write_whole(path, "".join(json.dumps(asdict(record)) + "\n" for record in made))


def read_records(path: str | Path) -> list[Record]:
    """What `write_records` wrote.

    Raises:
        DataError: a line is no such record.
    """
    made = []
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        try:
            stored: dict[str, Any] = json.loads(line)
            parts = stored.pop("description")
            units = {int(unit): value for unit, value in stored.pop("au").items()}
            made.append(Record(au=units, description=parts and Description(**parts), **stored))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"expected a record of the Exp-CoT engine in {path}, line {number}, got: {error}"
            ) from error
    return made
