"""A language model from a file, its words and tokens, and low-rank adapters (LoRA). Needs the extra `language`.

LoRA: Hu et al., ICLR 2022: W x + (alpha / r) B A x, with W frozen, A random and B zero at the start, so that an
adapted network first computes what it computed before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.errors import MissingExtraError, OptionError, WeightsError


@dataclass(frozen=True)
class Words:
    """Text to tokens and back.

    Attributes:
        encode: text -> ids, without marks of begin and end.
        decode: ids -> text, without such marks.
        end: id that ends an answer.
        begin: ids before every text.
    """

    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    end: int
    begin: tuple[int, ...] = ()


class LoRALinear(nn.Module):
    """A frozen linear layer with a trained correction of low rank.

    Args:
        base: frozen here.
        rank, alpha: r, and the numerator of the correction's factor.
        dropout: on the correction's input.
    """

    def __init__(self, base: nn.Linear, rank: int = 8, alpha: float = 16.0, dropout: float = 0.05) -> None:
        super().__init__()
        if not 1 <= rank <= min(base.in_features, base.out_features):
            raise OptionError(f"expected a rank from 1 to the layer's width, got {rank}")
        self.base = base.requires_grad_(False)
        like: dict[str, Any] = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.down = nn.Linear(base.in_features, rank, bias=False, **like)
        self.up = nn.Linear(rank, base.out_features, bias=False, **like)
        nn.init.zeros_(self.up.weight)
        self.dropout = nn.Dropout(dropout)
        self.factor = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return self.base(x) + self.factor * self.up(self.down(self.dropout(x)))


def add_lora(
    network: nn.Module, layers: Sequence[str], rank: int = 8, alpha: float = 16.0, dropout: float = 0.05
) -> int:
    """Freeze a network and adapt its linear layers of these names, in place; gives how many.

    Args:
        network: changed.
        layers: last parts of the layers' names, such as "q_proj".
        rank, alpha, dropout: see `LoRALinear`.

    Raises:
        OptionError: no linear layer is called so.
    """
    network.requires_grad_(False)
    adapted = [
        (parent, name, layer)
        for parent in list(network.modules())
        for name, layer in parent.named_children()
        if name in layers and isinstance(layer, nn.Linear)
    ]
    if not adapted:
        raise OptionError(f"expected linear layers called {', '.join(layers)}, got none")
    for parent, name, layer in adapted:
        setattr(parent, name, LoRALinear(layer, rank, alpha, dropout))
    return len(adapted)


def trained_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The parameters that are trained, by name: all that a run need store."""
    return {name: value for name, value in network.named_parameters() if value.requires_grad}


def load_llm(path: str | Path) -> tuple[nn.Module, Words]:
    """A causal language model in float32 with its tokenizer, frozen; nothing is downloaded.

    Args:
        path: a GGUF file, such as `fetched_path("smollm2")`, or a folder that transformers saved.

    Raises:
        MissingExtraError: the extra `language` is not installed.
        WeightsError: there is no such file, or it cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise WeightsError(
            f"expected a GGUF file or a folder of a language model at {path}, got nothing there"
        )
    try:
        import transformers
    except ImportError:
        raise MissingExtraError("a language model needs transformers: pip install 'mien[language]'") from None
    where: dict[str, Any] = {"local_files_only": True}
    if path.is_file():
        where["gguf_file"] = path.name
    folder = str(path.parent if path.is_file() else path)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **where)
        llm: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **where)
    except ImportError as error:  # gguf and accelerate are asked for by transformers when they are needed
        raise MissingExtraError(f"{error}: pip install 'mien[language]'") from error
    except (OSError, ValueError) as error:
        if "pip install" in str(error):
            raise MissingExtraError(f"{error}: pip install 'mien[language]'") from error
        raise WeightsError(
            f"expected a language model that transformers can read in {path}, got: {error}"
        ) from error
    return llm.requires_grad_(False).eval(), words_of(tokenizer)


def words_of(tokenizer: Any) -> Words:
    """The words of a tokenizer of transformers."""
    begin = tokenizer("").input_ids
    return Words(
        encode=lambda text: list(tokenizer(text, add_special_tokens=False).input_ids),
        decode=lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True)),
        end=int(tokenizer.eos_token_id),
        begin=tuple(begin),
    )


@torch.no_grad()
def word_embeddings(llm: nn.Module, words: Words, named: Sequence[str]) -> Tensor:
    """(K, D): of each word, the mean of its tokens' input embeddings; the word stands as in a sentence."""
    table = llm.get_input_embeddings()  # type: ignore[operator]
    return torch.stack([table(torch.tensor(words.encode(f" {name}"))).mean(0) for name in named])
