from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from mien.errors import DataError, InputError, LabelError, ShapeError
from mien.labels.expressions import EXPRESSIONS
from mien.methods.language.exp_cot import (
    PROTOTYPES,
    chat_model,
    concluded_label,
    observed,
    read_records,
    records,
    stated_units,
    write_records,
)
from mien.types.units import ActionUnits

UNITS = ActionUnits(
    (6, 12, 4), np.array([[2.0, 3.2, 0.4], [0, 0, np.nan], [np.nan] * 3], np.float32), "intensity", "drawn"
)


def drawn(count: int, seed: int = 0) -> tuple[list[str], list[str], ActionUnits]:
    random = np.random.default_rng(seed)
    numbers = tuple(sorted({unit for units in PROTOTYPES.values() for unit in units}))
    values = random.uniform(0, 5, (count, len(numbers))) * (random.random((count, len(numbers))) < 0.3)
    labels = [EXPRESSIONS[index % 8] for index in range(count)]
    ids = [f"p{index}" for index in range(count)]
    return ids, labels, ActionUnits(numbers, values.astype(np.float32), "intensity", "drawn")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("AU12 is marked. AU6 and AU12 speak for happy. The expression is happy.", "happy"),
        ("Cheeks raised. In conclusion, the face shows happiness.", "happy"),
        ("AU4 speaks for anger. Yet the brows are raised too. So the expression is fear.", "fear"),
        ("The face is close to rest. The expression is Neutral", "neutral"),
        ("Conclusion: SURPRISE!", "surprise"),
        ("The expression is sad, not angry.", "sad"),
        ("It is disgust rather than anger.", "disgust"),
        ("The face looks afraid.\nThe mouth is open.", "fear"),
        ("Nothing speaks for joy. One-sided AU14: contempt.", "contempt"),
        ("This isn't sadness. The person is angry.", "angry"),
        ("The face is either sad or angry.", None),
        ("AU12 is marked and the lips part.", None),
        ("The face is not happy.", None),
        ("", None),
    ],
)
def test_the_label_is_read_from_the_conclusion(text: str, label: str | None) -> None:
    assert concluded_label(text) == label


def test_units_are_read_as_they_are_written() -> None:
    assert stated_units("AU1, AU 12 (lip corner puller) and AU25.") == {1, 12, 25}
    assert stated_units("action unit 12, au4, SAU7, lip corner puller") == set()


def test_every_text_states_visible_units_alone_and_concludes_with_its_label() -> None:
    ids, labels, units = drawn(200)
    for row, record in enumerate(records(ids, labels, units)):
        assert record.description is not None and record.writer == "template"
        visible = {unit for unit, value in zip(units.units, units.values[row], strict=True) if value >= 1}
        assert stated_units(record.description.text) == set(observed(record.au)) <= visible
        assert len(visible) < 6 or len(observed(record.au)) == 5
        assert concluded_label(record.description.text) == record.emo == labels[row]
        assert concluded_label(record.description.conclusion) == record.emo


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

    def ask(messages) -> str:
        asked.append(messages)
        return answer

    record = records(["a", "b", "c"], ["happy", "neutral", "sad"], UNITS, ask=ask)[0]
    assert record.writer == writer
    assert record.description is not None and concluded_label(record.description.text) == "happy"
    assert "AU12" in asked[0][1]["content"] and "AU4" not in asked[0][1]["content"]
    assert len(asked) == 2  # nothing was measured of the third


class Service(BaseHTTPRequestHandler):
    """Answers as a chat service does, or with an empty object for the model "mute"."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = f"{self.path} {self.headers['Authorization']} {body['messages'][0]['content']}"
        answer = {} if body["model"] == "mute" else {"choices": [{"message": {"content": content}}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *args) -> None:
        pass


def test_a_chat_service_is_asked_in_openais_protocol() -> None:
    server = HTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}/v1/"
    try:
        ask = chat_model(base, "any", key="k")
        assert ask([{"role": "user", "content": "hi"}]) == "/v1/chat/completions Bearer k hi"
        with pytest.raises(InputError, match="expected an answer"):
            chat_model(base, "mute")([{"role": "user", "content": "hi"}])
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(InputError, match="expected an answer"):
        ask([{"role": "user", "content": "hi"}])
