from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

from mien.errors import LabelError, ShapeError  # noqa: E402
from mien.methods.method import METHODS, create  # noqa: E402
from mien.methods.multitask.multitask_cnn import (  # noqa: E402
    ATTRIBUTES,
    LABELS,
    WIDTHS,
    MultiHeadTask,
    MultiLabelTask,
    MultiTaskCnn,
    answers,
    concatenate,
)
from mien.methods.task import Batch  # noqa: E402

GROUPS = {"expression": LABELS, **ATTRIBUTES}
TASKS = [MultiHeadTask, MultiLabelTask]


def images(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_hot(labels: list[int]) -> Tensor:
    """Rows of seven; a label of -1 gives a row of zeros."""
    rows = torch.zeros(len(labels), 7, dtype=torch.float64)
    for row, label in enumerate(labels):
        if label >= 0:
            rows[row, label] = 1
    return rows


def batch(expression: list[int], **extras: list[int]) -> Batch:
    named = {name: torch.tensor(labels) for name, labels in extras.items()}
    return Batch(images(len(expression)), one_hot(expression), named)


@pytest.fixture
def network() -> MultiTaskCnn:
    """In double precision and evaluation mode, so that rows do not mix and sums can be compared."""
    torch.manual_seed(0)
    return MultiTaskCnn().double().eval()


def gradients(network: MultiTaskCnn, loss: Tensor, part: str = "") -> dict[str, Tensor]:
    named = {name: weight for name, weight in network.named_parameters() if name.startswith(part)}
    found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
    return {
        name: torch.zeros_like(weight) if slope is None else slope
        for (name, weight), slope in zip(named.items(), found, strict=True)
    }


def test_the_groups_have_eighteen_outputs(network: MultiTaskCnn) -> None:
    outputs = network(images(2))
    assert {name: output.shape[1] for name, output in outputs.items()} == {
        "expression": 7,
        "gender": 3,
        "age": 5,
        "race": 3,
    }
    assert concatenate(outputs).shape == (2, 18)
    assert torch.equal(concatenate(outputs)[:, 7:10], outputs["gender"])
    for name in ("multitask_cnn", "multitask_cnn_multilabel"):
        assert METHODS[name].labels == LABELS


def test_the_number_of_parameters(network: MultiTaskCnn) -> None:
    """Convolutions of 3 x 3 without bias, batch norm 2 a channel, linear layers 256 -> 18."""
    by_hand = sum(9 * i * o + 2 * o for i, o in zip((3, *WIDTHS), WIDTHS, strict=False)) + 257 * 18
    assert sum(weight.numel() for weight in network.parameters()) == by_hand == 393_522


@pytest.mark.parametrize("loud", list(GROUPS))
def test_an_answer_stays_in_its_own_group(loud: str) -> None:
    """Whatever one group shouts, each group's answer is the strongest of its own outputs."""
    random = torch.Generator().manual_seed(1)
    outputs = {name: torch.randn(50, len(values), generator=random) for name, values in GROUPS.items()}
    outputs[loud] = outputs[loud] + 100
    found = answers(concatenate(outputs))
    for name, values in GROUPS.items():
        assert torch.equal(found[name], outputs[name].argmax(1))
        assert int(found[name].max()) < len(values)


def test_scores_of_another_width_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"expected scores \(B, 18\)"):
        answers(torch.zeros(2, 17))
    assert answers(torch.zeros(2, 16), classes=5)["expression"].shape == (2,)


def test_the_loss_is_the_sum_of_four_cross_entropies(network: MultiTaskCnn) -> None:
    labels = {"gender": [0, 2, 1, 1], "age": [4, 0, 2, 3], "race": [2, 1, 0, 0]}
    given, task = batch([0, 3, 6, 1], **labels), MultiHeadTask(network)
    outputs = network(given.images)
    wanted = functional.cross_entropy(outputs["expression"], torch.tensor([0, 3, 6, 1]))
    for name, values in labels.items():
        wanted = wanted + functional.cross_entropy(outputs[name], torch.tensor(values))
    torch.testing.assert_close(task.loss(given).double(), wanted, rtol=1e-5, atol=1e-6)
    assert set(task.terms(given)) == set(GROUPS)


def test_the_weight_of_the_attributes_counts(network: MultiTaskCnn) -> None:
    given = batch([0, 3], gender=[0, 1], age=[1, 2], race=[0, 2])
    terms = MultiHeadTask(network).terms(given)
    network.attribute_weight = 0.25
    wanted = terms["expression"] + 0.25 * (terms["gender"] + terms["age"] + terms["race"])
    torch.testing.assert_close(MultiHeadTask(network).loss(given), wanted)


def test_the_multi_label_loss_is_binary_cross_entropy_over_all_outputs(network: MultiTaskCnn) -> None:
    labels = {"gender": [0, 2], "age": [4, 0], "race": [2, 1]}
    given = batch([5, 3], **labels)
    wanted = torch.zeros(2, 18, dtype=torch.float64)
    for row, columns in enumerate(([5, 7 + 0, 10 + 4, 15 + 2], [3, 7 + 2, 10 + 0, 15 + 1])):
        wanted[row, columns] = 1
    reference = functional.binary_cross_entropy_with_logits(concatenate(network(given.images)), wanted)
    found = MultiLabelTask(network).loss(given)
    torch.testing.assert_close(found.double(), reference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("missing", ["gender", "age", "race"])
def test_a_missing_label_adds_no_loss_and_no_gradient(
    kind: type, missing: str, network: MultiTaskCnn
) -> None:
    """-1 everywhere is the same as no such extra, and the attribute's own layer learns nothing."""
    labels = {"gender": [0, 1], "age": [1, 2], "race": [0, 2]}
    absent = {name: values for name, values in labels.items() if name != missing}
    task = kind(network)
    with_minus = task.loss(batch([0, 3], **{**labels, missing: [-1, -1]}))
    without = task.loss(batch([0, 3], **absent))
    assert torch.equal(with_minus, without)
    slopes = gradients(network, with_minus)
    for name, slope in slopes.items():
        if name.startswith(f"attributes.{missing}"):
            assert torch.equal(slope, torch.zeros_like(slope)), name
    assert slopes["head.weight"].abs().sum() > 0
    for name, slope in gradients(network, without).items():
        assert torch.equal(slope, slopes[name]), name


@pytest.mark.parametrize("kind", TASKS)
def test_one_missing_label_leaves_the_other_rows_alone(kind: type, network: MultiTaskCnn) -> None:
    """The row without an age gives no gradient through its age outputs; the other row does."""
    given = batch([0, 3], gender=[0, 1], age=[-1, 2], race=[0, 2])
    outputs: dict[str, Tensor] = {}

    class Kept(MultiTaskCnn):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            outputs.update(super().forward(x))
            return outputs

    torch.manual_seed(0)
    loss = kind(Kept().double().eval()).loss(given)
    (slope,) = torch.autograd.grad(loss, outputs["age"])
    assert torch.equal(slope[0], torch.zeros(5, dtype=torch.float64))
    assert slope[1].abs().sum() > 0


@pytest.mark.parametrize("kind", TASKS)
def test_nothing_known_is_a_loss_of_zero_without_gradient(kind: type, network: MultiTaskCnn) -> None:
    loss = kind(network).loss(batch([-1, -1]))
    assert loss.item() == 0
    loss.backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None and torch.equal(weight.grad, torch.zeros_like(weight)), name


def test_a_missing_expression_leaves_the_attributes(network: MultiTaskCnn) -> None:
    for kind in TASKS:
        slopes = gradients(network, kind(network).loss(batch([-1, -1], gender=[0, 1])))
        assert torch.equal(slopes["head.weight"], torch.zeros_like(slopes["head.weight"]))
        assert slopes["attributes.gender.weight"].abs().sum() > 0


def test_the_trunks_gradient_is_the_sum_of_the_tasks(network: MultiTaskCnn) -> None:
    given = batch([0, 3, 6], gender=[0, 1, 2], age=[1, 2, 4], race=[0, 2, 1])
    task = MultiHeadTask(network)
    whole = gradients(network, task.loss(given), "trunk")
    parts = [gradients(network, term, "trunk") for term in task.terms(given).values()]
    for name, slope in whole.items():
        torch.testing.assert_close(slope, sum(part[name] for part in parts), rtol=1e-4, atol=1e-7)
        if name.endswith("conv.weight"):
            assert slope.abs().sum() > 0


@pytest.mark.parametrize("kind", TASKS)
def test_class_weights_touch_the_expressions(kind: type, network: MultiTaskCnn) -> None:
    given = batch([0, 3], gender=[0, 1])
    weights = torch.ones(7, dtype=torch.float64)
    weights[0] = 5
    plain = kind(network).loss(given)
    same = kind(network).loss(Batch(given.images, given.targets, given.extras, torch.ones(7).double()))
    other = kind(network).loss(Batch(given.images, given.targets, given.extras, weights))
    torch.testing.assert_close(plain, same)
    assert abs(plain.item() - other.item()) > 1e-4


def test_labels_that_cannot_be_are_refused(network: MultiTaskCnn) -> None:
    for kind in TASKS:
        with pytest.raises(LabelError, match=r"expected gender from 0 to 2 \(male, female, unsure\)"):
            kind(network).loss(batch([0, 1], gender=[0, 3]))
        with pytest.raises(LabelError, match="-1 where it is unknown"):
            kind(network).loss(batch([0, 1], race=[-2, 0]))
        with pytest.raises(ShapeError, match="one age for each of 2 pictures"):
            kind(network).loss(batch([0, 1], age=[1, 2, 3]))


def test_both_variants_are_one_network_with_two_losses() -> None:
    both = [METHODS[name] for name in ("multitask_cnn", "multitask_cnn_multilabel")]
    assert [method.task for method in both] == TASKS
    first, second = (create(method.name) for method in both)
    second.load_state_dict(first.state_dict(), strict=True)
