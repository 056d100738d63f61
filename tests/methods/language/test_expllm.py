from __future__ import annotations

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from mien.errors import OptionError, ShapeError, WeightsError  # noqa: E402
from mien.methods.language.causal_lm import LoRALinear, Words, add_lora, trained_tensors  # noqa: E402
from mien.methods.language.exp_cot import Description, Record  # noqa: E402
from mien.methods.language.expllm import (  # noqa: E402
    IGNORED,
    MARK,
    PatchTower,
    Sizes,
    answer,
    around,
    expllm,
    load_dinov2,
    projector,
    prompt,
    tasks_of,
    texts,
)

LETTERS = Words(
    encode=lambda text: [3 + byte for byte in text.encode()],
    decode=lambda ids: bytes(id - 3 for id in ids if id >= 3).decode(),
    end=2,
    begin=(1,),
)
"""Bytes as words, 259 of them."""

SMALL = Sizes(size_px=28, patch_px=14, wide=16, depth=2, heads=2, positions=3, llm_wide=24, rank=2)
TOLD = Record("a", "happy", {12: 3.0}, Description("AU12 is marked.", "It fits.", "It is happy."), "template")
BARE = Record("b", "sad", {}, None, None)


class RunningMean(nn.Module):
    """What `ExpLLM` wants of a causal language model, as small as can be: a mean over what came before."""

    def __init__(self, wide: int = 24) -> None:
        super().__init__()
        self.table, self.q_proj = nn.Embedding(259, wide), nn.Linear(wide, wide)
        self.head = nn.Linear(wide, 259, bias=False)

    def get_input_embeddings(self) -> nn.Module:
        return self.table

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def base_model(self, inputs_embeds, attention_mask, use_cache) -> SimpleNamespace:
        told = attention_mask[..., None] * inputs_embeds
        return SimpleNamespace(
            last_hidden_state=self.q_proj(told.cumsum(1)) / attention_mask.cumsum(1)[..., None]
        )


def small(llm: nn.Module | None = None):
    torch.manual_seed(0)
    return expllm(llm or RunningMean(), SMALL)


def faces(count: int):
    return torch.randn(count, 3, 28, 28, generator=torch.Generator().manual_seed(3))


def test_the_published_sizes() -> None:
    counted = sum(parameter.numel() for parameter in projector(1024, 4096).parameters())
    assert counted == 4_198_400 + 16_781_312 == 20_979_712
    with torch.device("meta"):
        tower = PatchTower(Sizes())
        # DINOv2's file has 304,368,640 with its mask token of 1024, which is not here.
        assert sum(parameter.numel() for parameter in tower.parameters()) == 304_368_640 - 1024
        assert tower(torch.empty(1, 3, 224, 224)).shape == (1, 256, 1024)
        add_lora(tower, ("qkv", "proj"))
    adapted = sum(value.numel() for value in trained_tensors(tower).values())
    assert adapted == 24 * 8 * ((1024 + 3 * 1024) + (1024 + 1024))


def test_an_adapted_layer_first_changes_nothing() -> None:
    torch.manual_seed(0)
    tower = PatchTower(SMALL).eval()
    with torch.no_grad():
        before = tower(faces(2))
        assert add_lora(tower, ("qkv", "proj"), rank=2) == 4
        assert torch.equal(tower(faces(2)), before)
        for module in tower.modules():
            if isinstance(module, LoRALinear):
                module.up.weight.normal_()
        assert not torch.allclose(tower(faces(2)), before)


def test_an_adapted_layer_is_its_formula() -> None:
    layer = LoRALinear(nn.Linear(5, 4), rank=2, alpha=6, dropout=0.5).eval()
    nn.init.normal_(layer.up.weight)
    x = torch.randn(3, 5)
    expected = layer.base(x) + 6 / 2 * x @ layer.down.weight.T @ layer.up.weight.T
    torch.testing.assert_close(layer(x), expected)
    assert set(trained_tensors(layer)) == {"down.weight", "up.weight"}
    with pytest.raises(OptionError, match="expected a rank"):
        LoRALinear(nn.Linear(5, 4), rank=5)
    with pytest.raises(OptionError, match="expected linear layers called v_proj"):
        add_lora(nn.Linear(2, 2), ["v_proj"])


def test_only_adapters_and_projector_are_trained() -> None:
    network = small()
    names = set(trained_tensors(network))
    assert names and all(
        ".down." in name or ".up." in name or name.startswith("projector.") for name in names
    )
    loss = network.train().loss(texts(LETTERS, [(TOLD, "emo_analysis"), (BARE, "emo_estim")], 4), faces(2))
    loss.backward()
    with_gradient = {name for name, value in network.named_parameters() if value.grad is not None}
    assert with_gradient == names
    assert network.llm.q_proj.up.weight.grad.abs().sum() > 0
    assert network.projector[0].weight.grad.abs().sum() > 0


def test_the_text_has_the_published_layout_and_only_answer_and_end_are_learned() -> None:
    ids = prompt(LETTERS, "emo_estim", 4)
    assert ids[0] == 1 and ids.count(MARK) == 4
    first = ids.index(MARK)
    assert ids[first : first + 4] == [MARK] * 4
    assert LETTERS.decode(ids[1:first]).endswith("Image:")
    assert LETTERS.decode(ids[first + 4 :]).startswith(" TASK: Which expression")
    made = texts(LETTERS, [(TOLD, "emo_analysis"), (BARE, "emo_estim")], 4)
    for row, said in enumerate((f" {answer(TOLD, 'emo_analysis')}", " sad")):
        learned = made.targets[row][made.targets[row] != IGNORED].tolist()
        assert learned == [*LETTERS.encode(said), LETTERS.end]
        # A target stands at its own token, and the shift is the loss's.
        assert torch.equal(made.ids[row][made.targets[row] != IGNORED], torch.tensor(learned))
    assert made.told.sum(1).tolist() == [
        len(prompt(LETTERS, "emo_analysis", 4)) + len(answer(TOLD, "emo_analysis")) + 2,
        len(ids) + len(" sad") + 1,
    ]
    with pytest.raises(OptionError, match="expected a task of emo_estim"):
        prompt(LETTERS, "pose", 4)


def test_steps_are_not_taught_where_nothing_was_measured() -> None:
    assert tasks_of(BARE) == ("emo_estim",) and tasks_of(TOLD) == ("emo_estim", "emo_analysis")
    with pytest.raises(OptionError, match="expected a description of 'b'"):
        answer(BARE, "emo_analysis")


def test_marks_become_the_faces_tokens_in_order_and_words_stay() -> None:
    network = small().eval()
    ids = torch.tensor([[5, MARK, MARK, 6, MARK, MARK], [MARK, MARK, MARK, MARK, 7, 8]])
    with torch.no_grad():
        found = network.embed(ids, faces(2))
        tokens = network.projector(network.tower(faces(2)))
        torch.testing.assert_close(found[ids == MARK], tokens.reshape(8, -1))
        torch.testing.assert_close(found[ids != MARK], network.llm.table(ids[ids != MARK]))


@pytest.mark.parametrize("marks", [3, 5, 0])
def test_another_number_of_marks_is_refused(marks: int) -> None:
    with pytest.raises(ShapeError, match=rf"expected 4 image marks in each of 2 texts, got \[4, {marks}\]"):
        small().embed(torch.tensor([[MARK] * 4 + [9] * 3, [MARK] * marks + [9] * (7 - marks)]), faces(2))


def test_the_loss_is_the_mean_over_answers_and_blind_to_what_fills_up() -> None:
    network = small().eval()
    asked = [(TOLD, "emo_analysis"), (BARE, "emo_estim")]
    made = texts(LETTERS, asked, 4)
    sums, counts = 0.0, 0
    with torch.no_grad():
        for row, one in enumerate(asked):
            alone = texts(LETTERS, [one], 4)
            hidden = network.llm.base_model(
                network.embed(alone.ids, faces(2)[row : row + 1]), alone.told, False
            )
            logits = network.llm.head(hidden.last_hidden_state)[0, :-1]
            kept = alone.targets[0, 1:] != IGNORED
            sums += functional.cross_entropy(logits[kept], alone.ids[0, 1:][kept], reduction="sum").item()
            counts += int(kept.sum())
        assert network.loss(made, faces(2)).item() == pytest.approx(sums / counts, rel=1e-5)


def test_positions_are_interpolated_to_another_grid() -> None:
    """A ramp down and one across: the middle of each side's half stays on the ramp, and rows stay rows."""
    tower = PatchTower(SMALL)
    down, across = torch.meshgrid(torch.arange(3.0), torch.arange(3.0), indexing="ij")
    with torch.no_grad():
        tower.pos_embed[:, 1:] = 3.0
        tower.pos_embed[0, 1:, 0], tower.pos_embed[0, 1:, 1] = down.flatten(), across.flatten()
    assert torch.equal(tower._grid(3), tower.pos_embed[:, 1:])
    grid = tower._grid(2)[0].detach()
    low, high = grid[0, 0], grid[3, 0]
    assert low < 0.5 < 1.5 < high and low + high == pytest.approx(2, abs=1e-5)
    torch.testing.assert_close(grid[:, 0], torch.stack([low, low, high, high]))
    torch.testing.assert_close(grid[:, 1], torch.stack([low, high, low, high]))
    torch.testing.assert_close(grid[:, 2:], torch.full((4, 14), 3.0))


def test_dinov2s_file_loads_whole_or_not_at_all() -> None:
    torch.manual_seed(0)
    one, other = PatchTower(SMALL), PatchTower(SMALL)
    stored = {**one.state_dict(), "mask_token": torch.zeros(1, 16)}
    load_dinov2(other, stored)
    assert torch.equal(one.eval()(faces(1)), other.eval()(faces(1)))
    assert (
        "blocks.1.attn.qkv.weight" in stored
        and "blocks.0.mlp.fc1.bias" in stored
        and "blocks.0.ls2.gamma" in stored
    )
    del stored["norm.bias"]
    with pytest.raises(WeightsError, match="expected DINOv2"):
        load_dinov2(other, stored)


def test_a_language_model_of_another_width_is_refused() -> None:
    with pytest.raises(OptionError, match="expected a language model of width 24, got 20"):
        around(nn.Identity(), RunningMean(20), SMALL)


# With a real, if tiny, language model.


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip(
        "transformers", reason="needs a language model: pip install 'mien[language]'", exc_type=ImportError
    )


@pytest.fixture
def llama(transformers):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=259, hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, bos_token_id=1, eos_token_id=2, pad_token_id=2, tie_word_embeddings=True,
    )  # fmt: skip
    return transformers.AutoModelForCausalLM.from_config(config)


def test_vicunas_size(transformers) -> None:
    config = transformers.LlamaConfig(
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
    )
    with torch.device("meta"):
        llm = transformers.AutoModelForCausalLM.from_config(config)
        assert sum(parameter.numel() for parameter in llm.parameters()) == 6_738_415_616
        network = expllm(llm)
    adapted = {name: value for name, value in trained_tensors(network).items() if name.startswith("llm.")}
    assert sum(value.numel() for value in adapted.values()) == 32 * 4 * 8 * (4096 + 4096)


def test_it_learns_two_faces_and_says_so_every_time(llama) -> None:
    """Four faces, two labels: after some steps the greedy text concludes with the right one, and always alike."""
    network = small(llama)
    pictures = faces(4)
    told = {
        label: Record(label, label, {}, Description("So.", "And so.", f"It is {label}."), "template")
        for label in ("happy", "sad")
    }
    asked = [(told["happy" if row % 2 else "sad"], "emo_analysis") for row in range(4)]
    network.llm.requires_grad_(True)  # a language model of random weights knows no words yet
    optimiser = torch.optim.AdamW(trained_tensors(network).values(), lr=1e-2)
    network.eval()  # no dropout
    first = None
    for _ in range(150):
        optimiser.zero_grad()
        loss = network.loss(texts(LETTERS, asked, 4), pictures)
        loss.backward()
        optimiser.step()
        first = first or loss.item()
    assert loss.item() < 0.2 * first
    found = network.texts_and_labels(LETTERS, "emo_analysis", pictures, most=60)
    assert [label for _, label in found] == ["sad", "happy", "sad", "happy"]
    assert found[0][0] == "So. And so. It is sad."
    assert network.texts_and_labels(LETTERS, "emo_analysis", pictures, most=60) == found
    assert network.texts_and_labels(LETTERS, "emo_analysis", pictures[1:2], most=60) == found[1:2]
    short = network.answers(LETTERS, "emo_analysis", pictures, most=5)
    assert [len(ids) for ids in short] == [5] * 4
    custom = network.texts_and_labels(
        LETTERS, "emo_analysis", pictures[:1], read=lambda text: text[:2], most=60
    )
    assert custom[0][1] == "So"


def test_the_loss_is_the_language_models_own(llama) -> None:
    network = small(llama).eval()
    made = texts(LETTERS, [(TOLD, "emo_analysis"), (BARE, "emo_estim")], 4)
    with torch.no_grad():
        theirs = llama(
            inputs_embeds=network.embed(made.ids, faces(2)),
            attention_mask=made.told.long(),
            labels=made.targets,
        ).loss
        assert network.loss(made, faces(2)).item() == pytest.approx(theirs.item(), rel=1e-5)
