"""Every registered method, automatically: a new one is tested the day it is registered."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mien.datasets.protocol import TASKS
from mien.errors import ShapeError
from mien.labels.action_units import unit_numbers
from mien.methods.method import METHODS, Method, create, reset_head
from mien.methods.task import Batch

NAMES = list(METHODS)
HUGE, LONG = 50_000_000, 5_000_000_000
"""Parameters, and operations a clip, from which a network is too slow for a default run of the tests."""
VAST = 20_000_000_000
"""Operations from which a network is tested in its small form, and counted without memory."""
CHANNELS = {"RGB": 3, "BGR": 3, "GREY": 1, "BLENDSHAPES": 52, "UVS": 3, "MOTION10": 50}


def form(method: Method) -> Mapping[str, Any]:
    """Options of the network that is tested: the small ones of one that is too slow for any run."""
    return method.quick_options if (method.counts.macs or 0) >= VAST else {}


def is_huge(method: Method) -> bool:
    long = (method.preprocess.frames is not None or method.preprocess.of_motion) and (
        method.counts.macs or 0
    ) > LONG
    return not form(method) and (long or (method.counts.parameters or 0) > HUGE)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.huge] * is_huge(METHODS[name])) for name in NAMES],
)
def method(request: pytest.FixtureRequest) -> Method:
    return METHODS[request.param]


@pytest.fixture(scope="module")
def network(method: Method) -> nn.Module:
    """One network in evaluation mode; tests that train take a copy."""
    torch.manual_seed(0)
    return create(method.name, **form(method)).eval()


@pytest.fixture(scope="module")
def counted(method: Method, network: nn.Module) -> tuple[nn.Module, Tensor]:
    """The network in its own size, and a batch of one; a vast one has shapes, but no numbers."""
    if not form(method):
        return network, faces(method, 1)
    with torch.device("meta"):
        return create(method.name).eval(), torch.zeros(1, *method.preprocess.shape)


def faces(method: Method, count: int, seed: int = 0) -> Tensor:
    """Random normalised faces, clips of them, or blendshapes, as the contract wants them."""
    shape = method.preprocess.shape
    drawn = torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))
    if method.preprocess.of_mesh:
        return (drawn - torch.tensor(method.preprocess.mean)) / torch.tensor(method.preprocess.std)
    pixels, one = 255 * drawn, (-1, *[1] * (len(shape) - 1))
    return (pixels - torch.tensor(method.preprocess.mean).view(one)) / torch.tensor(
        method.preprocess.std
    ).view(one)


def batch(method: Method, count: int, seed: int = 0) -> Batch:
    return labelled(method, faces(method, count, seed), len(method.labels))


def labelled(method: Method, images: Tensor, labels: int) -> Batch:
    """Each face with one of the classes in turn, or with one action unit in turn and no other."""
    one = nn.functional.one_hot(torch.arange(len(images)) % labels, labels).float()
    if method.task.answers == "action_units":
        return Batch(images, torch.zeros_like(one), {"action_units": one})
    return Batch(images, one)


def test_facts_are_whole(method: Method) -> None:
    assert method.paper.title and method.paper.authors and method.paper.source
    assert 1990 < method.paper.year < 2100
    assert len(method.preprocess.mean) == len(method.preprocess.std)
    count, own = len(method.preprocess.mean), CHANNELS[method.preprocess.channel_order]
    views = 1 if method.preprocess.frames is None or own != 3 else count // 3
    assert count == own * views and views > 0
    assert method.preprocess.of_mesh == (method.preprocess.channel_order == "BLENDSHAPES")
    assert method.preprocess.of_motion == (method.preprocess.template == "none")
    assert len(set(method.labels)) == len(method.labels) > 1
    assert method.counts.parameters and method.counts.source
    for told in method.reported:
        least, most = (1, 100) if told.metric == "accuracy" else (-1, 1)
        assert least < told.value <= most, f"{told}: accuracy in percent, all others up to 1"
    assert method.build.__doc__


def test_answers_have_one_column_a_label(method: Method, network: nn.Module) -> None:
    with torch.no_grad():
        answer = method.task(network).answer(faces(method, 2))
    assert answer.shape == (2, len(method.labels))
    assert torch.isfinite(answer).all()
    assert method.task.answers in TASKS
    if method.task.answers == "action_units":
        assert answer.min() >= 0 and answer.max() <= 1
        assert unit_numbers(method.labels)


def test_every_trained_parameter_gets_a_gradient(method: Method, network: nn.Module) -> None:
    trained = copy.deepcopy(network).train()
    method.task(trained).loss(batch(method, 4)).backward()
    dead = [
        name
        for name, parameter in trained.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not torch.isfinite(parameter.grad).all())
    ]
    assert not dead
    assert any(
        parameter.grad.abs().sum() > 0 for parameter in trained.parameters() if parameter.requires_grad
    )


def test_evaluation_is_deterministic(method: Method, network: nn.Module) -> None:
    with torch.no_grad():
        first, second = (method.task(network).answer(faces(method, 2)) for _ in range(2))
    assert torch.equal(first, second)


def test_a_batch_equals_its_singles(method: Method, network: nn.Module) -> None:
    images = faces(method, 3)
    with torch.no_grad():
        together = method.task(network).answer(images)
        alone = torch.cat([method.task(network).answer(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)


def test_saved_weights_load_into_a_fresh_network(method: Method, network: nn.Module) -> None:
    stored = save({name: value.contiguous() for name, value in network.state_dict().items()})
    torch.manual_seed(1)
    fresh = create(method.name, **form(method)).eval()
    fresh.load_state_dict(load(stored), strict=True)
    with torch.no_grad():
        images = faces(method, 1)
        assert torch.equal(method.task(fresh).answer(images), method.task(network).answer(images))


def test_the_head_can_be_reset(method: Method, network: nn.Module) -> None:
    other = copy.deepcopy(network)
    if not hasattr(other, "head"):  # its labels are all through the network, as nodes of a graph are
        with pytest.raises(ShapeError, match="expected a linear layer `head`"):
            reset_head(other, 3)
        return
    reset_head(other, 3)
    with torch.no_grad():
        assert method.task(other).answer(faces(method, 2)).shape == (2, 3)


def test_the_number_of_classes_can_be_chosen(method: Method) -> None:
    network = create(method.name, classes=5, **method.quick_options).eval()
    with torch.no_grad():
        assert method.task(network).answer(faces(method, 1)).shape == (1, 5)


def test_a_wrong_size_is_refused_with_our_error(method: Method, network: nn.Module) -> None:
    for wrong in wrong_shapes(method):
        with pytest.raises(ShapeError, match=r"expected (faces|blendshapes)"):
            method.task(network).answer(torch.zeros(wrong))


def wrong_shapes(method: Method) -> list[tuple[int, ...]]:
    """Of another side, other channels, no batch, another number of frames."""
    if method.preprocess.of_mesh:
        *clip, values = method.preprocess.shape
        more = [(1, clip[0] + 1, values)] if clip else []
        return [(1, *clip, values - 1), method.preprocess.shape, *more]
    channels, *clip = method.preprocess.shape[:-2]
    more = [(1, channels, clip[0] + 1, *method.preprocess.shape[-2:])] if clip else []
    return [(1, channels, *clip, 7, 7), (1, channels + 1, *clip, 64, 64), (3, *clip, 64, 64), *more]


def test_every_frame_of_a_clip_counts(method: Method, network: nn.Module) -> None:
    if method.preprocess.frames is None:
        pytest.skip("it takes single pictures")
    clip, axis = faces(method, 1), 1 if method.preprocess.of_mesh else 2
    with torch.no_grad():
        whole = method.task(network).answer(clip)
        for frame in range(method.preprocess.frames):
            changed = clip.clone()
            changed.select(axis, frame).copy_(clip.select(axis, frame).flip(-1))
            assert not torch.equal(method.task(network).answer(changed), whole), frame


def test_parameters_are_as_many_as_published(method: Method, counted: tuple[nn.Module, Tensor]) -> None:
    network, _ = counted
    left_out = sum(
        parameter.numel()
        for name in method.counts.without
        for parameter in network.get_submodule(name).parameters()
    )
    own = sum(parameter.numel() for parameter in network.parameters()) - left_out
    assert own == pytest.approx(method.counts.parameters, rel=method.counts.tolerance)


def test_operations_are_as_many_as_published(method: Method, counted: tuple[nn.Module, Tensor]) -> None:
    network, clip = counted
    if method.counts.macs is None:
        pytest.skip("no count of operations is known for this method")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        method.task(network).answer(clip)
    # The counter does not see grouped element-wise work; it counts two operations a multiply-accumulate.
    assert counter.get_total_flops() / 2 == pytest.approx(
        method.counts.macs, rel=max(0.02, method.counts.tolerance)
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_onnx_gives_the_same_logits(method: Method, network: nn.Module) -> None:
    import onnxruntime

    from mien.methods.onnx import to_onnx

    content = to_onnx(method.task(network), faces(method, 2)).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for count in (1, 3):
        images = faces(method, count, seed=count)
        found = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
        with torch.no_grad():
            np.testing.assert_allclose(
                found, method.task(network).answer(images).numpy(), rtol=1e-3, atol=1e-4
            )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_learns_to_tell_drawn_bars_apart(method: Method) -> None:
    """Two classes that differ by a bright bar above or below: the loss must fall to a fraction.

    A tenth of the rate is tried too, for logits that are cosines over a temperature of 0.01: they swing at 1e-3.
    """
    tried = {}
    for rate in (1e-3, 1e-4):
        tried[rate] = learning_losses(method, rate)
        if tried[rate][-1] < 0.5 * tried[rate][0]:
            return
    raise AssertionError(tried)


def learning_losses(method: Method, rate: float) -> list[float]:
    """Losses of 25 steps of Adam, or of fewer until it is under 0.4 of the first; on eight pictures, of vast networks fewer."""
    torch.manual_seed(0)
    network = create(method.name, classes=2, **method.quick_options).train()
    task = method.task(network)
    vast = 2 if method.preprocess.frames else 4
    images = faces(method, vast if form(method) else 8) * 0.1
    rows = images.transpose(-1, -2) if not method.preprocess.of_mesh else images
    half = rows.shape[-1] // 2
    rows[0::2, ..., : half // 2] += 2
    rows[1::2, ..., -half // 2 :] += 2
    drawn = labelled(method, images, 2)
    optimiser = torch.optim.Adam((p for p in network.parameters() if p.requires_grad), lr=rate)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    losses: list[float] = []
    while len(losses) < 25 and (not losses or losses[-1] >= 0.4 * losses[0]):
        loss = task.loss(drawn)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def test_outputs_are_logits_or_named(method: Method, network: nn.Module) -> None:
    with torch.no_grad():
        output = network(faces(method, 1))
    named = isinstance(output, Mapping) and method.task.answers in output
    assert isinstance(output, Tensor) or named


def test_labels_that_are_missing_break_nothing(method: Method, network: nn.Module) -> None:
    """Gradients are numbers, never `None` or NaN; of action units the loss is then nothing but labels, and 0."""
    trained = copy.deepcopy(network).train()
    whole = batch(method, 2)
    unknown = {name: torch.full_like(values, torch.nan) for name, values in whole.extras.items()}
    loss = method.task(trained).loss(Batch(whole.images, torch.zeros_like(whole.targets), unknown))
    loss.backward()
    gradients = [p.grad for p in trained.parameters() if p.requires_grad]
    assert torch.isfinite(loss) and all(torch.isfinite(gradient).all() for gradient in gradients)
    if method.task.answers == "action_units":
        assert loss.item() == 0 and not any(gradient.any() for gradient in gradients)
