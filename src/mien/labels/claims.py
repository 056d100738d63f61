"""What a text in English claims about action units and expressions, read by rules: for the answers of language models.

A unit is found by its number ("AU12", "AU 12", "AU12C", "AU L14", "action unit 12"), also in a list ("AU1+2", "AU25/26", "AUs 1,
2 and 5"), or by its FACS name in its usual forms ("lip corner puller", "pulled lip corners", "the lip corners are pulled").
Paraphrases ("a smile", "wide eyes") are not found. In a
clause, a negation holds for the list of units that it belongs to, an intensity or side for the unit beside it, or for
the list before it.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from mien.labels.action_units import ACTION_UNITS
from mien.labels.expressions import EXPRESSIONS, SYNONYMS

INTENSITIES = "ABCDE"
"""FACS letters: trace, slight, marked, severe, maximum; numbers 1 to 5."""

_WORDS = {
    "A": "trace|barely|faint|faintly",
    "B": "slight|slightly|weak|weakly|mild|mildly|subtle|subtly|light|lightly",
    "C": "marked|markedly|pronounced|moderate|moderately|clear|clearly",
    "D": "severe|severely|extreme|extremely|strong|strongly|intense|intensely",
    "E": "maximum|maximal|maximally",
}
_INTENSITY = re.compile(
    r"\b(?:" + "|".join(f"(?P<{letter}>{words})" for letter, words in _WORDS.items()) + r")\b", re.I
)
_LETTER = r"((?-i:[A-E]|[b-e]))\b"
_NUMBER = re.compile(
    rf"\b(?:intensity|level|letter|grade)\s*(?:of|is|=|:|at)?\s*(?:{_LETTER}|(\d(?:\.\d+)?))"
    rf"|\b(\d(?:\.\d+)?)\s*/\s*5\b|(?:[(=:]|\bat)\s*{_LETTER}(?=\s*(?:$|[,;)]|(?:and|on|with|in)\b))",
    re.I,
)
"""A level by its letter or number: "intensity of B", "FACS letter E", "(intensity 3.2)", "4/5", "(C)", "at E"."""
_SIDES = {
    "both": re.compile(
        r"\b(?:both\s+sides|bilateral\w*|symmetric\w*|left\s+and\s+right|right\s+and\s+left)\b", re.I
    ),
    "left": re.compile(r"\bleft\b", re.I),
    "right": re.compile(r"\bright\b", re.I),
}
_CLAUSE = re.compile(
    r"(?<!\d)\.|\.(?!\d)|[;:!?\n]|\b(?:but|however|although|though|whereas|while|yet|except|because)\b", re.I
)
_BETWEEN = re.compile(
    r"\b(?:is|are|was|were|has|have|shows?|seems?|appears?|with|suggests?|indicates?|means?)\b|=", re.I
)
_THAN = re.compile(r"\b(?:than|instead\s+of|not)\b", re.I)
"""What follows is the side that is not meant: "stronger on the right than on the left"."""
_ALWAYS_FORWARD = "no|without|absence|lack|lacks|lacking|neither|nor|none|cannot see|rather than|instead of"
_EITHER_WAY = r"not|absent|missing|never|\w+n['\u2019]t"
_NEGATION = re.compile(rf"\b(?:(?P<forward>{_ALWAYS_FORWARD})|(?:{_EITHER_WAY})(?!\s+only))\b", re.I)
_NO_NEGATION = re.compile(
    r"\b(?:no|without|beyond|not\s+in)\s+(?:any\s+|a\s+)?(?:doubt|question)\b"
    r"|\b(?:no\s+longer|not|never|\w+n['\u2019]t)\s+(?:\w+\s+)?(?:absent|missing|lacking|without)\b",
    re.I,
)
"""Words of negation that deny nothing: "without doubt", "no longer absent"."""
_THERE = re.compile(
    r"\s*(?:(?:be|being|been|to|at|any|all|a|very|really|actually|yet|also|\w+ly)\s+){0,3}"
    r"(?:$|[,)=]|(?:there|present|seen|visible|active|activated|activity|raised|lowered|detected|detectable|shown|measured|found|"
    r"observed|apparent|evident|noticeable|engaged|involved|shows?|appears?|occurs?|moves?|contracted|at\s+all|and|or|nor|"
    r"(?:in|on)\s+(?:the|this)\s+(?:face|picture|image))\b)",
    re.I,
)
"""What a negation behind a unit denies: that it is there. "AU12 does not speak for ..." does not."""
_AWAY = re.compile(rf"\b(?:as|since|given|that|which|who|so|then|if|when)\b|,|{_BETWEEN.pattern}", re.I)
"""Parts a negation from the units after it, as in "not neutral, as AU4 is there"."""
_NOT_SO = re.compile(r"(?:\b(?:not|never|hardly)|n['\u2019]t)\s+(?:(?:so|very|too|that|\w+ly)\s+)?$", re.I)
_SIGN = re.compile(r"\s*(?:\w+\s+)?(?:signs?|evidence|indications?|traces?|hints?)\b", re.I)
_STILL = re.compile(r"\s*(?:\w+\s+)?(?:activity|activation|movement)\b", re.I)
_IN_LIST = re.compile(r"(?:[\s,/+&()=]|\b(?:and|or|nor|the|any|a|an|of)\b)*", re.I)
_DENIED_WORD = re.compile(rf"{_NEGATION.pattern}(?:\W+\w+){{0,3}}\W*$", re.I)
_FOR_ALL = re.compile(rf"{_BETWEEN.pattern}|\b(?:both|all|each)\b", re.I)
_ATTACHED = re.compile(r"\s*(?:,[^()]*\)|with\b[^,;]*?\bintensity\b(?:\s+(?:of\s+)?[A-E1-5]\b)?)", re.I)
"""Behind a unit and its own: "(AU12, marked, stronger on the left)", "AU12 with marked intensity"."""
_SPLIT = re.compile(r"[,;+)]|\b(?:and|or|with)\b", re.I)

_FIRST = re.compile(r"\b(?:AUs?|action\s+units?)[\s_:-]*(?P<first>[LR]?\d{1,2}[A-E]?)\b", re.I)
_COUNTED = (
    "of|out|in|other|others|more|further|people|persons?|faces?|frames?|seconds?|s|ms|px|percent|points?|times|degrees?|"
    "sides?|units?|expressions?|emotions?|regions?|parts?"
)
_MORE = re.compile(
    r"(?P<between>\s*[+/]\s*|\s*(?:&|,?\s*\b(?:and|or)\b|,)\s*(?!\d\s*/\s*5\b))"
    rf"(?P<item>[LR]?(?P<number>\d{{1,2}})[A-E]?)\b(?!\.\d|\s*%|\s+(?:{_COUNTED})\b)",
    re.I,
)
"""A further number of a list behind "AU1": no share, no score as in "4 of 5", and nothing that is counted."""

_OTHER_LABELS = {
    **dict.fromkeys(("joyful", "cheerful", "glad", "delighted", "amused"), "happy"),
    **dict.fromkeys(("astonished", "astonishment", "amazed", "amazement", "surprising"), "surprise"),
    **dict.fromkeys(("sorrow", "sorrowful", "unhappy", "unhappiness", "grief"), "sad"),
    **dict.fromkeys(("angered", "furious", "mad", "rage"), "angry"),
    **dict.fromkeys(("disgusting", "revulsion"), "disgust"),
    **dict.fromkeys(("scared", "frightened", "terrified", "fright"), "fear"),
    **dict.fromkeys(("disdain", "disdainful", "scorn", "scornful"), "contempt"),
    "expressionless": "neutral",
}
_LABELS = {**SYNONYMS, **_OTHER_LABELS}
_LABEL = re.compile(r"\b(?:" + "|".join(sorted(_LABELS, key=len, reverse=True)) + r")\b", re.I)
_CONCLUSION = re.compile(
    r"<answer>|\b(?:in\s+conclusion|conclusions?|therefore|thus|in\s+summary|final\s+answer|answer)\b", re.I
)


@dataclass(frozen=True)
class Claim:
    """That a unit is on a face, or is not.

    Attributes:
        unit: FACS number; it may be none that mien knows.
        present: False where the text says that it is not there.
        intensity: FACS letter A to E, or `None` where the text does not say.
        side: "left", "right" or "both", or `None` where the text does not say.
    """

    unit: int
    present: bool
    intensity: str | None = None
    side: str | None = None


@dataclass(frozen=True)
class _Mention:
    start: int
    end: int
    claim: Claim


def claims_in(text: str) -> list[Claim]:
    """Every claim about an action unit, in the order of the text; a unit named twice in a list counts once."""
    claims: list[Claim] = []
    for clause in _CLAUSE.split(_without_colons(_named_one_by_one(text))):
        lists = list(_lists(clause))
        denied = _denied(clause, lists)
        for place, mentions in enumerate(lists):
            claims += _claims(clause, mentions, _window(clause, lists, place), denied.get(place, 0))
    return claims


def stated_units(text: str) -> frozenset[int]:
    """FACS numbers of the units that a text says are there."""
    return frozenset(claim.unit for claim in claims_in(text) if claim.present)


def label_in(text: str, labels: tuple[str, ...] = EXPRESSIONS) -> str | None:
    """The expression that a text concludes with, in mien's names; `None` where there is none or it leaves two open.

    Looks behind the last "conclusion", "therefore", "answer" and the like, else in the last sentence that names an
    expression, and takes the first that is not denied.

    Args:
        text: an answer of a language model, with or without reasoning before it.
        labels: the expressions that may be concluded.
    """
    after = [match.end() for match in _CONCLUSION.finditer(text)]
    for start in reversed(after):
        found = _labels(text[start:], labels)
        if found:
            return found[0] if len(found) == 1 else None
    for sentence in reversed(re.split(r"[.!?\n]", text)):
        found = _labels(sentence, labels)
        if found:
            return found[0] if len(found) == 1 else None
    return None


def names_label(sentence: str, labels: tuple[str, ...] = EXPRESSIONS) -> bool:
    """Whether a sentence names one or more expressions, and not only to deny them."""
    return bool(_labels(sentence, labels))


def _labels(text: str, labels: tuple[str, ...]) -> list[str]:
    """The first expression that is not denied, and the one beside it where "or", "and" or a comma leaves both open."""
    found: list[str] = []
    end = 0
    for match in _LABEL.finditer(text):
        name = _LABELS[match.group().lower()]
        clause = _CLAUSE.split(text[max(0, match.start() - 80) : match.start()])[-1]
        if name not in labels or _DENIED_WORD.search(re.split(r",|\band\b", clause, flags=re.I)[-1]):
            continue
        if found and not re.fullmatch(r"\s*(?:,?\s*(?:or|and)|[/&,])\s*", text[end : match.start()], re.I):
            break
        found += [name] if name not in found else []
        end = match.end()
    return found


def _named_one_by_one(text: str) -> str:
    """As in "AU1+AU2" for "AU1+2" and "AU1, AU2 and AU5" for "AUs 1, 2 and 5"; only known FACS numbers go on a list."""
    pieces, at = [], 0
    for match in _FIRST.finditer(text):
        pieces += [text[at : match.start()], "AU", match["first"]]
        at = match.end()
        while (more := _MORE.match(text, at)) and int(more["number"]) in ACTION_UNITS:
            pieces += [more["between"], "AU", more["item"]]
            at = more.end()
    return "".join([*pieces, text[at:]])


def _without_colons(text: str) -> str:
    """One clause where a colon stands behind a unit, as in "AU12: marked"; other colons part two."""
    characters = list(text)
    for match in _UNIT.finditer(text):
        colon = re.compile(r"[\s)]*:").match(text, match.end())
        if colon:
            characters[colon.end() - 1] = "="
    return "".join(characters)


def _mentions(clause: str) -> Iterator[_Mention]:
    for match in _UNIT.finditer(clause):
        present = not re.search(r"\bnot\b", match.group(), re.I)
        if match["number"]:
            side = {"l": "left", "r": "right"}.get((match["side"] or "").lower())
            letter = match["letter"].upper() if match["letter"] else None
            claim = Claim(int(match["number"]), present, letter, side)
        else:
            claim = Claim(int(str(match.lastgroup)[1:]), present)
        yield _Mention(match.start(), match.end(), claim)


def _lists(clause: str) -> Iterator[list[_Mention]]:
    """Mentions with no verb and no negation between them."""
    group: list[_Mention] = []
    for mention in _mentions(clause):
        if group:
            gap = clause[group[-1].end : mention.start]
            denied = _NEGATION.search(gap)
            if _BETWEEN.search(gap) or (denied and denied.group().lower() != "nor"):
                yield group
                group = []
        group.append(mention)
    if group:
        yield group


def _denied(clause: str, lists: list[list[_Mention]]) -> dict[int, int]:
    """Which lists a negation of the clause belongs to, each with how many of its units, from the first on, it denies."""
    starts, ends = [group[0].start for group in lists], [group[-1].end for group in lists]
    void = [match.span() for match in _NO_NEGATION.finditer(clause)]
    denied: dict[int, int] = {}
    for match in _NEGATION.finditer(clause):
        if any(start <= match.start() < end for start, end in void):
            continue
        ahead, behind = bisect_left(starts, match.end()), bisect_right(ends, match.start()) - 1
        if ahead - behind > 1:  # within a list, as "nor" may be
            continue
        gap = clause[match.end() : starts[ahead]] if ahead < len(lists) else None
        near = gap is not None and len(gap.split()) <= 2 and not _SPLIT.search(gap)
        reaches = gap is not None and (not _AWAY.search(gap) or bool(match["forward"] and _SIGN.match(gap)))
        if reaches and (match["forward"] or near or behind < 0):
            denied[ahead] = _listed(clause, lists[ahead])
        elif behind >= 0 and _denies_behind(clause, match, ends[behind]):
            denied[behind] = len(lists[behind])
    return denied


def _denies_behind(clause: str, match: re.Match[str], end: int) -> bool:
    """Whether a negation denies the units that end before it: "AU4: no", "AU4 is absent", "AU4 is not seen"."""
    if match["forward"] and clause[end : match.start()].strip(" =(),"):
        # Else what is not there is something else: "AU12 is there without tears".
        return match.group().lower() == "neither" or bool(_STILL.match(clause, match.end()))
    return match.group().lower() in ("absent", "missing") or bool(_THERE.match(clause, match.end()))


def _listed(clause: str, group: list[_Mention]) -> int:
    """How many units of a list stand in one row: "no AU4 or AU15", but not "without AU15, the marked AU12"."""
    for count, (first, second) in enumerate(pairwise(group), 1):
        if not _IN_LIST.fullmatch(clause, first.end, second.start):
            return count
    return len(group)


def _window(clause: str, lists: list[list[_Mention]], place: int) -> tuple[int, int]:
    """From the end of the list before to the start of the list after."""
    before = lists[place - 1][-1].end if place else 0
    after = lists[place + 1][0].start if place + 1 < len(lists) else len(clause)
    return before, after


def _claims(clause: str, group: list[_Mention], window: tuple[int, int], denied: int) -> list[Claim]:
    """One claim a unit: what stands before it up to the last comma or "and", and after it up to the next.

    The first `denied` mentions are said not to be there.
    """
    claims: dict[int, Claim] = {}
    for index, mention in enumerate(group):
        start = group[index - 1].end if index else window[0]
        end = group[index + 1].start if index + 1 < len(group) else window[1]
        before = _SPLIT.split(clause[start : mention.start])[-1]
        behind = clause[mention.end : end]
        bracket = _ATTACHED.match(behind)
        after = bracket.group() if bracket else _SPLIT.split(behind.lstrip(") "))[0]
        claim, earlier = mention.claim, claims.get(mention.claim.unit, mention.claim)
        claims[claim.unit] = Claim(
            claim.unit,
            index >= denied and claim.present and earlier.present,
            earlier.intensity or claim.intensity or _intensity(before) or _intensity(after),
            earlier.side or claim.side or _side(before) or _side(after),
        )
    # "AU6 and AU12 are strong": what stands behind the list holds for those in it that have nothing of their own.
    tail = _SPLIT.split(clause[group[-1].end : window[1]].lstrip(") "))[0]
    if not _FOR_ALL.search(tail):
        return list(claims.values())
    return [
        replace(claim, intensity=claim.intensity or _intensity(tail), side=claim.side or _side(tail))
        for claim in claims.values()
    ]


def _intensity(text: str) -> str | None:
    number = _NUMBER.search(text)
    if number:
        if letter := number[1] or number[4]:
            return letter.upper()
        level = round(float(number[2] or number[3]))
        return INTENSITIES[level - 1] if 1 <= level <= 5 else None
    words = [match for match in _INTENSITY.finditer(text) if not _NOT_SO.search(text[: match.start()])]
    # "clearly extreme" is extreme: how clearly a unit is seen tells its amount only where nothing else does.
    plain = [match for match in words if not match.group().lower().startswith("clear")] or words
    return max((str(match.lastgroup) for match in plain), default=None)


def _side(text: str) -> str | None:
    """The side that is named first, up to what it is held against."""
    if _SIDES["both"].search(text):
        return "both"
    meant = _THAN.split(text)[0]
    named = [(match.start(), side) for side in ("left", "right") if (match := _SIDES[side].search(meant))]
    return min(named)[1] if named else None


def without_units(text: str) -> str:
    """The text without the names and numbers of units, also of those in a list."""
    return _UNIT.sub("", _named_one_by_one(text))


def _unit_pattern() -> re.Pattern[str]:
    """Numbers after "AU", or a name: "cheek raiser", "cheek raise", "raised cheeks", "the cheeks are (not) raised"."""
    number = r"AU[\s_-]*(?P<side>[LR])?(?P<number>\d{1,2})(?P<letter>[A-E])?"
    forms = [number]
    for unit, name in ACTION_UNITS.items():
        part, _, action = name.rpartition(" ")
        stem = re.sub(r"(?<!puck)(?:er|or)$", "", action)
        words = r"\s+".join(part.split()) + ("" if part.endswith("s") else "s?")
        form = rf"{words}\s+(?:(?:is|are|was|were)\s+(?:not\s+)?)?{stem}{stem[-1]}?(?:e|es|s|ed|ing|er|ers|or|ors)?"
        turned = rf"{stem}(?:ed|ing)\s+(?:the\s+)?{words}"
        forms.append(rf"(?P<n{unit}>{form}|{turned})" if part else rf"(?P<n{unit}>{name}s?)")
    return re.compile(rf"\b(?:{'|'.join(forms)})\b", re.I)


_UNIT = _unit_pattern()
