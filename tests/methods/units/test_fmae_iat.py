from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from safetensors.torch import save_file  # noqa: E402

from mien.engine.checkpoint import load_start  # noqa: E402
from mien.engine.optim import optimiser  # noqa: E402
from mien.engine.recipe import Optim  # noqa: E402
from mien.errors import CheckpointError, OptionError, ShapeError, TrainingError  # noqa: E402
from mien.methods.method import METHODS, create  # noqa: E402
from mien.methods.task import Batch  # noqa: E402
from mien.methods.units.fmae_iat import (  # noqa: E402
    FmaeIat,
    IatTask,
    MaskedAutoencoder,
    identity_loss,
    patches_of,
    places,
    pretrain,
    reverse_gradient,
)

SMALL = {"dim": 32, "depth": 2, "heads": 2}


def noise(*shape: int, seed: int = 0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def adversary(strength: float) -> FmaeIat:
    torch.manual_seed(0)
    network = FmaeIat(4, **SMALL, people=3 if strength else 0, strength=strength, drop_path=0.0)
    for head in (network.head, network.identity):
        if head is not None:
            torch.nn.init.normal_(head.weight, std=0.5, generator=torch.Generator().manual_seed(1))
    return network.train()


def autoencoder() -> MaskedAutoencoder:
    torch.manual_seed(0)
    return MaskedAutoencoder(**SMALL, decoder=(16, 1, 2))


BATCH = Batch(
    noise(2, 3, 224, 224),
    torch.zeros(2, 4),
    {"action_units": torch.tensor([[1.0, 0, 1, 0], [0, 0, 1, 1]]), "identity": torch.tensor([2, 0])},
)


@pytest.mark.parametrize("name", ["fmae_iat_s", "fmae_iat_b", "fmae_iat_l"])
def test_parameters_without_memory(name: str) -> None:
    with torch.device("meta"):
        network = create(name)
    counted = sum(p.numel() for part, p in network.named_parameters() if not part.startswith("head."))
    assert counted == pytest.approx(METHODS[name].counts.parameters, rel=0.01)


def test_the_gradient_is_reversed_and_the_values_are_not() -> None:
    x = noise(3, 4).requires_grad_()
    y = reverse_gradient(x, 0.7)
    assert torch.equal(y, x)
    weight = noise(3, 4, seed=1)
    (y * weight).sum().backward()
    torch.testing.assert_close(x.grad, -0.7 * weight)


def test_a_quarter_of_the_patches_is_visible() -> None:
    with torch.no_grad():
        _, masked = autoencoder()(noise(2, 3, 224, 224))
    assert masked.shape == (2, 196) and masked.sum(1).tolist() == [147, 147]


def test_the_loss_looks_at_masked_patches_alone() -> None:
    network, kept = autoencoder(), []
    network.pixels.register_forward_hook(lambda *call: (call[2].retain_grad(), kept.append(call[2]))[0])
    loss, masked = network(noise(1, 3, 224, 224))
    loss.backward()
    moved = kept[0].grad[0, 1:].abs().sum(1) > 0  # without the class token
    assert torch.equal(moved, masked[0])


def test_the_encoder_sees_visible_patches_alone() -> None:
    network = autoencoder().eval()
    order = torch.arange(196)[None]
    faces = noise(1, 3, 224, 224)
    changed = faces.clone()
    changed[:, :, 200:] += 5  # the last rows of patches, which are masked
    with torch.no_grad():
        first, second = (network.encoder(x, order[:, :49]) for x in (faces, changed))
        whole = network.encoder(faces)
    assert torch.equal(first, second) and first.shape == (1, 50, 32) and whole.shape == (1, 197, 32)


def test_patches_and_places_are_row_by_row() -> None:
    faces = torch.arange(3 * 224 * 224, dtype=torch.float32).reshape(1, 3, 224, 224)
    assert torch.equal(patches_of(faces)[0, 15].reshape(3, 16, 16), faces[0, :, 16:32, 16:32])
    found = places(32)
    assert found.shape == (196, 32) and len({tuple(row) for row in found.round(decimals=4).tolist()}) == 196
    torch.testing.assert_close(found[0, 16:], found[1, 16:])  # the first half is x, the second y


def test_pre_training_learns_and_its_encoder_starts_a_network(tmp_path: Path) -> None:
    network = autoencoder()
    stripes = torch.sin(torch.arange(224) / 9)[None, None, None] + torch.zeros(4, 3, 224, 224)
    losses = pretrain(network, [stripes] * 20, 20, warmup=2, base_lr=5e-3)
    assert losses[-1] < 0.9 * losses[0]
    save_file(network.state_dict(), tmp_path / "auto.safetensors")
    fresh = FmaeIat(4, **SMALL)
    done = load_start(fresh, tmp_path / "auto.safetensors")
    assert torch.equal(fresh.encoder.patch.weight, network.encoder.patch.weight)
    assert set(done["fresh"]) == {"pooled_norm.weight", "pooled_norm.bias", "head.weight", "head.bias"}
    assert not [name for name in done["unused"] if name.startswith("encoder.")]
    with pytest.raises(CheckpointError, match=r"expected tensors of FmaeIat .* of shape"):
        load_start(FmaeIat(4, 64, 2, 2), tmp_path / "auto.safetensors")
    with pytest.raises(TrainingError, match="expected 3 batches of faces, got 1"):
        pretrain(network, [stripes], 3, warmup=1)


def test_the_rate_falls_from_layer_to_layer() -> None:
    network = adversary(0.5)
    groups = optimiser(network, Optim(lr=2.0, layer_decay=0.65)).param_groups
    scale = {id(p): group["scale"] for group in groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        layer = {"encoder.patch": 0, "encoder.class_token": 0, "encoder.blocks.0": 1, "encoder.blocks.1": 2}
        known = next((number for part, number in layer.items() if name.startswith(part)), 3)
        assert scale[id(parameter)] == pytest.approx(0.65 ** (3 - known)), name
    assert len(scale) == len(list(network.parameters()))
    with pytest.raises(OptionError, match="expected a network with `layers` and `layer_of`"):
        optimiser(torch.nn.Linear(2, 2), Optim(layer_decay=0.5))


def gradients(strength: float) -> dict[str, torch.Tensor]:
    network = adversary(strength)
    IatTask(network).loss(BATCH).backward()
    return {name: p.grad.clone() for name, p in network.named_parameters()}


def test_a_tiny_strength_leaves_the_encoder_to_the_units_and_teaches_the_identity_head() -> None:
    without, tiny, strong = gradients(0.0), gradients(1e-9), gradients(3.0)
    for name, gradient in without.items():
        torch.testing.assert_close(tiny[name], gradient, rtol=1e-4, atol=1e-8)
    for name in ("identity.weight", "identity.bias"):
        torch.testing.assert_close(tiny[name], strong[name])
        assert tiny[name].abs().sum() > 0
    assert not torch.allclose(strong["encoder.patch.weight"], tiny["encoder.patch.weight"], rtol=1e-2)


def test_the_class_token_of_the_last_layer_is_not_looked_at() -> None:
    network = adversary(0.0).eval()

    def changed(*call: object) -> torch.Tensor:
        tokens = call[2].clone()
        tokens[:, 0] = 99.0
        return tokens

    with torch.no_grad():
        before = network.features(BATCH.images)
        network.encoder.register_forward_hook(changed)
        assert torch.equal(network.features(BATCH.images), before)


def test_the_identity_head_is_dropped_when_it_answers() -> None:
    network = adversary(1.0).eval()
    with torch.no_grad():
        assert set(network(BATCH.images)) == {"action_units"}
        answer = IatTask(network).answer(BATCH.images)
    assert answer.shape == (2, 4) and answer.min() > 0 and answer.max() < 1


def test_identity_is_one_binary_question_a_person() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.3]])
    alone = torch.nn.functional.binary_cross_entropy_with_logits(logits[:1], torch.tensor([[0.0, 1.0]]))
    assert identity_loss(logits, torch.tensor([1, -1])).item() == pytest.approx(alone.item())
    with pytest.raises(ShapeError, match="expected people numbered under 2, got 2"):
        identity_loss(logits, torch.tensor([2, 0]))


def test_strength_and_people_go_together() -> None:
    for options in ({"strength": 1.0}, {"people": 3}, {"people": 3, "strength": -1.0}):
        with pytest.raises(OptionError, match="expected a strength over 0 and the number of people"):
            FmaeIat(4, **SMALL, **options)
