from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest

from mien.errors import LanguageModelError, OptionError
from mien.explain import endpoint
from mien.explain.endpoint import LanguageModel
from mien.explain.language_model import checked, describe
from mien.explain.words import explain_face
from mien.labels.expressions import EXPRESSIONS
from mien.types.scores import Scores
from mien.types.units import ActionUnits

UNITS = (4, 6, 12, 25)
SIDES = np.array([[0, 3, 3.4, 2]], np.float32), np.array([[0, 3, 1, 2]], np.float32)


@pytest.fixture(scope="module")
def explanation():
    values = np.array([[0.86 if name == "happy" else 0.02 for name in EXPRESSIONS]], np.float32)
    return explain_face(
        Scores(EXPRESSIONS, values), ActionUnits(UNITS, np.maximum(*SIDES), "intensity", "test", *SIDES)
    )


def observation(text="AU12 is clearly there.", unit="AU12", present=True, intensity="C", side="left", **more):
    return {"unit": unit, "present": present, "intensity": intensity, "side": side, "text": text, **more}


def written(
    observations=None, interpretation="AU12 and AU6 are a part of the look of happiness.", label="happy"
):
    return json.dumps(
        {
            "observations": [observation()] if observations is None else observations,
            "interpretation": interpretation,
            "label": label,
        }
    )


def test_a_good_answer_becomes_the_text(language_server, explanation):
    language_server.says(written())
    words = describe(explanation, language_server.model)
    assert (words.source, words.reason, words.claims, words.struck) == ("model", "", 3, ())
    assert words.hallucination_rate == 0
    assert words.text == (
        "Key observations: AU12 is clearly there.\n"
        "Interpretation: AU12 and AU6 are a part of the look of happiness.\n"
        f"Conclusion: {explanation.conclusion}"
    )


def test_only_the_facts_are_sent_and_a_schema_is_asked_for(language_server, explanation, monkeypatch):
    monkeypatch.setenv("MIEN_TEST_KEY", "secret")
    language_server.says(written())
    describe(explanation, LanguageModel(language_server.model.url, "small", "MIEN_TEST_KEY"))
    (request,) = language_server.requests
    assert json.loads(request["messages"][1]["content"]) == explanation.facts()
    assert all(isinstance(message["content"], str) for message in request["messages"])
    assert request["response_format"]["type"] == "json_schema"
    assert (request["model"], request["temperature"]) == ("small", 0)
    assert language_server.headers[0]["Authorization"] == "Bearer secret"
    monkeypatch.delenv("MIEN_TEST_KEY")
    with pytest.raises(OptionError, match="environment variable MIEN_TEST_KEY"):
        describe(explanation, LanguageModel(language_server.model.url, "small", "MIEN_TEST_KEY"))


@pytest.mark.parametrize("key", ["secret\r", "secret\n", "sécret", "ключ", "se cret"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(language_server, explanation, monkeypatch, key):
    monkeypatch.setenv("MIEN_TEST_KEY", key)
    with pytest.raises(OptionError, match="printable ASCII without blanks in MIEN_TEST_KEY") as caught:
        describe(explanation, LanguageModel(language_server.model.url, "small", "MIEN_TEST_KEY"))
    assert key not in str(caught.value) and "cret" not in str(caught.value)
    assert language_server.requests == []


def test_a_server_without_schemas_is_asked_once_more(language_server, explanation):
    language_server.refuses_schema = True
    language_server.says("<think>AU4? No.</think>\n```json\n" + written() + "\n```")
    assert describe(explanation, language_server.model).source == "model"
    assert ["response_format" in request for request in language_server.requests] == [True, False]


def test_what_is_contradicted_or_not_measured_is_struck(explanation):
    words = checked(
        written(
            [
                observation(),
                observation("AU4 lowers the brows.", "AU4", intensity=None, side=None),
                observation("AU15 is seen.", "AU15", intensity=None, side=None),
                observation("AU12 is there.", intensity="A"),
                observation("AU12 is there.", side="right"),
                observation("AU6 is not there.", "AU6", False, None, None),
                observation("AU25 is there, and AU9 too.", "AU25", intensity="B", side=None),
            ],
            "AU6 is a part of the look of happiness. The brow lowerer is extreme. AU4 is absent.",
        ),
        explanation,
    )
    assert [(one.claim.unit, one.reason) for one in words.struck] == [
        (4, "contradicted"),
        (15, "not measured"),
        (12, "contradicted"),
        (12, "contradicted"),
        (6, "contradicted"),
        (9, "not measured"),
        (4, "contradicted"),
    ]
    assert words.claims == 11
    assert words.hallucination_rate == pytest.approx(7 / 11)
    assert words.text == (
        "Key observations: AU12 is clearly there.\n"
        "Interpretation: AU6 is a part of the look of happiness. AU4 is absent.\n"
        f"Conclusion: {explanation.conclusion}"
    )


def test_intensities_and_sides_need_a_measurement_of_them(explanation):
    values = Scores(EXPRESSIONS, np.array([[0.02, 0.86, *[0.02] * 6]], np.float32))
    likely = explain_face(values, ActionUnits((12,), np.array([[0.9]], np.float32), "probability", "test"))
    words = checked(
        written([observation(side=None), observation(intensity=None)], "AU12 is in the look."), likely
    )
    assert [one.reason for one in words.struck] == ["not measured", "not measured"]


def test_sentences_that_nothing_holds_are_left_out(explanation):
    words = checked(
        written(
            interpretation="The weather is nice. AU12 is at 91 % of the look. AU6 is in the look of happiness. "
            "The tears show sadness. The evidence lies between happiness and surprise."
        ),
        explanation,
    )
    assert words.left_out == 3
    assert "Interpretation: AU6 is in the look of happiness. The evidence lies between" in words.text


def test_units_in_a_list_are_no_figures(explanation):
    said = "AUs 6 and 12 are in the look. AU6+12 go together. AU6 is at 70 % of it."
    words = checked(written(interpretation=said), explanation)
    assert words.left_out == 1 and words.struck == ()
    assert "AUs 6 and 12 are in the look. AU6+12 go together." in words.text


def test_the_wrong_side_a_wrong_letter_and_an_invented_unit_are_struck(explanation):
    said = (
        "AU12 is stronger on the right side than on the left. The cheek raiser is at FACS letter E. Without doubt AU4 is there. "
        "AU12 does not speak for the label sadness."
    )
    words = checked(written(interpretation=said), explanation)
    assert [one.claim.unit for one in words.struck] == [12, 6, 4]
    assert "Interpretation: AU12 does not speak for the label sadness." in words.text


@pytest.mark.parametrize(
    ("text", "kept", "left_out"),
    [
        ("She misses her dog and the father of her child.", "", 1),
        ("She is happy.", "", 1),
        ("", "", 1),
        ("AU6 is slight. She is lying to the police, and this is a sign of guilt.", "AU6 is slight.", 1),
        ("AU6 is slight.She is lying to the police\nand this is a sign of guilt.", "AU6 is slight.", 2),
        ("The face is well lit. The cheek raiser is slight.", "The cheek raiser is slight.", 1),
        ("AU6 is slight. It goes with AU12 in a smile.", "AU6 is slight.", 1),
    ],
)
def test_an_observation_says_its_unit_in_every_sentence(explanation, text, kept, left_out):
    words = checked(written([observation(text, "AU6", intensity=None, side=None)]), explanation)
    assert words.source == "model" and words.left_out == left_out
    assert words.text.startswith(f"Key observations: {kept}\n" if kept else "Interpretation: ")
    assert words.claims == 3 + text.count("AU12")


def test_no_claim_has_no_rate(explanation):
    words = checked(written([], "The units speak for happiness."), explanation)
    assert words.claims == 0 and math.isnan(words.hallucination_rate)
    assert words.source == "model"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (written(label="sad"), "expected the label happy, the model concludes 'sad'"),
        (
            written([observation("AU4 is in the face.", "AU4")], "It is."),
            "nothing of the model's answer could be kept",
        ),
    ],
)
def test_an_answer_that_cannot_be_kept_gives_the_template(language_server, explanation, answer, reason):
    language_server.says(answer)
    words = describe(explanation, language_server.model)
    assert (words.source, words.text) == ("template", explanation.text)
    assert reason in words.reason
    assert words.claims > 0
    with pytest.raises(LanguageModelError, match=reason):
        describe(explanation, language_server.model, fallback=False)


GERMAN = "Die Mundwinkel sind hochgezogen (AU12), was deutlich fuer Freude spricht und sonst fuer wenig."


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.says("The face is happy."), "the JSON it was asked for"),
        (lambda s: s.says(""), "the JSON it was asked for"),
        (lambda s: s.says("[" * 100_000), "the JSON it was asked for"),
        (lambda s: s.says('{"label": "happy"}'), "JSON of another form"),
        (lambda s: s.says("[]"), "JSON of another form"),
        (lambda s: s.says(written([observation(intensity="strong")])), "JSON of another form"),
        (lambda s: s.says(written([observation(side=["left"])])), "JSON of another form"),
        (lambda s: s.says(written([observation(unit="AU3")])), "a unit 'AU3'"),
        (lambda s: s.says(written([observation(GERMAN)], GERMAN)), "text in another language"),
        (lambda s: s.says(written(interpretation="AU12 is in the look. " * 400)), "characters, at most 4000"),
        (lambda s: s.says("word " * 200_000), "at most 262144 bytes"),
        (lambda s: s.says(written(), "length"), "cut a longer one off"),
        (lambda s: s.says(None), "expected text"),
        (
            lambda s: setattr(s, "body", b"<html><body>Welcome to the proxy</body></html>"),
            "chat completion in JSON",
        ),
        (lambda s: setattr(s, "body", b"\xff\x00\xfe"), "chat completion in JSON"),
        (lambda s: setattr(s, "body", b'{"choices": []}'), "chat completion in JSON"),
        (lambda s: setattr(s, "body", b'"choices"'), "chat completion in JSON"),
        (lambda s: setattr(s, "status", 500), "got 500"),
        (lambda s: setattr(s, "status", 302), "got 302"),
    ],
)
def test_every_bad_answer_gives_the_template_and_the_reason(language_server, explanation, change, reason):
    change(language_server)
    words = describe(explanation, language_server.model)
    assert (words.source, words.text) == ("template", explanation.text)
    assert reason in words.reason
    with pytest.raises(LanguageModelError, match="expected"):
        describe(explanation, language_server.model, fallback=False)


def test_a_slow_server_is_given_up(language_server, explanation):
    language_server.wait_s = 1.5
    language_server.says(written())
    start = time.monotonic()
    words = describe(explanation, LanguageModel(language_server.model.url, timeout_s=0.2))
    assert time.monotonic() - start < 1.2
    assert words.source == "template" and "within 0.2 s" in words.reason


def test_a_server_that_drips_is_given_up(explanation, monkeypatch):
    class Drip:
        def read1(self, _):
            time.sleep(0.02)
            return b" "

    with pytest.raises(TimeoutError):
        LanguageModel()._read(Drip(), time.monotonic() + 0.1)


def test_a_server_that_is_down_is_named(language_server, explanation):
    language_server.http.shutdown()
    language_server.http.server_close()
    words = describe(explanation, language_server.model)
    assert words.source == "template"
    assert "Start the server" in words.reason and language_server.model.url in words.reason


@pytest.mark.parametrize("url", ["http://localhost:11434/v1", "http://127.8.8.8/v1", "http://[::1]:8000/v1"])
def test_this_machine_needs_no_leave(url):
    assert LanguageModel(url).is_local


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.org/v1",
        "http://192.168.0.2/v1",
        "http://127.0.0.1.example.org/v1",
        "http://0.0.0.0/v1",
    ],
)
def test_another_machine_needs_leave(url):
    with pytest.raises(OptionError, match="expected a language model on this machine"):
        LanguageModel(url)
    assert not LanguageModel(url, allow_remote=True).is_local


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "127.0.0.1:8080",
        "http://",
        "http://me:secret@127.0.0.1/v1",
        "http://[::1",
        "http://127.0.0.1:port/v1",
        "http://127.0.0.1:99999/v1",
    ],
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(OptionError, match="expected an address"):
        LanguageModel(url)
    with pytest.raises(OptionError, match="timeout_s over 0"):
        LanguageModel(timeout_s=0)


def test_a_proxy_of_the_environment_sees_nothing(language_server, explanation, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    language_server.says(written())
    assert describe(explanation, language_server.model).source == "model"


def test_no_socket_is_opened_by_importing_or_making_one(monkeypatch):
    monkeypatch.setattr(endpoint.urllib.request, "build_opener", lambda *_: pytest.fail("opened"))
    LanguageModel()
