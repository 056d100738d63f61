"""The sentences of an explanation: one file a language, `phrases/<language>.json`, with the keys of `en.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mien.errors import LabelError, UnknownNameError

FOLDER = Path(__file__).parent / "phrases"


@cache
def phrasebook(language: str = "en") -> Phrasebook:
    """The phrases of a language.

    Raises:
        UnknownNameError: there is no file for it.
        LabelError: the file has other keys or placeholders than `en.json`.
    """
    known = sorted(path.stem for path in FOLDER.glob("*.json"))
    if language not in known:
        raise UnknownNameError("language of explanations", language, known)
    english, phrases = (json.loads((FOLDER / f"{name}.json").read_text("utf-8")) for name in ("en", language))
    wrong = differences(english, phrases)
    if wrong:
        raise LabelError(
            f"expected {language}.json to have the keys and placeholders of en.json: {'; '.join(wrong)}"
        )
    return Phrasebook(phrases)


def differences(english: Mapping[str, Any], other: Mapping[str, Any], where: str = "") -> list[str]:
    """What keeps a language's phrases from being used in place of the English ones; empty if nothing."""
    wrong = [f"{where}{key} is missing" for key in english if key not in other]
    wrong += [f"{where}{key} is not known" for key in other if key not in english]
    for key in english.keys() & other.keys():
        first, second = english[key], other[key]
        if type(first) is not type(second):
            wrong.append(f"{where}{key} is of another kind")
        elif isinstance(first, dict):
            wrong += differences(first, second, f"{where}{key}.")
        elif isinstance(first, str) and _places(first) != _places(second):
            wrong.append(
                f"{where}{key} needs the placeholders {sorted(_places(first))}, has {sorted(_places(second))}"
            )
    return sorted(wrong)


class Phrasebook:
    """Phrases of one language, filled in by name.

    Args:
        phrases: as in `en.json`.
    """

    def __init__(self, phrases: Mapping[str, Any]) -> None:
        self.phrases = phrases

    def say(self, part: str, key: str, /, **values: object) -> str:
        """One phrase with its placeholders filled in."""
        return str(self.phrases[part][key]).format(**values)

    def noun(self, expression: str) -> str:
        """As in "happiness" for happy; a class of your own keeps its name."""
        return str(self.phrases["expressions"].get(expression, {}).get("noun", expression))

    def look(self, expression: str) -> str:
        """As in "surprised" for surprise; a class of your own keeps its name."""
        return str(self.phrases["expressions"].get(expression, {}).get("look", expression))

    def percent(self, share: float) -> str:
        """A share from 0 to 1 in whole percent, never rounded to nothing or to all."""
        if 0 < share < 0.01:
            return self.say("percent", "under_one")
        if 0.99 < share < 1:
            return self.say("percent", "over_99")
        return self.say("percent", "value", percent=f"{100 * share:.0f}")

    def listed(self, items: Sequence[str]) -> str:
        """Several things in one row: "a, b and c"."""
        words = self.phrases["list"]
        if len(items) < 2:
            return "".join(items)
        return str(words["comma"].join(items[:-1]) + words["and"] + items[-1])


def _places(text: str) -> set[str]:
    return set(re.findall(r"{(\w*)}", text))
