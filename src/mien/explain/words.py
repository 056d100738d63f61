"""One face in words, without a language model: what is seen, what it means together, and what follows.

The three parts follow the chain of thought of ExpLLM (Lan et al., "ExpLLM: Towards Chain of Thought for Facial Expression
Recognition", TMM 2025): key observations, overall interpretation, conclusion. Every sentence states something that was
measured or computed; what could not be measured is said to be so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from mien.errors import OptionError
from mien.explain.affect import derived_affect
from mien.explain.evidence import DISAGREES, disagreement, evidence_for
from mien.explain.explanation import Explanation, Observation
from mien.explain.phrasebook import Phrasebook, phrasebook
from mien.faces.mesh_units import PRESSED, pressed_once
from mien.labels.action_units import ACTION_UNITS, unit_label, unit_number
from mien.labels.circumplex import CIRCUMPLEX
from mien.labels.claims import INTENSITIES
from mien.labels.evidence import evidence_table
from mien.types.evidence import Evidence
from mien.types.scores import Scores
from mien.types.units import ActionUnits

SEEN = {"intensity": 1.5, "probability": 0.5}
"""From this value on a unit is named: FACS B after rounding, or more likely there than not."""
ONE_SIDED = {"intensity": 1.0, "probability": 0.3}
"""From this difference on one side is said to be stronger: a FACS letter."""
MANY = 3
"""A unit of more expressions than these is said to be shared by many."""
LEAST_SHARE = 0.05
"""A unit that makes up less of an expression's look is not named for it."""
MOSTLY = 0.5
"""From this share of the map on, the network is said to have looked mostly there."""
STANDS_OUT = 1.5
"""A part stands out where the map is so many times as dense as on average; an even map has none."""
LITTLE = 0.15
"""Where no expression has more of its look on the face, the units say little."""


def explain_face(
    scores: Scores,
    units: ActionUnits | None = None,
    *,
    row: int = 0,
    uncertain: bool = False,
    reasons: str = "",
    regions: Mapping[str, float] | None = None,
    areas: Mapping[str, float] | None = None,
    language: str = "en",
) -> Explanation:
    """One face in words.

    Args:
        scores: calibrated probabilities of N faces.
        units: action units of the same faces; `None` where nobody measured any.
        row: which face.
        uncertain: the confidence is under the model's threshold, as `Faces.uncertain` says.
        reasons: what speaks against the picture, as `Quality.reasons` says; empty for a good one.
        regions: region of the face -> share of the network's heat map, 0 to 1.
        areas: the same regions -> share of the map's pixels: what an even map would have there. Left out, every
            region counts as one that stands out.
        language: of `phrases/`.

    Raises:
        OptionError: no such row, or a share outside 0 to 1.
        LabelError: a unit that mien does not know.
        UnknownNameError: no such language.
    """
    if not 0 <= row < len(scores) or (units is not None and len(units) != len(scores)):
        raise OptionError(
            f"expected a row of {len(scores)} faces with units for each, got row {row} and units of "
            f"{len(units) if units is not None else 'no'} faces"
        )
    shares = {name: float(share) for name, share in (regions or {}).items()}
    if not all(0 <= share <= 1 for share in shares.values()):
        raise OptionError(f"expected shares of regions from 0 to 1, got {shares}")
    phrases = phrasebook(language)
    own = Scores(scores.names, scores.values[row : row + 1])
    evidence, apart, measured = None, math.nan, []
    if units is not None:
        face = pressed_once(_row(units, row))
        evidence = evidence_for(face)
        apart = float(disagreement(evidence, own)[0])
        measured = _observations(face, phrases)
    seen = tuple(one for one in measured if one.seen)
    flags = _flags(bool(measured), bool(seen), evidence, apart)
    flags += ("uncertain",) * bool(uncertain) + ("unreliable",) * bool(reasons)
    affect = _affect(own)
    told = [
        *_interpretation(own, seen, evidence, apart, flags, phrases),
        *_looked(shares, areas or {}, phrases),
    ]
    return Explanation(
        observed=_observed(seen, flags, units is not None, phrases),
        observations=seen,
        interpretation=" ".join(told),
        conclusion=" ".join(_conclusion(own, flags, reasons, affect, phrases)),
        evidence=dict(zip(evidence.names, map(float, evidence.scores[0]), strict=True)) if evidence else {},
        disagreement=apart,
        flags=flags,
        label=own.top[0],
        probabilities=dict(zip(own.names, map(float, own.values[0]), strict=True)),
        others=tuple(one for one in measured if not one.seen),
        affect=affect,
        regions=shares,
        reasons=reasons,
        headings=tuple(phrases.phrases["headings"].values()),
    )


def _row(units: ActionUnits, row: int) -> ActionUnits:
    left, right = (None if side is None else side[row : row + 1] for side in (units.left, units.right))
    return ActionUnits(units.units, units.values[row : row + 1], units.scale, units.source, left, right)


def _affect(scores: Scores) -> dict[str, float]:
    if not set(scores.names) <= set(CIRCUMPLEX):
        return {}
    affect = derived_affect(scores)
    return {"valence": float(affect.valence[0]), "arousal": float(affect.arousal[0])}


def _observations(units: ActionUnits, phrases: Phrasebook) -> list[Observation]:
    """Every unit of one face that was measured, plainest first."""
    found = []
    for column in np.argsort(-units.values[0], kind="stable"):
        unit, value = unit_number(units.units[column]), float(units.values[0, column])
        if math.isnan(value):
            continue
        seen = value >= SEEN[units.scale]
        level = int(value + 0.5) if units.scale == "intensity" else 0
        letter = INTENSITIES[level - 1] if level else None
        side = _side(units, int(column)) if seen else None
        supports = _supports(unit, side) if seen else ()
        text = _sentence(unit, value, letter, side, supports, phrases) if seen else ""
        if seen and unit == PRESSED and units.source == "mesh":
            text += " " + phrases.say("observation", "or_dimples")
        found.append(
            Observation(unit, ACTION_UNITS[unit], value, units.scale, seen, letter, side, supports, text)
        )
    return found


def _side(units: ActionUnits, column: int) -> str | None:
    if units.left is None or units.right is None:
        return None
    more = float(units.left[0, column] - units.right[0, column])
    if math.isnan(more):
        return None
    if abs(more) <= ONE_SIDED[units.scale]:
        return "both"
    return "left" if more > 0 else "right"


def _supports(unit: int, side: str | None) -> tuple[str, ...]:
    """The expressions that a unit is typical of, at least half as much as of the first; `one_sided` as it applies."""
    table = evidence_table()
    if unit not in table.units:
        return ()
    column = table.units.index(unit)
    weights = table.speaks_for[:, column].copy()
    if side not in ("left", "right"):
        weights[table.one_sided[:, column]] = 0
    most = weights.max()
    order = np.argsort(-weights, kind="stable")
    return tuple(table.expressions[row] for row in order if most > 0 and weights[row] >= most / 2)


def _sentence(
    unit: int,
    value: float,
    letter: str | None,
    side: str | None,
    supports: tuple[str, ...],
    phrases: Phrasebook,
) -> str:
    if letter:
        amount = phrases.phrases["intensity"][letter]
    else:
        amount = phrases.phrases["probability"].format(percent=phrases.percent(value))
    return phrases.say(
        "observation",
        "none" if not supports else "common" if len(supports) > MANY else "for",
        what=phrases.phrases["units"][str(unit)],
        unit=unit_label(unit),
        amount=amount,
        side=phrases.phrases["sides"][side] if side else "",
        expressions=phrases.listed([phrases.noun(name) for name in supports]),
    )


def _flags(measured: bool, seen: bool, evidence: Evidence | None, apart: float) -> tuple[str, ...]:
    if not measured or evidence is None:
        return ("not_measured",)
    flags = []
    if np.isnan(evidence.scores).any():
        flags.append("partly_measured")
    if not seen:
        flags.append("nothing_seen")
    if apart >= DISAGREES:
        flags.append("disagrees")
    return tuple(flags)


def _observed(seen: tuple[Observation, ...], flags: tuple[str, ...], given: bool, phrases: Phrasebook) -> str:
    if "not_measured" in flags:
        return phrases.say("observation", "not_measured" if given else "not_given")
    return " ".join(one.text for one in seen) or phrases.say("observation", "nothing_seen")


def _interpretation(
    scores: Scores,
    seen: tuple[Observation, ...],
    evidence: Evidence | None,
    apart: float,
    flags: tuple[str, ...],
    phrases: Phrasebook,
) -> Iterator[str]:
    """How the units combine, what contradicts, and whether units and network agree."""
    label = scores.top[0]
    if evidence is None or "not_measured" in flags:
        yield phrases.say("interpretation", "not_measured")
    else:
        if "nothing_seen" in flags:
            partly = "partly_measured" in flags
            yield phrases.say("interpretation", "nothing_seen_partly" if partly else "nothing_seen")
        elif not math.isnan(apart):
            yield from _combined(label, seen, evidence, phrases)
        blind = [evidence.names[column] for column in np.flatnonzero(np.isnan(evidence.scores[0]))]
        if label in blind:
            nouns = phrases.listed([phrases.noun(name) for name in blind])
            yield phrases.say("interpretation", "too_little", expressions=nouns)
        yield from _verdict(label, seen, evidence, apart, phrases)


def _looked(shares: Mapping[str, float], areas: Mapping[str, float], phrases: Phrasebook) -> Iterator[str]:
    """Where the network looked: up to two parts that stand out, and whether they hold most of the map."""
    if not shares:
        return
    out = {name: share for name, share in shares.items() if share > STANDS_OUT * areas.get(name, 0)}
    named = sorted(out.items(), key=lambda item: -item[1])[:2]
    outside, room = 1 - sum(shares.values()), 1 - sum(areas.values())
    if named:
        most = sum(share for _, share in named) >= MOSTLY
        parts = phrases.listed([f"{name} ({phrases.percent(share)})" for name, share in named])
        yield phrases.say("interpretation", "regions" if most else "regions_less", regions=parts)
    elif outside >= MOSTLY and outside > STANDS_OUT * room:
        yield phrases.say("interpretation", "regions_outside", percent=phrases.percent(outside))
    else:
        yield phrases.say("interpretation", "regions_even")


def _combined(
    label: str, seen: tuple[Observation, ...], evidence: Evidence, phrases: Phrasebook
) -> Iterator[str]:
    """What the units that are seen add to the look of an expression, and what they take from it."""
    added = {one.unit: evidence.of(0, label).get(one.unit, 0.0) for one in seen}
    helping = sorted(
        (unit for unit, value in added.items() if value >= LEAST_SHARE), key=lambda unit: -added[unit]
    )
    hurting = sorted((unit for unit, value in added.items() if value < 0), key=lambda unit: added[unit])
    noun = phrases.noun(label)
    whole = evidence.coverage[0, evidence.names.index(label)] > 1 - 1e-9
    if helping:
        yield phrases.say(
            "interpretation",
            "together" if len(helping) > 1 else "alone",
            units=phrases.listed([unit_label(unit) for unit in helping]),
            percent=phrases.percent(min(1.0, sum(added[unit] for unit in helping))),
            expression=noun,
            part="" if whole else phrases.say("interpretation", "part"),
        )
    elif label != "neutral":
        yield phrases.say("interpretation", "no_support", expression=noun)
    if hurting:
        yield phrases.say(
            "interpretation",
            "against_many" if len(hurting) > 1 else "against_one",
            units=phrases.listed([unit_label(unit) for unit in hurting]),
            expression=noun,
        )


def _verdict(
    label: str, seen: tuple[Observation, ...], evidence: Evidence, apart: float, phrases: Phrasebook
) -> Iterator[str]:
    """Whether units and network agree; where they do not, what the units would rather say."""
    best = evidence.best(0)
    if math.isnan(apart):
        yield phrases.say("interpretation", "no_verdict")
    elif best is None or np.nanmax(evidence.scores[0]) < LITTLE:
        yield phrases.say("interpretation", "silent")
    elif apart >= DISAGREES:
        if best != "neutral":
            yield from _combined(best, seen, evidence, phrases)
        values = {"other": phrases.look(best), "look": phrases.look(label), "disagreement": f"{apart:.2f}"}
        yield phrases.say("interpretation", "disagree", **values)
    elif best == label:
        yield phrases.say("interpretation", "agree")
    else:
        yield phrases.say("interpretation", "lean", expression=phrases.noun(best))


def _conclusion(
    scores: Scores, flags: tuple[str, ...], reasons: str, affect: Mapping[str, float], phrases: Phrasebook
) -> Iterator[str]:
    """The label with its confidence and the runner-up, and what makes them doubtful."""
    order = np.argsort(-scores.values[0], kind="stable")
    first, *rest = [(scores.names[index], float(scores.values[0, index])) for index in order]
    values = {"look": phrases.look(first[0]), "percent": phrases.percent(first[1])}
    if rest:
        values |= {"next": phrases.noun(rest[0][0]), "next_percent": phrases.percent(rest[0][1])}
    yield phrases.say("conclusion", "answer_and_next" if rest else "answer", **values)
    if "uncertain" in flags:
        yield phrases.say("conclusion", "uncertain")
    if "disagrees" in flags:
        yield phrases.say("conclusion", "disagree")
    if "unreliable" in flags:
        yield phrases.say("conclusion", "unreliable", reasons=reasons)
    if affect:
        yield phrases.say(
            "conclusion", "affect", valence=f"{affect['valence']:+.2f}", arousal=f"{affect['arousal']:+.2f}"
        )
