from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from mien.datasets.protocol import load_protocol  # noqa: E402
from mien.engine.optim import optimiser  # noqa: E402
from mien.engine.recipe import RECIPES  # noqa: E402
from mien.engine.views import network_input  # noqa: E402
from mien.errors import OptionError, ShapeError, WeightsError  # noqa: E402
from mien.methods.dynamic.clip_caer import RAER, ClipCaer, TemporalNet, from_authors  # noqa: E402
from mien.methods.method import METHODS, create  # noqa: E402
from mien.methods.task import Batch, Task  # noqa: E402
from mien.nn.clip import ClipSizes  # noqa: E402

SIZES = ClipSizes(image=32, patch=16, width=64, depth=1, text_width=64, text_depth=1, out=64)
SENTENCES = [[320, 1710], [320, 4932, 267], [5]]


def network(views: int = 2) -> ClipCaer:
    torch.manual_seed(0)
    return ClipCaer(SENTENCES, views, frames=4, sizes=SIZES).eval()


def clips(count: int, views: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3 * views, 4, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_sizes_are_those_of_the_paper() -> None:
    with torch.device("meta"):
        whole = create("clip_caer")

    def count(part: str) -> int:
        return sum(
            p.numel() for name, p in whole.named_parameters() if name.startswith(part) and p.requires_grad
        )

    assert count("vision.") == 87_849_216 and count("over_time.0.") == count("over_time.1.") == 2_110_464
    assert count("fuse.") == 524_800 and count("prompts.") == 5 * 8 * 512 and count("text.") == 0
    assert (
        METHODS["clip_caer"].labels
        == RAER
        == ("neutrality", "enjoyment", "confusion", "fatigue", "distraction")
    )


def test_logits_are_cosines_over_a_hundredth() -> None:
    net = network()
    with torch.no_grad():
        found, features, sentences = net(clips(2)), net.features(clips(2)), net.sentences()
    assert found.shape == (2, 3) and found.abs().max() <= 100 + 1e-3
    for part in (features, sentences):
        torch.testing.assert_close(part.norm(dim=1), torch.ones(len(part)))
    torch.testing.assert_close(found, 100 * features @ sentences.T)


def test_the_text_tower_alone_is_frozen() -> None:
    net = network().train()
    Task(net).loss(Batch(clips(3), torch.eye(3))).backward()
    for name, parameter in net.named_parameters():
        assert parameter.requires_grad != name.startswith("text."), name
        assert (parameter.grad is not None and bool(parameter.grad.any())) == parameter.requires_grad, name


def test_each_view_has_its_own_way_through_time() -> None:
    net = network()
    face, context = clips(1).split(3, 1)
    with torch.no_grad():
        both = net(torch.cat([face, context], 1))
        assert not torch.allclose(net(torch.cat([context, face], 1)), both)
        assert not torch.allclose(net(torch.cat([face, face], 1)), both)
        assert not torch.allclose(net(clips(1).flip(2)), both)  # and the order of frames counts
    with pytest.raises(ShapeError, match=r"expected faces \(B, 6, 4, 32, 32\)"):
        net(face)


def test_the_face_alone_has_no_layer_to_fuse() -> None:
    net = network(1)
    assert not any(name.startswith(("fuse.", "over_time.1.")) for name, _ in net.named_parameters())
    with torch.no_grad():
        frames = torch.stack([net.vision(clips(1, 1)[:, :, frame]) for frame in range(4)], 1)
        wanted = torch.nn.functional.normalize(net.over_time[0](frames), dim=1)
        torch.testing.assert_close(net.features(clips(1, 1)), wanted, rtol=1e-4, atol=1e-5)


def test_time_is_a_transformer_of_torch() -> None:
    torch.manual_seed(0)
    net, x = TemporalNet(4, 128).eval(), torch.randn(2, 4, 128)
    layer = net.layers[0]
    reference = torch.nn.TransformerEncoderLayer(
        128,
        2,
        256,
        0.0,
        lambda v: torch.nn.functional.gelu(v, approximate="tanh"),
        batch_first=True,
        norm_first=True,
    ).eval()
    with torch.no_grad():
        reference.self_attn.in_proj_weight.copy_(layer.qkv.weight)
        reference.self_attn.in_proj_bias.zero_()
        for theirs, own in (
            (reference.self_attn.out_proj, layer.proj),
            (reference.linear1, layer.mlp[0]),
            (reference.linear2, layer.mlp[3]),
        ):
            theirs.load_state_dict(own.state_dict())
        tokens = torch.cat([net.class_token.expand(2, -1, -1), x], 1) + net.places
        torch.testing.assert_close(net(x), reference(tokens)[:, 0], rtol=1e-4, atol=1e-4)


def authors(net: ClipCaer) -> dict[str, torch.Tensor]:
    """A checkpoint by the authors' names, made of ours by names that are written out here."""
    block = {
        "norm1": "ln_1", "norm2": "ln_2", "qkv.weight": "attn.in_proj_weight", "qkv.bias": "attn.in_proj_bias",
        "proj": "attn.out_proj", "wide": "mlp.c_fc", "narrow": "mlp.c_proj",
    }  # fmt: skip
    towers = {
        "vision": {
            "patch": "conv1", "class_token": "class_embedding", "places": "positional_embedding",
            "first_norm": "ln_pre", "last_norm": "ln_post", "project": "proj",
        },
        "text": {
            "words": "token_embedding", "places": "positional_embedding", "last_norm": "ln_final",
            "project": "text_projection",
        },
    }  # fmt: skip
    layer = {
        "norm1": "0.fn.norm", "qkv": "0.fn.fn.to_qkv", "proj": "0.fn.fn.to_out.0", "norm2": "1.fn.norm",
        "mlp": "1.fn.fn.net",
    }  # fmt: skip
    names = {"fuse": "project_fc", "prompts.context": "prompt_learner.ctx"}
    for tower, parts in towers.items():
        before = {"vision": "visual.", "text": ""}[tower]
        own = {**parts, **{f"blocks.0.{a}": f"transformer.resblocks.0.{b}" for a, b in block.items()}}
        names |= {f"{tower}.{a}": f"clip_model_.{before}{b}" for a, b in own.items()}
    for index, theirs in enumerate(("temporal_net", "temporal_net_body")):
        names |= {f"over_time.{index}.class_token": f"{theirs}.cls_token"}
        names |= {f"over_time.{index}.places": f"{theirs}.pos_embedding"}
        names |= {
            f"over_time.{index}.layers.0.{a}": f"{theirs}.temporal_transformer.layers.0.{b}"
            for a, b in layer.items()
        }
    state = {}
    for name, value in net.state_dict().items():
        if name != "prompts.tokens":
            begin = max((own for own in names if name.startswith(own)), key=len)
            state[names[begin] + name[len(begin) :]] = value
    state |= {
        name.replace("clip_model_.visual.", "image_encoder."): value
        for name, value in state.items()
        if name.startswith("clip_model_.visual.")
    }
    tokens = torch.zeros(3, 77 - 9, dtype=torch.int64)
    for row, sentence in enumerate(SENTENCES):
        tokens[row, : len(sentence) + 1] = torch.tensor([*sentence, 49407])
    embedded = net.text.words.weight[tokens]
    return state | {"prompt_learner.token_suffix": embedded, "prompt_learner.token_prefix": embedded[:, :1]}


def test_the_authors_names_and_sentences() -> None:
    source = network()
    torch.manual_seed(1)
    other = ClipCaer([[9], [9], [9]], 2, frames=4, sizes=SIZES).eval()
    from_authors(other, {f"module.{name}": value for name, value in authors(source).items()})
    assert torch.equal(other.prompts.tokens, source.prompts.tokens)
    with torch.no_grad():
        torch.testing.assert_close(other(clips(2)), source(clips(2)))
    state = authors(source)
    state["prompt_learner.token_suffix"] = state["prompt_learner.token_suffix"] + 1
    with pytest.raises(WeightsError, match="expected embedded words of the checkpoint's own table"):
        from_authors(other, state)
    del state["prompt_learner.token_suffix"]
    with pytest.raises(WeightsError, match=r"got none called 'prompt_learner\.token_suffix'"):
        from_authors(other, state)


def test_the_engine_refuses_views_that_it_does_not_make() -> None:
    with pytest.raises(OptionError, match="expected a network of one view, 3 channels, got one of 6"):
        network_input(torch.zeros(1, 3, 16, 224, 224), METHODS["clip_caer"].preprocess)


def test_the_recipes_sentences_are_of_their_protocols_classes() -> None:
    for protocol in ("dfew", "ferv39k", "mafw"):
        recipe = RECIPES[f"clip_caer_face_{protocol}"]
        assert recipe.options["prompts"] == list(load_protocol(recipe.protocol).labels)


def test_each_part_has_the_authors_learning_rate() -> None:
    net = network(1)
    rate = {
        id(p): group["lr"]
        for group in optimiser(net, RECIPES["clip_caer_face_dfew"].optim).param_groups
        for p in group["params"]
    }
    for name, parameter in net.named_parameters():
        wanted = {"vision": 1e-5, "prompts": 1e-3, "over_time": 1e-2}.get(name.split(".")[0])
        assert rate.get(id(parameter)) == (None if wanted is None else pytest.approx(wanted)), name
