"""Sentences for CLIP's text tower: what each class looks like, its tokens, and learned words in front of it.

The sentences are ours (`clip_prompts.json`), and their tokens stand beside them, so that no vocabulary is needed. Sentences of
your own need it: `mien weights fetch clip_words` (byte-level byte pairs of openai/CLIP, MIT), or give them as tokens.
Learned words: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022, arXiv 2109.01134.
"""

from __future__ import annotations

import functools
import gzip
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mien.errors import OptionError, ShapeError, WeightsError
from mien.nn.clip import BEGIN, CONTEXT, END, WORDS
from mien.weights.fetch import fetched_bytes

Sentence = str | Sequence[int]
"""A class of `clip_prompts.json`, any sentence, or token numbers without the marks of begin and end."""
PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+", re.IGNORECASE)


class Tokenizer:
    """Text to token numbers, as openai/CLIP does it but for the mending of broken Unicode.

    Args:
        content: the bytes of bpe_simple_vocab_16e6.txt.gz.

    Raises:
        WeightsError: another file.
    """

    def __init__(self, content: bytes) -> None:
        try:
            lines = gzip.decompress(content).decode().split("\n")
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise WeightsError(f"expected a gzipped vocabulary of byte pairs, got: {error}") from None
        self.letters = _byte_letters()
        pairs = [tuple(line.split()) for line in lines[1 : WORDS - 2 * len(self.letters) - 1]]
        ends = [letter + "</w>" for letter in self.letters.values()]
        words = [*self.letters.values(), *ends, *("".join(pair) for pair in pairs)]
        if len(words) != WORDS - 2:
            raise WeightsError(f"expected {WORDS - 2:,} tokens in the vocabulary, got {len(words):,}")
        self.numbers = {word: number for number, word in enumerate(words)}
        self.ranks = {pair: rank for rank, pair in enumerate(pairs)}

    def encode(self, text: str) -> list[int]:
        """Token numbers of a text, in small letters, without marks of begin and end."""
        found = []
        for piece in PIECES.findall(" ".join(text.lower().split())):
            letters = [self.letters[byte] for byte in piece.encode()]
            found += [self.numbers[part] for part in self._merged([*letters[:-1], letters[-1] + "</w>"])]
        return found

    def _merged(self, parts: list[str]) -> list[str]:
        """Join the pair that was learned first, again and again."""
        unknown = len(self.ranks)
        while len(parts) > 1:
            pairs = list(itertools.pairwise(parts))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, unknown))
            if best not in self.ranks:
                break
            joined, index = [], 0
            while index < len(parts):
                whole = tuple(parts[index : index + 2]) == best
                joined.append("".join(best) if whole else parts[index])
                index += 2 if whole else 1
            parts = joined
        return parts


def _byte_letters() -> dict[int, str]:
    """A letter that can be seen for each byte, in the vocabulary's order."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {**{byte: chr(byte) for byte in seen}, **{byte: chr(256 + i) for i, byte in enumerate(hidden)}}


@functools.cache
def fetched_tokenizer() -> Tokenizer:
    """The tokenizer of the fetched vocabulary; `WeightsError` says how to fetch it."""
    return Tokenizer(fetched_bytes("clip_words"))


@functools.cache
def class_sentences() -> dict[str, dict[str, dict[str, object]]]:
    """Class -> "shows" and, for expressions, "opposes" -> "text" and "tokens"."""
    return dict(json.loads(Path(__file__).with_suffix(".json").read_text()))


def tokens_of(sentence: Sentence, side: str = "shows") -> list[int]:
    """Token numbers of a sentence, without marks.

    Args:
        sentence: see `Sentence`.
        side: of a class, what it "shows" or what "opposes" it.

    Raises:
        OptionError: the class has no such side, or a number is no token.
        WeightsError: a sentence of one's own, and the vocabulary was not fetched.
    """
    if isinstance(sentence, str):
        known = class_sentences().get(sentence)
        if known is None:
            return fetched_tokenizer().encode(sentence)
        if side not in known:
            raise OptionError(
                f"expected a sentence that {side} {sentence!r}, got none. Give one of your own."
            )
        return list(known[side]["tokens"])  # type: ignore[call-overload]
    if not all(0 <= token < BEGIN for token in sentence):
        raise OptionError(f"expected tokens from 0 to {BEGIN - 1}, without marks, got {list(sentence)}")
    return list(sentence)


def padded(sentences: Sequence[Sequence[int]], learned: int = 0) -> Tensor:
    """Tokens with their marks, int64 (K, L), filled up with 0; `learned` places after the begin stay 0.

    Raises:
        ShapeError: a sentence is too long for CLIP.
    """
    longest = max(len(sentence) for sentence in sentences) + learned + 2
    if longest > CONTEXT:
        raise ShapeError(
            f"expected at most {CONTEXT} tokens with marks and learned words, got {longest}. Shorten it."
        )
    rows = [[BEGIN, *[0] * learned, *sentence, END] for sentence in sentences]
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])


class Prompts(nn.Module):
    """A sentence a class with learned words between the mark of its begin and its own words.

    Args:
        sentences: token numbers without marks, one a class; may be empty, so that the learned words stand alone.
        learned: how many.
        width: of the text tower.
    """

    tokens: Tensor

    def __init__(self, sentences: Sequence[Sequence[int]], learned: int, width: int) -> None:
        super().__init__()
        self.context = nn.Parameter(0.02 * torch.randn(len(sentences), learned, width))
        self.register_buffer("tokens", padded(sentences, learned))

    @property
    def ends(self) -> Tensor:
        """Where each sentence ends, int64 (K,)."""
        return self.tokens.argmax(1)

    def forward(self, words: nn.Embedding) -> Tensor:
        """Embedded words, (K, L, C), for a text tower."""
        embedded, learned = words(self.tokens), self.context.shape[1]
        return torch.cat([embedded[:, :1], self.context, embedded[:, 1 + learned :]], 1)


def sentences_for(
    classes: int, default: Sequence[str], given: Sequence[Sentence] | None, side: str = "shows"
) -> list[list[int]]:
    """Tokens of the sentences of a network's classes.

    Args:
        classes: how many there are.
        default: classes of `clip_prompts.json` to take where nothing is given and there are as many.
        given: a sentence a class, in the order of the outputs.
        side: see `tokens_of`.

    Returns:
        one a class; empty ones where nothing is given and the default does not fit.

    Raises:
        OptionError: not as many sentences as classes.
    """
    if given is None:
        return [tokens_of(name, side) for name in default] if len(default) == classes else [[]] * classes
    if len(given) != classes:
        raise OptionError(f"expected {classes} sentences, one a class, got {len(given)}")
    return [tokens_of(sentence, side) for sentence in given]
