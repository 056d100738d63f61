from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mien.errors import DataError, LabelError, LanguageModelError, OptionError, ShapeError
from mien.labels.claims import label_in, stated_units
from mien.labels.expressions import EXPRESSIONS
from mien.methods.language.exp_cot import (
    observed,
    read_records,
    records,
    typical_units,
    write_records,
)
from mien.types.units import ActionUnits

UNITS = ActionUnits(
    (6, 12, 4), np.array([[2.0, 3.2, 0.4], [0, 0, np.nan], [np.nan] * 3], np.float32), "intensity", "drawn"
)


def drawn(count: int, seed: int = 0) -> tuple[list[str], list[str], ActionUnits]:
    random = np.random.default_rng(seed)
    numbers = tuple(sorted({unit for label in EXPRESSIONS for unit in typical_units(label)}))
    values = random.uniform(0, 5, (count, len(numbers))) * (random.random((count, len(numbers))) < 0.3)
    labels = [EXPRESSIONS[index % 8] for index in range(count)]
    ids = [f"p{index}" for index in range(count)]
    return ids, labels, ActionUnits(numbers, values.astype(np.float32), "intensity", "drawn")


def test_typical_units_are_those_of_the_evidence() -> None:
    assert typical_units("happy") == {6, 12, 25} and typical_units("neutral") == frozenset()
    assert {1, 2, 5, 26} <= typical_units("surprise")
    assert not {12, 14} & typical_units("contempt")  # a smile on both sides is not typical of it


def test_every_text_states_visible_units_alone_and_concludes_with_its_label() -> None:
    ids, labels, units = drawn(200)
    for row, record in enumerate(records(ids, labels, units)):
        assert record.description is not None and record.writer == "template"
        visible = {unit for unit, value in zip(units.units, units.values[row], strict=True) if value >= 1}
        assert stated_units(record.description.text) == set(observed(record.au)) <= visible
        assert len(visible) < 6 or len(observed(record.au)) == 5
        assert label_in(record.description.text) == record.emo == labels[row]
        assert label_in(record.description.conclusion) == record.emo


def test_the_strongest_units_come_first_with_their_names_and_degrees() -> None:
    text = records(["a"], ["joy"], ActionUnits((6, 12), np.array([[2.0, 3.2]]), "intensity", "x"))[
        0
    ].description
    assert text is not None
    assert text.observations.index("AU12 (lip corner puller, marked)") < text.observations.index("AU6 (")
    assert "slight" in text.observations
    assert "AU12 and AU6" in text.interpretation


def test_missing_is_not_zero() -> None:
    some, rest, none = records(["a", "b", "c"], ["happy", "neutral", "sad"], UNITS)
    assert some.au == pytest.approx({6: 2.0, 12: 3.2, 4: 0.4})
    assert rest.au == {6: 0.0, 12: 0.0, 4: None}
    assert rest.description is not None and stated_units(rest.description.text) == set()
    assert none.description is None and none.writer is None
    assert records(["a"], ["happy"])[0].description is None


def test_the_seed_and_the_id_decide_the_words_and_the_order_does_not() -> None:
    ids, labels, units = drawn(40)
    first, again, other = (records(ids, labels, units, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    back = ActionUnits(units.units, units.values[::-1].copy(), "intensity", "drawn")
    assert records(ids[::-1], labels[::-1], back, seed=1) == first[::-1]
    assert (
        len({record.description.conclusion.replace(record.emo, "") for record in first if record.description})
        > 1
    )


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ShapeError, match="2 ids, 1 labels"):
        records(["a", "b"], ["happy"])
    with pytest.raises(ShapeError, match="3 rows"):
        records(["a"], ["happy"], UNITS)
    with pytest.raises(LabelError, match="expected units as intensities"):
        records(["a"], ["happy"], ActionUnits((6,), np.ones((1, 1)), "probability", "x"))


def test_records_come_back_from_json_lines(tmp_path: Path) -> None:
    made = records(["a", "b", "c"], ["happy", "neutral", "sad"], UNITS)
    write_records(tmp_path / "cot.jsonl", made)
    assert read_records(tmp_path / "cot.jsonl") == made
    assert set(json.loads((tmp_path / "cot.jsonl").read_text().splitlines()[0])) == {
        "id", "emo", "au", "description", "writer"
    }  # fmt: skip
    (tmp_path / "cot.jsonl").write_text('{"id": 3}\n')
    with pytest.raises(DataError, match="line 1"):
        read_records(tmp_path / "cot.jsonl")


def told(observations: str, conclusion: str) -> str:
    parts = {"observations": observations, "interpretation": "They fit.", "conclusion": conclusion}
    return f"Here it is: {json.dumps(parts)}"


@pytest.mark.parametrize(
    ("answer", "writer"),
    [
        (told("AU12 and AU6 are there.", "The face is happy."), "language model"),
        (told("AU12 and AU4 are there.", "The face is happy."), "template"),  # AU4 is under a trace
        (told("AU12 is there.", "The face is sad."), "template"),
        (told("", "The face is happy."), "template"),
        ("no JSON", "template"),
    ],
)
def test_a_language_models_text_is_kept_only_if_it_is_true(answer: str, writer: str) -> None:
    asked = []

    def ask(messages, schema) -> str:
        asked.append(messages)
        assert set(schema["required"]) == {"observations", "interpretation", "conclusion"}
        return answer

    record = records(["a", "b", "c"], ["happy", "neutral", "sad"], UNITS, ask=ask)[0]
    assert record.writer == writer
    assert record.description is not None and label_in(record.description.text) == "happy"
    assert "AU12" in asked[0][1]["content"] and "AU4" not in asked[0][1]["content"]
    assert len(asked) == 2  # nothing was measured of the third


def test_a_language_model_that_goes_down_loses_no_record() -> None:
    def ask(messages, schema) -> str:
        if "happy" in messages[1]["content"]:
            return told("AU12 and AU6 are there.", "The face is happy.")
        raise LanguageModelError("expected an answer within 60 s, got: Connection refused")

    made = records(["a", "b", "c"], ["happy", "neutral", "sad"], UNITS, ask=ask)
    assert [record.writer for record in made] == ["language model", "template", None]
    assert made[1] == records(["a", "b", "c"], ["happy", "neutral", "sad"], UNITS)[1]

    def without_key(messages, schema) -> str:
        raise OptionError("expected a key in the environment variable KEY, got none")

    with pytest.raises(OptionError, match="KEY"):
        records(["a"], ["happy"], ActionUnits((6,), np.ones((1, 1)), "intensity", "x"), ask=without_key)
