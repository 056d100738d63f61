from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from torch import Tensor, nn  # noqa: E402

from mien.errors import WeightsError  # noqa: E402
from mien.nn.clip import ClipSizes, TextTower, VisionTower, from_openai  # noqa: E402

SMALL = ClipSizes(
    image=32, patch=16, width=128, depth=2, text_width=64, text_depth=1, out=24, words=40, context=9
)


class Reference(nn.Module):
    """The blocks by torch's own attention, under the names of openai/CLIP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, width // 64, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        wide = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](wide / (1 + torch.exp(-1.702 * wide)))


def authors(sizes: ClipSizes) -> dict[str, Tensor]:
    """Random tensors by the names of openai/CLIP."""
    torch.manual_seed(3)
    parts: dict[str, Tensor] = {
        "logit_scale": torch.tensor(4.6),
        "context_length": torch.tensor(sizes.context),
    }
    for prefix, width, depth in (
        ("visual.", sizes.width, sizes.depth),
        ("", sizes.text_width, sizes.text_depth),
    ):
        for index in range(depth):
            state = Reference(width).state_dict()
            parts |= {f"{prefix}transformer.resblocks.{index}.{name}": value for name, value in state.items()}
    for name, shape in {
        "visual.conv1.weight": (sizes.width, 3, sizes.patch, sizes.patch),
        "visual.class_embedding": (sizes.width,),
        "visual.positional_embedding": (sizes.patches + 1, sizes.width),
        "visual.proj": (sizes.width, sizes.out),
        "token_embedding.weight": (sizes.words, sizes.text_width),
        "positional_embedding": (sizes.context, sizes.text_width),
        "text_projection": (sizes.text_width, sizes.out),
        **{
            f"visual.{norm}.{part}": (sizes.width,)
            for norm in ("ln_pre", "ln_post")
            for part in ("weight", "bias")
        },
        **{f"ln_final.{part}": (sizes.text_width,) for part in ("weight", "bias")},
    }.items():
        parts[name] = torch.randn(shape)
    return parts


def blocks(
    state: dict[str, Tensor], prefix: str, width: int, depth: int, x: Tensor, mask: Tensor | None
) -> Tensor:
    for index in range(depth):
        begin = f"{prefix}transformer.resblocks.{index}."
        block = Reference(width)
        block.load_state_dict({name[len(begin) :]: v for name, v in state.items() if name.startswith(begin)})
        x = block(x, mask)
    return x


@pytest.mark.parametrize(("patch", "published"), [(32, 151_277_313), (16, 149_620_737)])
def test_parameters_are_as_many_as_published(patch: int, published: int) -> None:
    """Published with the scale of the logits, one number, which is no part of a tower."""
    with torch.device("meta"):
        towers = VisionTower(ClipSizes(patch=patch)), TextTower(ClipSizes(patch=patch))
    assert sum(p.numel() for tower in towers for p in tower.parameters()) == published - 1


@torch.no_grad()
def test_towers_with_the_authors_tensors_are_the_reference() -> None:
    state = authors(SMALL)
    vision, text = VisionTower(SMALL), TextTower(SMALL)
    from_openai(state, vision, text)

    pictures = torch.randn(2, 3, 32, 32)
    x = nn.functional.conv2d(pictures, state["visual.conv1.weight"], stride=16).flatten(2).transpose(1, 2)
    x = (
        torch.cat([state["visual.class_embedding"].expand(2, 1, -1), x], 1)
        + state["visual.positional_embedding"]
    )
    x = nn.functional.layer_norm(x, (128,), state["visual.ln_pre.weight"], state["visual.ln_pre.bias"])
    x = blocks(state, "visual.", 128, 2, x, None)
    torch.testing.assert_close(vision.tokens(pictures), x, rtol=1e-4, atol=1e-4)
    x = nn.functional.layer_norm(
        x[:, 0], (128,), state["visual.ln_post.weight"], state["visual.ln_post.bias"]
    )
    torch.testing.assert_close(vision(pictures), x @ state["visual.proj"], rtol=1e-4, atol=1e-3)

    tokens = torch.tensor([[38, 5, 6, 7, 39, 0, 0, 0, 0], [38, 9, 39, 0, 0, 0, 0, 0, 0]])
    x = state["token_embedding.weight"][tokens] + state["positional_embedding"]
    mask = torch.full((9, 9), -torch.inf).triu(1)
    x = blocks(state, "", 64, 1, x, mask)
    x = nn.functional.layer_norm(x, (64,), state["ln_final.weight"], state["ln_final.bias"])
    wanted = x[[0, 1], [4, 2]] @ state["text_projection"]
    torch.testing.assert_close(text(tokens), wanted, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(text(tokens[:, :5]), wanted, rtol=1e-4, atol=1e-3)  # fillings change nothing


def test_other_tensors_are_refused() -> None:
    state = authors(SMALL)
    del state["visual.ln_pre.bias"]
    with pytest.raises(WeightsError, match=r"(?s)expected the vision tower .* \"first_norm.bias\""):
        from_openai(state, VisionTower(SMALL), None)
