"""S4D against the facts of its repository, and its parts against plain loops."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from mien.errors import OptionError
from mien.methods.dynamic.s4d import (
    AdapterExperts,
    Block,
    S4d,
    S4dTask,
    balance_loss,
    places,
    top_gates,
    within_capacity,
)
from mien.methods.method import create
from mien.methods.task import Batch

SMALL = {"dim": 48, "depth": 3, "heads": 3, "adapters_from": 1}


@pytest.fixture(scope="module")
def network() -> S4d:
    torch.manual_seed(0)
    return create("s4d_base", size=32, frames=4, **SMALL).eval()  # type: ignore[return-value]


def adapters(capacity: float = 1.0) -> AdapterExperts:
    torch.manual_seed(1)
    made = AdapterExperts(16, 8, 4, capacity, False)
    nn.init.normal_(made.up_bias)
    return made


def test_the_base_has_as_many_parameters_as_the_repository() -> None:
    """100.5 M with 7 + 7 classes: 86.2 M of the ViT and 14.28 M of the adapters."""
    with torch.device("meta"):
        whole = create("s4d_base")
    counts = {"all": 0, "adapters": 0, "heads": 0}
    for name, parameter in whole.named_parameters():
        counts["all"] += parameter.numel()
        counts["adapters"] += parameter.numel() * (".adapters." in name)
        counts["heads"] += parameter.numel() * ("head." in name)
    assert round(counts["all"] / 1e6, 1) == 100.5
    assert round(counts["adapters"] / 1e6, 2) == 14.28
    assert round((counts["all"] - counts["adapters"] - counts["heads"]) / 1e6, 1) == 86.2


def test_tokens_of_clips_and_pictures() -> None:
    whole = create("s4d_small", depth=1, adapters_from=1)
    with torch.no_grad():
        clip, picture = (
            whole.tokens(torch.zeros(1, 3, 16, 160, 160)),
            whole.tokens(torch.zeros(1, 3, 160, 160)),
        )
    assert clip.shape == (1, 800, 384) and picture.shape == (1, 100, 384)
    bias = whole.patch_embed["proj"].bias
    torch.testing.assert_close((picture[0] - bias), places(800, 384)[:100], atol=1e-5, rtol=0)


def test_places_are_sines_and_cosines() -> None:
    found = places(10, 6)
    for place in range(10):
        for column in range(6):
            angle = torch.tensor(place / 10000 ** (2 * (column // 2) / 6))
            wanted = angle.sin() if column % 2 == 0 else angle.cos()
            assert found[place, column] == pytest.approx(wanted.item(), abs=1e-5)


def test_gates_are_two_and_sum_to_one() -> None:
    gates = top_gates(torch.randn(50, 8, generator=torch.Generator().manual_seed(0)))
    assert ((gates > 0).sum(1) == 2).all()
    torch.testing.assert_close(gates.sum(1), torch.ones(50))


def test_experts_are_what_a_loop_over_them_gives() -> None:
    made = adapters().eval()
    y = torch.randn(2, 5, 16)
    with torch.no_grad():
        found, _ = made(y)
        for b in range(2):
            for n in range(5):
                logits = made.route(y[b, n])
                best = logits.topk(2).indices
                shares, wanted = logits[best].softmax(0), torch.zeros(16)
                for share, expert in zip(shares, best.tolist(), strict=True):
                    own = slice(4 * expert, 4 * expert + 4)
                    inner = nn.functional.gelu(made.down.weight[own] @ y[b, n] + made.down.bias[own])
                    wanted += share * (made.up.weight[:, own] @ inner + made.up_bias[expert])
                torch.testing.assert_close(found[b, n], wanted, atol=1e-5, rtol=1e-4)


def test_a_full_expert_drops_later_tokens() -> None:
    gates = torch.tensor([[0.6, 0.4, 0.0], [0.7, 0.0, 0.3], [0.5, 0.5, 0.0]])
    kept = within_capacity(gates, 2)
    assert kept.tolist() == [gates[0].tolist(), gates[1].tolist(), [0.0, 0.5, 0.0]]


def test_the_capacity_of_one_clip_is_200_of_800() -> None:
    """A router that likes one expert best: 200 of the 800 tokens find room there."""
    made = adapters().train()
    seen: list[int] = []
    with torch.no_grad():
        made.route.weight.zero_(), made.noise.weight.zero_(), made.noise.bias.fill_(-50)
        made.route.bias.copy_(torch.tensor([9.0, 8.0, 0, 0, 0, 0, 0, 0]))
        made.up.weight.zero_(), made.up_bias.zero_()
        made.up_bias[0] = 1
        seen.append(int((made(torch.randn(1, 800, 16))[0][0, :, 0] > 0).sum()))
        seen.append(int((made.eval()(torch.randn(1, 800, 16))[0][0, :, 0] > 0).sum()))
    assert seen == [200, 800]


def test_experts_that_give_nothing_leave_a_plain_block() -> None:
    torch.manual_seed(0)
    block = Block(16, 2, adapters()).eval()
    nn.init.zeros_(block.adapters.up.weight), nn.init.zeros_(block.adapters.up_bias)  # type: ignore[union-attr]
    plain = copy.deepcopy(block)
    plain.adapters = None
    x = torch.randn(2, 6, 16)
    with torch.no_grad():
        torch.testing.assert_close(block(x)[0], plain(x)[0])


def test_the_balance_is_least_where_experts_share_alike() -> None:
    even = top_gates(torch.eye(8) + torch.eye(8).roll(1, 1))
    assert balance_loss(even, torch.full((8, 8), 1 / 8)).item() == pytest.approx(2.0)  # 64 x (1/4 x 1/8)
    crowded = top_gates(torch.tensor([[5.0, 4, 0, 0, 0, 0, 0, 0]]).expand(8, 8))
    assert balance_loss(crowded, crowded).item() > 4


def test_a_picture_goes_to_the_other_head(network: S4d) -> None:
    picture, clip = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        features = network.features(picture)[0]
        torch.testing.assert_close(network(picture), network.image_head(features))
        torch.testing.assert_close(network(clip), network.head(network.features(clip)[0]))


@pytest.mark.parametrize("shape", [(2, 3, 4, 32, 32), (2, 3, 32, 32)], ids=["clips", "pictures"])
def test_both_kinds_teach_every_parameter(network: S4d, shape: tuple[int, ...]) -> None:
    trained = copy.deepcopy(network).train()
    torch.manual_seed(2)
    targets: Tensor = torch.eye(7)[:2]
    loss = S4dTask(trained).loss(Batch(torch.randn(shape), targets))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(parameter.grad is not None for parameter in trained.parameters())
    idle = trained.image_head if len(shape) == 5 else trained.head
    assert not idle.weight.grad.any() and trained.blocks[0].mlp["fc1"].weight.grad.any()


def test_the_router_is_noisy_only_while_it_learns(network: S4d) -> None:
    clip = torch.randn(1, 3, 4, 32, 32)
    trained = copy.deepcopy(network).train()
    with torch.no_grad():
        assert torch.equal(network(clip), network(clip))
        assert not torch.equal(trained(clip)["expression"], trained(clip)["expression"])


def test_layers_for_their_own_rates(network: S4d) -> None:
    layers = {name: network.layer_of(name) for name, _ in network.named_parameters()}
    assert layers["patch_embed.proj.weight"] == 0 and layers["blocks.2.norm1.weight"] == 3
    assert layers["head.weight"] == layers["fc_norm.bias"] == network.layers + 1 == 4


def test_what_tubelets_do_not_fill_is_refused() -> None:
    for size, frames in ((40, 16), (160, 15)):
        with pytest.raises(OptionError, match="expected a size in steps of 16 and frames in steps of 2"):
            create("s4d_base", size=size, frames=frames, **SMALL)
