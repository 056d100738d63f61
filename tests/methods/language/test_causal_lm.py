from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from mien.errors import MissingExtraError, WeightsError  # noqa: E402
from mien.methods.language.causal_lm import Words, load_llm, word_embeddings  # noqa: E402


def test_what_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="got nothing there"):
        load_llm(tmp_path / "absent.gguf")


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"mien\[language\]"):
        load_llm(tmp_path)


def test_a_folder_that_transformers_saved_is_read_and_others_are_refused(tmp_path: Path) -> None:
    transformers = pytest.importorskip(
        "transformers", reason="needs a language model: pip install 'mien[language]'", exc_type=ImportError
    )
    from tokenizers import Tokenizer, models, pre_tokenizers

    with pytest.raises(WeightsError, match="expected a language model that transformers can read"):
        load_llm(tmp_path)
    torch.manual_seed(0)
    names = {"<s>": 0, "</s>": 1, "happy": 2, "sad": 3}
    tokenizer = Tokenizer(models.WordLevel(names, unk_token="<s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>").save_pretrained(
        tmp_path
    )
    config = transformers.LlamaConfig(
        vocab_size=4, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    saved = transformers.AutoModelForCausalLM.from_config(config)
    saved.save_pretrained(tmp_path)
    llm, words = load_llm(tmp_path)
    assert words.encode(" sad happy") == [3, 2] and words.decode([2, 3, 1]) == "happy sad" and words.end == 1
    assert not any(parameter.requires_grad for parameter in llm.parameters())
    for name, value in saved.state_dict().items():
        assert torch.equal(value, llm.state_dict()[name])


def test_a_words_embedding_is_the_mean_of_its_tokens() -> None:
    table = torch.nn.Embedding(256, 3)
    table.get_input_embeddings = lambda: table  # type: ignore[attr-defined]
    bytes_as_words = Words(encode=lambda text: list(text.encode()), decode=str, end=0)
    found = word_embeddings(table, bytes_as_words, ("a", "bc"))
    torch.testing.assert_close(found[0], table.weight[[32, 97]].mean(0))
    torch.testing.assert_close(found[1], table.weight[[32, 98, 99]].mean(0))
