from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from mien.errors import OptionError, ShapeError, WeightsError  # noqa: E402
from mien.methods.method import METHODS, create  # noqa: E402
from mien.methods.static.se_swint import SeSwinT  # noqa: E402
from mien.methods.task import Batch  # noqa: E402
from mien.methods.units.me_graphau import (  # noqa: E402
    CrossAttention,
    GatedLayer,
    MeGraphAu,
    MeGraphAuTask,
    NodeGraph,
    asymmetric_loss,
    load_trunk,
    nearest_nodes,
    pair_targets,
)
from mien.methods.units.me_graphau_trunks import ResNet, Swin  # noqa: E402

NAN = float("nan")


def noise(*shape: int, seed: int = 0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def small(stage: int, units: int = 5) -> MeGraphAu:
    torch.manual_seed(0)
    return MeGraphAu(ResNet((1, 1, 1, 1), 8), units, stage, 4)


@pytest.mark.parametrize("name", [name for name in METHODS if name.startswith("me_graphau")])
def test_parameters_without_memory(name: str) -> None:
    """On no device, so that it costs nothing; `tests/contracts` counts on the real network."""
    with torch.device("meta"):
        network = create(name)
    counts = METHODS[name].counts
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(counts.parameters, rel=0.02)


def test_the_trunks_are_the_published_ones() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in ResNet().parameters()) == 25_557_032 - 2_049_000
        assert sum(p.numel() for p in Swin().parameters()) == 28_288_354 - 769_000


@pytest.mark.parametrize("neighbours", [1, 4, 9])
def test_every_row_has_at_least_k_neighbours(neighbours: int) -> None:
    joined = nearest_nodes(noise(3, 7, 16), neighbours)
    assert (joined.sum(-1) >= min(neighbours, 7)).all()
    assert set(joined.unique().tolist()) <= {0.0, 1.0}
    assert (nearest_nodes(torch.ones(1, 7, 4), 2) == 1).all()  # ties keep more


def test_the_graph_lets_no_gradient_through() -> None:
    nodes = noise(2, 5, 8).requires_grad_()
    assert not nearest_nodes(nodes, 2).requires_grad


def test_messages_against_a_plain_loop() -> None:
    torch.manual_seed(0)
    graph = NodeGraph(6, 4, 2).eval()
    tokens = noise(1, 4, 49, 6)
    nodes = tokens.mean(2)[0]
    joined = nearest_nodes(nodes[None], 2)[0]
    degree = joined.sum(1)
    told = torch.zeros_like(nodes)
    for i in range(4):
        for j in range(4):
            told[i] += joined[i, j] / (degree[i] * degree[j]).sqrt() * graph.others(nodes)[j]
    norm = (told + graph.own(nodes)) / (1 + graph.norm.eps) ** 0.5
    torch.testing.assert_close(
        graph(tokens, tokens[:, 0])[0][0], torch.relu(nodes + norm), rtol=1e-4, atol=1e-5
    )


def test_pairs_ask_the_right_way_round() -> None:
    """Pair j N + k: the tokens of k ask, those of j answer."""
    torch.manual_seed(0)
    attention, tokens = CrossAttention(8), noise(2, 3, 5, 8)
    found = attention.between(tokens)
    assert found.shape == (2, 9, 5, 8)
    for j in range(3):
        for k in range(3):
            scores = attention.query(tokens[:, k]) @ attention.key(tokens[:, j]).transpose(1, 2) / 2
            wanted = scores.softmax(-1) @ attention.value(tokens[:, j])
            torch.testing.assert_close(found[:, 3 * j + k], wanted)


def test_gated_messages_against_a_plain_loop() -> None:
    torch.manual_seed(0)
    layer = GatedLayer(4, 3).eval()
    nodes, edges = noise(1, 3, 4), noise(1, 9, 4, seed=1)
    unit = (1 + layer.edge_norm.eps) ** 0.5
    v, e = nodes[0], edges[0].clone()
    for j in range(3):
        for k in range(3):
            at = 3 * j + k
            e[at] = e[at] + torch.relu(
                (layer.start(v[j]) + layer.end(v[k]) + layer.edge(edges[0, at])) / unit
            )
    told = torch.zeros_like(v)
    for j in range(3):
        gates = torch.sigmoid(e[3 * j : 3 * j + 3]).softmax(0)
        told[j] = sum(gates[k] * layer.others(v[k]) for k in range(3)) / 3
    wanted = torch.relu(v + (layer.own(v) + told) / unit)
    found, found_edges = layer(nodes, edges)
    torch.testing.assert_close(found_edges[0], e, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stage", [1, 2])
def test_answers_are_cosines_without_negative_numbers(stage: int) -> None:
    network = small(stage).eval()
    with torch.no_grad():
        output = network(noise(2, 3, 224, 224))
    assert output["action_units"].shape == (2, 5)
    assert output["action_units"].min() >= 0 and output["action_units"].max() <= 1
    assert ("edges" in output) == (stage == 2)
    if stage == 2:
        assert output["edges"].shape == (2, 25, 4)


def test_the_loss_is_nothing_where_the_answer_is_the_truth() -> None:
    truth = torch.tensor([[1.0, 0.0, NAN]])
    assert asymmetric_loss(torch.tensor([[1.0, 0.0, 0.4]]), truth).item() == 0


def test_easy_negatives_count_for_little() -> None:
    p = torch.tensor([[0.3, 0.9]], requires_grad=True)
    asymmetric_loss(p, torch.zeros(1, 2)).backward()
    wanted = p.detach() / (1 - p.detach()) / 2  # sg(p) / (1 - p), over the number of units
    torch.testing.assert_close(p.grad, wanted)


def test_unit_weights_and_unknown_units() -> None:
    p, truth = torch.tensor([[0.5, 0.5, 0.1]]), torch.tensor([[1.0, 1.0, NAN]])
    plain = asymmetric_loss(p, truth)
    assert asymmetric_loss(p, truth, torch.tensor([2.0, 0.0, 9.0])).item() == pytest.approx(plain.item())
    assert plain.item() == pytest.approx(0.6931, abs=1e-4)


def test_swapping_two_units_swaps_the_pair_and_its_class() -> None:
    targets = pair_targets(torch.tensor([[1.0, 0.0, 1.0, NAN]]))[0].reshape(4, 4)
    assert targets[0, 1] == 2 and targets[1, 0] == 1 and targets[0, 2] == targets[2, 0] == 3
    assert (targets[3] == -1).all() and (targets[:, 3] == -1).all()


def test_edges_teach_with_their_weight() -> None:
    network = small(2)
    images, truth = noise(2, 3, 224, 224), torch.tensor([[1.0, 0, 0, 1, NAN], [0, 1, 0, 0, 1]])
    losses = []
    network.eval()
    for weight in (0.0, 1.0):
        network.edge_weight = weight
        losses.append(MeGraphAuTask(network).loss(Batch(images, truth, {"action_units": truth})).item())
    with torch.no_grad():
        edges = network(images)["edges"].flatten(0, 1)
    pairs = pair_targets(truth).flatten()
    wanted = torch.nn.functional.cross_entropy(edges[pairs >= 0], pairs[pairs >= 0]).item()
    assert losses[1] - losses[0] == pytest.approx(wanted, rel=1e-4)


def test_stage_two_takes_what_stage_one_learned() -> None:
    first, second = small(1).state_dict(), small(2).state_dict()
    shared = first.keys() & second.keys()
    assert all(first[name].shape == second[name].shape for name in shared)
    assert {name.split(".")[0] for name in first.keys() - shared} == {"graph"}
    assert {name.split(".")[0] for name in shared} == {"trunk", "common", "blocks", "anchors"}


def test_swin_is_the_same_as_the_other_method_s() -> None:
    """Two implementations in two files, one set of weights."""
    torch.manual_seed(0)
    ours = Swin((1, 1, 2, 1), 32, 0.0).eval()
    other = SeSwinT(se=False, dim=32, depths=(1, 1, 2, 1), drop_path=0.0).eval()
    state = {name.replace(".attn.", "."): value for name, value in other.state_dict().items()}
    ours.load_state_dict({name: value for name, value in state.items() if not name.startswith("head.")})
    x = noise(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours(x).mean(1), other.features(x), rtol=1e-4, atol=1e-5)


def test_image_net_names_fit() -> None:
    network = small(1)
    names = {name.removeprefix("trunk.") for name in network.state_dict() if name.startswith("trunk.")}
    assert {"conv1.weight", "layer1.0.downsample.0.weight", "layer4.0.bn3.running_var"} <= names
    state = {name: value + 1 for name, value in network.trunk.state_dict().items()}
    load_trunk(network, {**state, "fc.weight": noise(2, 2), "fc.bias": noise(2)})
    torch.testing.assert_close(network.trunk.conv1.weight, state["conv1.weight"])
    with pytest.raises(WeightsError, match="expected the tensors of the trunk"):
        load_trunk(network, {"conv1.weight": state["conv1.weight"]})


def test_swin_names_of_the_repository_fit() -> None:
    network = MeGraphAu(Swin((2, 1, 1, 1), 32), 3, 1, 2)
    theirs = {}
    for name, value in network.trunk.state_dict().items():
        for ours, other in (
            ("patch.", "patch_embed.proj."), ("patch_norm.", "patch_embed.norm."), ("mlp.0", "mlp.fc1"),
            ("mlp.2", "mlp.fc2"), (".qkv", ".attn.qkv"), (".proj.", ".attn.proj."),
            (".bias_table", ".attn.relative_position_bias_table"),
        ):  # fmt: skip
            if not (name.startswith("patch") and ours == ".proj."):
                name = name.replace(ours, other)
        parts = name.split(".")
        if parts[0] == "stages":
            name = ".".join(["layers", parts[1], "blocks", *parts[2:]])
        elif parts[0] == "merges":
            name = ".".join(["layers", parts[1], "downsample", *parts[2:]])
        theirs[name] = value * 0
    theirs["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49)
    theirs["head.weight"] = torch.zeros(3, 3)
    load_trunk(network, theirs)
    assert not network.trunk.patch.weight.any()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(OptionError, match="expected stage 1 or 2, got 3"):
        small(3)
    with pytest.raises(ShapeError, match="expected faces"):
        small(1)(noise(1, 3, 112, 112))
