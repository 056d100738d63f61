from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from mien.errors import OptionError, ShapeError, TrainingError  # noqa: E402
from mien.methods.pretrain.video_mae import (  # noqa: E402
    Block,
    ClipClassifier,
    Decoder,
    Encoder,
    chosen,
    expect_finite,
    grid_of,
    places,
    rates,
    tubelets_of,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_clip_is_1568_tubelets_of_1536_values_in_their_order() -> None:
    assert grid_of(16, 224) == (8, 14, 14)
    clip = noise(1, 3, 4, 48, 48)
    found = tubelets_of(clip)
    assert found.shape == (1, 2 * 3 * 3, 1536)
    number = 1 * 9 + 2 * 3 + 1  # second slot, third row, second column
    assert torch.equal(found[0, number].reshape(3, 2, 16, 16), clip[0, :, 2:4, 32:48, 16:32])
    for frames, size in ((15, 224), (16, 220), (0, 224)):
        with pytest.raises(OptionError, match="expected frames a multiple of 2"):
            grid_of(frames, size)


def test_the_patch_layer_reads_tubelets_in_that_order() -> None:
    encoder = Encoder(8, 0, 2, 4, 32, 1e-6)
    clip = noise(1, 3, 4, 32, 32)
    by_hand = tubelets_of(clip) @ encoder.patch.weight.flatten(1).T + encoder.patch.bias + encoder.places
    torch.testing.assert_close(encoder(clip), by_hand, rtol=1e-4, atol=1e-4)


def test_places_alternate_sine_and_cosine() -> None:
    found = places(5, 4)
    angle = torch.tensor([3.0, 3.0, 3 / 100, 3 / 100])
    wanted = torch.stack([angle[0].sin(), angle[1].cos(), angle[2].sin(), angle[3].cos()])
    torch.testing.assert_close(found[3], wanted)


def test_attention_has_no_bias_of_keys_and_is_torchs_own() -> None:
    torch.manual_seed(0)
    block, x = Block(8, 2, 1e-5), noise(2, 5, 8)
    for bias in (block.q_bias, block.v_bias):
        torch.nn.init.normal_(bias)
    reference = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(block.qkv.weight)
        reference.in_proj_bias.copy_(torch.cat([block.q_bias, torch.zeros(8), block.v_bias]))
        reference.out_proj.weight.copy_(block.proj.weight)
        reference.out_proj.bias.copy_(block.proj.bias)
        torch.testing.assert_close(block.attend(x), reference(x, x, x)[0], rtol=1e-4, atol=1e-5)


def test_the_encoder_sees_what_is_visible_alone_and_the_decoder_says_the_rest() -> None:
    torch.manual_seed(0)
    encoder, decoder = Encoder(8, 1, 2, 4, 32, 1e-6).eval(), Decoder(8, 1, 2, 5, 8, 1e-6).eval()
    visible = torch.zeros(1, 8, dtype=torch.bool)
    visible[0, [1, 6]] = True
    clip = noise(1, 3, 4, 32, 32)
    changed = clip.clone()
    changed[:, :, :2, 16:] += 3  # tubelets 2 and 3
    with torch.no_grad():
        first, second = encoder(clip, visible), encoder(changed, visible)
        assert torch.equal(first, second) and first.shape == (1, 2, 8)
        assert not torch.equal(encoder(clip), encoder(changed))
        said = decoder(first, visible)
        assert said.shape == (1, 6, 5)
        # Of two masked places with the same token only the place differs: exchange the places, and the words follow.
        order = torch.tensor([3, 1, 2, 0, 4, 5, 6, 7])
        decoder.places = decoder.places[order]
        again = decoder(first, visible)
    torch.testing.assert_close(again[0, [2, 0]], said[0, [0, 2]], rtol=1e-4, atol=1e-5)


def test_masks_of_another_number_a_clip_are_refused() -> None:
    mask = torch.tensor([[True, False, True], [True, False, False]])
    with pytest.raises(ShapeError, match="with as many places in each clip"):
        chosen(noise(2, 3, 4), mask)
    with pytest.raises(ShapeError, match="expected a mask, bool"):
        chosen(noise(2, 3, 4), mask.long())


def test_features_are_the_normed_mean_and_a_probe_trains_its_head_alone() -> None:
    torch.manual_seed(0)
    network = ClipClassifier(3, 8, 1, 2, 4, 32, 1e-6, frozen=True)
    clip = noise(2, 3, 4, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network.features(clip), network.norm(network.encoder(clip).mean(1)))
        assert network.tokens(clip).shape == (2, 8, 8)
    assert {name for name, p in network.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}
    assert [
        network.layer_of(name) for name in ("encoder.patch.bias", "encoder.blocks.0.q_bias", "head.bias")
    ] == [0, 1, 2]


def test_the_rate_warms_up_and_falls_to_its_floor() -> None:
    found = list(rates(1002, 2, 1.0, 0.1))
    assert found[:3] == [0.5, 1.0, 1.0] and found[-1] == pytest.approx(0.1, abs=1e-4)
    assert found[502] == pytest.approx(0.55)
    with pytest.raises(TrainingError, match="expected a finite loss, got nan in step 1"):
        expect_finite(float("nan"), 0)
