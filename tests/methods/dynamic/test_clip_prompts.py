from __future__ import annotations

import gzip

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from mien.errors import OptionError, ShapeError, WeightsError  # noqa: E402
from mien.methods.dynamic import clip_prompts  # noqa: E402
from mien.methods.dynamic.clip_prompts import (  # noqa: E402
    Prompts,
    Tokenizer,
    class_sentences,
    fetched_tokenizer,
    padded,
    sentences_for,
    tokens_of,
)
from mien.nn.clip import BEGIN, END, WORDS  # noqa: E402
from mien.weights.bundle import stored  # noqa: E402


def drawn_vocabulary() -> bytes:
    """As many pairs as CLIP's, of which the first few are real words in the making."""
    real = ["h a", "p p", "ha pp", "happ y</w>", "a n"]
    lines = ["version", *real, *(f"x{i} y" for i in range(WORDS - 2 - 512 - len(real))), "left out", ""]
    return gzip.compress("\n".join(lines).encode())


def test_pairs_are_joined_in_the_order_they_were_learned() -> None:
    tokenizer = Tokenizer(drawn_vocabulary())
    assert (
        tokenizer.numbers["!"] == 0 and tokenizer.numbers["!</w>"] == 256 and tokenizer.numbers["ha"] == 512
    )
    assert tokenizer.encode("HAPPY") == [515]  # ha, pp, happ, happy</w>
    hand = [tokenizer.numbers[part] for part in ("ha", "n", "d</w>", "!</w>", "2</w>", "2</w>")]
    assert (
        tokenizer.encode(" hand!  22 ") == hand
    )  # of "a n" and "h a" the earlier one wins; digits stand alone
    euro = [tokenizer.numbers[clip_prompts._byte_letters()[byte]] for byte in "€".encode()[:2]]
    assert tokenizer.encode("€")[:2] == euro and len(tokenizer.encode("€")) == 3


def test_another_file_is_refused() -> None:
    for content in (b"no archive", gzip.compress(b"version\na b\n")):
        with pytest.raises(WeightsError, match="vocabulary"):
            Tokenizer(content)


def test_the_stored_tokens_are_those_of_the_sentences() -> None:
    if stored(["clip_words"])[0].state != "ok":
        pytest.skip("CLIP's vocabulary was not fetched: mien weights fetch clip_words")
    for name, sides in class_sentences().items():
        for side in sides.values():
            assert fetched_tokenizer().encode(str(side["text"])) == side["tokens"], name
    assert fetched_tokenizer().encode("A face that isn't happy!") == [320, 1710, 682, 2923, 713, 900, 256]


def test_a_class_needs_no_vocabulary_and_a_sentence_says_how_to_get_it(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    fetched_tokenizer.cache_clear()
    assert tokens_of("happy")[0] == 320
    assert tokens_of("happy") != tokens_of("happy", "opposes")
    assert tokens_of([5, 6]) == [5, 6]
    with pytest.raises(WeightsError, match="run `mien weights fetch clip_words`"):
        tokens_of("a face of my own")
    with pytest.raises(OptionError, match="expected a sentence that opposes 'fatigue'"):
        tokens_of("fatigue", "opposes")
    with pytest.raises(OptionError, match=f"expected tokens from 0 to {BEGIN - 1}"):
        tokens_of([5, END])


def test_sentences_are_as_many_as_classes() -> None:
    assert sentences_for(2, ("happy", "sad"), None) == [tokens_of("happy"), tokens_of("sad")]
    assert sentences_for(3, ("happy", "sad"), None) == [[], [], []]
    assert sentences_for(2, ("happy", "sad"), [[7], "sad"]) == [[7], tokens_of("sad")]
    with pytest.raises(OptionError, match="expected 3 sentences, one a class, got 2"):
        sentences_for(3, (), ["happy", "sad"])


def test_learned_words_stand_behind_the_begin_and_alone_get_a_gradient() -> None:
    torch.manual_seed(0)
    prompts, words = Prompts([[5, 6, 7], []], 8, 4), torch.nn.Embedding(WORDS, 4).requires_grad_(False)
    assert prompts.tokens.tolist()[0] == [BEGIN, *[0] * 8, 5, 6, 7, END]
    assert prompts.tokens.tolist()[1] == [BEGIN, *[0] * 8, END, 0, 0, 0]
    assert prompts.ends.tolist() == [12, 9]
    embedded = prompts(words)
    assert torch.equal(embedded[:, 1:9], prompts.context) and torch.equal(embedded[0, 9], words.weight[5])
    embedded.sum().backward()
    assert torch.equal(prompts.context.grad, torch.ones(2, 8, 4))
    assert prompts.context.std().item() == pytest.approx(0.02, rel=0.4)


def test_a_prompt_has_77_places() -> None:
    assert padded([[1] * 67], 8).shape == (1, 77)
    with pytest.raises(ShapeError, match=r"expected at most 77 tokens .*, got 78"):
        padded([[1] * 68], 8)
