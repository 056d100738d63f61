from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from safetensors.torch import save_file  # noqa: E402

from mien.engine.checkpoint import load_start  # noqa: E402
from mien.errors import OptionError, ShapeError, TrainingError, WeightsError  # noqa: E402
from mien.methods.method import create  # noqa: E402
from mien.methods.pretrain.marlin import (  # noqa: E402
    COMPONENTS,
    EPS,
    Discriminator,
    MarlinAutoencoder,
    discriminator_loss,
    from_authors,
    generator_loss,
    pretrain,
    visible_tubelets,
)
from mien.methods.pretrain.video_mae import ClipClassifier, Encoder  # noqa: E402
from mien.transforms.face_maps import UNTOLD, parsing_map  # noqa: E402
from mien.transforms.shape68 import MEAN_FACE  # noqa: E402

GRID = (8, 14, 14)
TINY = {"dim": 16, "depth": 1, "heads": 2, "frames": 4, "size": 32}


def parsing() -> np.ndarray:
    """A face in the middle of each frame."""
    return np.stack([parsing_map(MEAN_FACE * 200 + 12, (224, 224))] * 8)


def autoencoder() -> MarlinAutoencoder:
    torch.manual_seed(0)
    return MarlinAutoencoder(**TINY, decoder=(16, 1, 2))


def waves(count: int) -> torch.Tensor:
    """Drawn clips of stripes that wander."""
    at = torch.arange(32) / 4 + torch.arange(4)[:, None, None] / 2 + torch.zeros(4, 32, 1)
    return 0.5 + 0.5 * torch.sin(at + torch.arange(count)[:, None, None, None, None] * 0.7).expand(
        count, 3, 4, 32, 32
    )


@pytest.mark.parametrize(
    ("name", "published"), [("marlin_s", 22.48), ("marlin_b", 87.43), ("marlin_l", 305.47)]
)
def test_the_published_count_holds_the_fixed_places(name: str, published: float) -> None:
    with torch.device("meta"):
        network = create(name)
    counted = sum(p.numel() for part, p in network.named_parameters() if not part.startswith("head."))
    assert round((counted + network.encoder.places.numel()) / 1e6, 2) == published


def test_the_discriminator_has_the_published_layers() -> None:
    assert sum(p.numel() for p in Discriminator().parameters()) == 1536 * 1536 + 1536 + 1536 + 1


@pytest.mark.parametrize("strategy", ["fasking", "tube", "frame", "random"])
def test_156_tubelets_are_seen(strategy: str) -> None:
    seen = visible_tubelets(
        parsing() if strategy == "fasking" else None, GRID, np.random.default_rng(0), strategy
    )
    assert seen.dtype == bool and seen.shape == (1568,) and seen.sum() == 156
    slots = seen.reshape(8, 196)
    if strategy == "tube":  # 20 places, of which 4 of 160 tubelets are hidden again
        assert slots.any(0).sum() == 20
    if strategy == "frame":
        assert sorted(slots.sum(1).tolist()) == [0] * 7 + [156]


def test_components_are_hidden_before_background_and_skin() -> None:
    """The background of this face alone is more than a tenth: no patch inside the face's parts is seen."""
    maps = parsing()
    seen = visible_tubelets(maps, GRID, np.random.default_rng(1)).reshape(8, 14, 14)
    touched = (maps == 0).reshape(8, 14, 16, 14, 16).any((2, 4))
    assert touched[0].mean() > 0.1 and not (seen & ~touched).any()


def test_a_frame_without_background_and_skin_shows_one_component_after_another() -> None:
    maps = np.full((8, 224, 224), 10, np.uint8)
    maps[:, 64:80, 64:80] = 6
    nose_first = set()
    for seed in range(6):
        order = [COMPONENTS[i] for i in np.random.default_rng(seed).permutation(5)]
        seen = visible_tubelets(maps, GRID, np.random.default_rng(seed)).reshape(8, 14, 14)
        nose_first.add(order.index((6,)) < order.index((10,)))
        assert seen.sum() == 156
        if order.index((6,)) > order.index((10,)):  # hair alone is enough
            assert not seen[:, 4, 4].any()
    assert nose_first == {True, False}


def test_a_face_that_was_not_found_is_seen_anywhere() -> None:
    maps = np.full((8, 224, 224), UNTOLD, np.uint8)
    seen = visible_tubelets(maps, GRID, np.random.default_rng(0)).reshape(8, 196)
    assert seen.sum() == 156 and seen.any(1).all() and seen.any(0).sum() > 60


def test_masks_that_cannot_be_made_are_refused() -> None:
    random = np.random.default_rng(0)
    for maps, strategy in ((None, "fasking"), (parsing(), "tube"), (None, "tub")):
        with pytest.raises(OptionError, match="expected a strategy of fasking"):
            visible_tubelets(maps, GRID, random, strategy)
    with pytest.raises(ShapeError, match=r"expected a parsing \(8, 224, 224\)"):
        visible_tubelets(parsing()[:4], GRID, random)
    with pytest.raises(ShapeError, match=r"expected classes 0 to 10 in slot 0, or 255 all over, got \[42\]"):
        visible_tubelets(np.full((8, 224, 224), 42, np.uint8), GRID, random)


def test_losses_in_closed_form() -> None:
    def judge(x: torch.Tensor) -> torch.Tensor:
        return 2 * x.mean(2, keepdim=True)

    said = torch.full((1, 3, 4), 0.5, requires_grad=True)
    real = torch.full((1, 3, 4), 0.25)
    assert discriminator_loss(judge, said, real).item() == pytest.approx(1.0 - 0.5)
    loss, error = generator_loss(judge, said, real, 0.01)
    assert error.item() == pytest.approx(0.0625) and loss.item() == pytest.approx(0.0625 - 0.01)
    loss.backward()
    torch.testing.assert_close(said.grad, torch.full((1, 3, 4), (2 * 0.25 - 0.01 * 2) / 12))


def test_the_discriminators_step_leaves_the_autoencoder_alone() -> None:
    network, judge, clips = autoencoder(), Discriminator(8), waves(2)
    visible = torch.arange(8).lt(2).expand(2, 8)
    discriminator_loss(judge, network(clips, visible), torch.zeros(2, 6, 1536)).backward()
    assert all(p.grad is None for p in network.parameters())
    assert all(p.grad is not None for p in judge.parameters())
    generator_loss(judge, network(clips, visible), torch.zeros(2, 6, 1536))[0].backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_pre_training_lowers_the_error_and_starts_a_network(tmp_path: Path) -> None:
    network, clips = autoencoder(), waves(4)
    random = np.random.default_rng(0)
    masks = [
        torch.from_numpy(np.stack([visible_tubelets(None, (2, 2, 2), random, "random", 0.75) for _ in clips]))
        for _ in range(60)
    ]
    errors = pretrain(
        network, Discriminator(16), ((clips, mask) for mask in masks), 60, warmup=3, base_lr=4e-2
    )
    assert np.mean(errors[-5:]) < 0.6 * errors[0]
    save_file(network.state_dict(), tmp_path / "auto.safetensors")
    fresh = ClipClassifier(4, 16, 1, 2, 4, 32, EPS)
    done = load_start(fresh, tmp_path / "auto.safetensors")
    assert done["fresh"] == ["head.bias", "head.weight"]
    assert torch.equal(fresh.encoder.patch.weight, network.encoder.patch.weight)
    with pytest.raises(TrainingError, match="expected 3 batches of clips, got 1"):
        pretrain(network, Discriminator(16), [(clips, masks[0])], 3, warmup=1)


def authors(network: MarlinAutoencoder) -> dict[str, torch.Tensor]:
    """A checkpoint by the authors' names, made of ours by names that are written out here."""
    block = {
        "norm1": "norm1", "norm2": "norm2", "qkv": "attn.qkv", "proj": "attn.proj", "q_bias": "attn.q_bias",
        "v_bias": "attn.v_bias", "mlp.0": "mlp.layers.0.linear", "mlp.2": "mlp.layers.1.linear",
    }  # fmt: skip
    whole = {
        "encoder.patch": "encoder.patch_embedding.projection", "norm": "encoder.norm", "narrow": "enc_dec_proj",
        "decoder.mask_token": "decoder.mask_token", "decoder.norm": "decoder.norm", "decoder.say": "decoder.head",
    }  # fmt: skip
    for part in ("encoder", "decoder"):
        whole |= {f"{part}.blocks.0.{own}": f"{part}.blocks.0.{theirs}" for own, theirs in block.items()}
    state = {}
    for name, value in network.state_dict().items():
        begin = max((own for own in whole if name.startswith(own)), key=len)
        state[whole[begin] + name[len(begin) :]] = value
    state["encoder.pos_embedding.emb"] = network.encoder.places[None]
    return state


def test_the_authors_names() -> None:
    source = autoencoder()
    state = authors(source)
    torch.manual_seed(1)
    other = MarlinAutoencoder(**TINY, decoder=(16, 1, 2))
    from_authors(other, {**state, "discriminator.layers.0.linear.bias": torch.zeros(3)})
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in other.state_dict().items())
    network = ClipClassifier(4, 16, 1, 2, 4, 32, EPS)
    head = network.head.weight.clone()
    from_authors(network, state)
    assert torch.equal(network.head.weight, head) and torch.equal(network.norm.weight, source.norm.weight)
    assert isinstance(network.encoder, Encoder) and torch.equal(
        network.encoder.patch.bias, source.encoder.patch.bias
    )
    del state["encoder.blocks.0.attn.q_bias"]
    with pytest.raises(WeightsError, match=r"(?s)names of ControlNet/MARLIN, got others.*q_bias"):
        from_authors(network, state)
