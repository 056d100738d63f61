"""HSEmotion (EmotiEffNet): small face networks that read expression, valence and arousal at once.

Paper: Andrey V. Savchenko, "Facial expression and attributes recognition based on multi-task learning of
lightweight neural networks", IEEE SISY 2021, arXiv 2103.17107; valence and arousal of EfficientNet-B0:
arXiv 2203.13436, 2022 (from memory); MobileFaceNet and MobileViT: "HSEmotion Team at the 6th ABAW Competition", CVPR Workshops 2024, arXiv 2403.11590 (what it adds
for video is in `hsemotion_abaw6.py`). Official code: github.com/av-savchenko/face-emotion-recognition and
github.com/sb-ai-lab/EmotiEffLib, Apache-2.0.

A light trunk (EfficientNet-B0, MobileViT-S or MobileFaceNet), first trained on identities, then one linear
layer over eight expressions and, in the multi-task variants, two raw outputs for valence and arousal. The
trunks are written in `hsemotion_trunks.py`, for length.

Differs from the paper: the ten outputs are two layers, so that the expressions' layer can be exchanged; the
classes' term is divided by the sum of the weights of a batch, theirs by its number of faces; CCC uses biased
moments throughout (theirs mixes biased and unbiased), so that equal series give exactly 1; faces are aligned
by five points (theirs are detector boxes, not rotated); weights are fresh, not from VGGFace2.

Needs: float32 (B, 3, S, S), RGB; S = 224 with ImageNet mean and std (B0, MobileViT), S = 112 with
(x - 127.5) / 127.5 (MobileFaceNet). Gives: {"expression": (B, K), "valence_arousal": (B, 2)}, or logits
(B, K) with `mtl=False`. Classes are in alphabetical order, `HSEMOTION_LABELS`, never mien's.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mien.errors import OptionError, UnknownNameError, WeightsError
from mien.labels.expressions import EXPRESSIONS
from mien.methods.authors import load_strictly, renamed
from mien.methods.method import Counts, Paper, Reported, register
from mien.methods.multitask.hsemotion_trunks import EfficientNetB0, MobileFaceNet, MobileViTS
from mien.methods.task import Batch, Task, soft_cross_entropy
from mien.nn.checks import expect_faces
from mien.types.media import IMAGENET_MEAN, IMAGENET_STD, Preprocess

HSEMOTION_LABELS = tuple(sorted(EXPRESSIONS))
"""Output order of the authors' eight-class networks, in mien's names; their seven classes lack contempt."""

TRUNKS: Mapping[str, type[nn.Module]] = {"b0": EfficientNetB0, "mobilevit": MobileViTS, "mbf": MobileFaceNet}
WIDTHS = {"b0": EfficientNetB0.width, "mobilevit": MobileViTS.width, "mbf": MobileFaceNet.width}


class HSEmotion(nn.Module):
    """A trunk and linear layers. `forward` gives a dict, or logits with `mtl=False`; `features` the trunk.

    Args:
        trunk: "b0", "mobilevit" or "mbf".
        classes: K.
        mtl: whether there are outputs for valence and arousal (raw, not squashed).
        size: side S of the faces in pixels, a multiple of 32 (of 16 for "mbf").
    """

    def __init__(self, trunk: str, classes: int = 8, mtl: bool = True, size: int = 224) -> None:
        super().__init__()
        if trunk not in TRUNKS:
            raise UnknownNameError("trunk", trunk, TRUNKS)
        step = 16 if trunk == "mbf" else 32
        if size < 2 * step or size % step:
            raise OptionError(
                f"expected a size for {trunk!r} that is a multiple of {step} from {2 * step} on, got {size}"
            )
        self.size = size
        self.trunk = MobileFaceNet(size) if trunk == "mbf" else TRUNKS[trunk]()
        width = WIDTHS[trunk]
        self.head = nn.Linear(width, classes)
        self.explain_layer = "trunk.last"
        if trunk != "mbf":  # which does not average its last map
            self.cam_layer = "trunk.last"
        self.affect = nn.Linear(width, 2) if mtl else None

    def features(self, x: Tensor) -> Tensor:
        """Features of the trunk: (B, 3, S, S) -> (B, 1280), (B, 640) or (B, 512)."""
        expect_faces(x, 3, self.size)
        return self.trunk(x)

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """Logits (B, K), and valence and arousal (B, 2) beside them in a dict with `mtl`."""
        features = self.features(x)
        if self.affect is None:
            return self.head(features)
        return {"expression": self.head(features), "valence_arousal": self.affect(features)}


def ccc(predicted: Tensor, true: Tensor) -> Tensor:
    """Concordance correlation of each column: 2 cov / (var_p + var_t + (mean_p - mean_t)^2), biased moments.

    Args:
        predicted: (B, M).
        true: (B, M), NaN where a value is missing.

    Returns:
        (M,), from -1 to 1; 0 where fewer than two values are known. Source: Lin, Biometrics 1989.
    """
    known = torch.isfinite(true)
    count = known.sum(0).clamp(min=1)
    true = torch.where(known, true, 0.0)
    predicted = torch.where(known, predicted.float(), 0.0)
    mean_p, mean_t = predicted.sum(0) / count, true.sum(0) / count
    off_p, off_t = (predicted - mean_p) * known, (true - mean_t) * known
    spread = (off_p**2 + off_t**2).sum(0) / count + (mean_p - mean_t) ** 2
    found = 2 * (off_p * off_t).sum(0) / count / spread.clamp(min=1e-12)
    return torch.where(known.sum(0) > 1, found, torch.zeros_like(found))


def affect_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Sum over the columns of (1 - CCC) / 2; a column with fewer than two known values counts for nothing.

    Args:
        predicted: (B, 2) valence and arousal.
        true: (B, 2), NaN where missing.
    """
    enough = torch.isfinite(true).sum(0) > 1
    return (enough * (1 - ccc(predicted, true)) / 2).sum()


class HSEmotionTask(Task):
    """Smoothed, weighted cross-entropy; with `mtl` also (1 - CCC) / 2 of valence and of arousal.

    The batch's extras may hold "valence_arousal" (B, 2), NaN where missing. The class weights of the authors
    are 1 / n_c, scaled so that the most frequent class has 1.
    """

    smoothing = 0.1

    def loss(self, batch: Batch) -> Tensor:
        """Scalar training loss of a batch."""
        output = self.network(batch.images)
        both = isinstance(output, Mapping)
        logits = output["expression"] if both else output
        known = batch.targets.sum(1, keepdim=True)
        targets = (1 - self.smoothing) * batch.targets + self.smoothing * known / logits.shape[1]
        loss = soft_cross_entropy(logits, targets, batch.class_weights)
        if not both:
            return loss
        affect = output["valence_arousal"]
        missing = torch.full_like(affect, torch.nan)
        return loss + affect_loss(affect, batch.extras.get("valence_arousal", missing))


_KEYS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "b0": (
        (r"^conv_stem\.", "stem.conv."),
        (r"^bn1\.", "stem.norm."),
        (r"^conv_head\.", "last.conv."),
        (r"^bn2\.", "last.norm."),
        (r"^classifier\.(0\.)?", "head."),
        (r"^(blocks\.0\.0)\.bn1\.", r"\1.depthwise.norm."),
        (r"^(blocks\.0\.0)\.conv_pw\.", r"\1.project.conv."),
        (r"^(blocks\.0\.0)\.bn2\.", r"\1.project.norm."),
        (r"\.conv_pw\.", ".expand.conv."),
        (r"\.bn1\.", ".expand.norm."),
        (r"\.conv_dw\.", ".depthwise.conv."),
        (r"\.bn2\.", ".depthwise.norm."),
        (r"\.se\.conv_reduce\.", ".squeeze.reduce."),
        (r"\.se\.conv_expand\.", ".squeeze.restore."),
        (r"\.conv_pwl\.", ".project.conv."),
        (r"\.bn3\.", ".project.norm."),
    ),
    "mobilevit": (
        (r"\.bn\.", ".norm."),
        (r"^stages\.", "blocks."),
        (r"^final_conv\.", "last."),
        (r"^head\.fc\.", "head."),
        (r"\.conv1_1x1\.", ".expand."),
        (r"\.conv2_kxk\.", ".depthwise."),
        (r"\.conv3_1x1\.", ".project."),
        (r"\.conv_kxk\.", ".local."),
        (r"\.conv_1x1\.", ".enter."),
        (r"\.transformer\.", ".encoder."),
        (r"\.attn\.qkv\.", ".qkv."),
        (r"\.attn\.proj\.", ".project."),
        (r"\.mlp\.fc1\.", ".widen."),
        (r"\.mlp\.fc2\.", ".narrow."),
        (r"\.conv_proj\.", ".leave."),
        (r"\.conv_fusion\.", ".fuse."),
    ),
    "mbf": (
        (r"^layers\.([357])\.layers\.(\d+)\.", r"blocks.\1.\2."),
        (r"^layers\.", "blocks."),
        (r"^conv_sep\.", "last."),
        (r"^fc\.", "head."),
        (r"^features\.layers\.0\.layers\.0\.", "pool."),
        (r"^features\.layers\.0\.layers\.1\.", "pool_norm."),
        (r"^features\.layers\.2\.", "embed."),
        (r"^features\.layers\.3\.", "embed_norm."),
        (r"\.layers\.0\.(\w+)$", r".conv.\1"),
        (r"\.layers\.1\.(\w+)$", r".norm.\1"),
        (r"\.layers\.2\.(\w+)$", r".act.\1"),
    ),
}
"""Pattern and replacement, applied in turn, from the authors' names (timm's, InsightFace's) to ours."""

_SIGNS = {"conv_stem.weight": "b0", "final_conv.conv.weight": "mobilevit", "conv_sep.layers.0.weight": "mbf"}


def from_authors(state_dict: Mapping[str, Tensor]) -> HSEmotion:
    """A network with the authors' weights, in evaluation mode.

    Args:
        state_dict: of "enet_b0_8_best_vgaf", "enet_b0_8_va_mtl", "mobilevit_va_mtl", "mbf_va_mtl" and their
            like. The authors publish pickled modules: open such a file where you trust it, and take its
            `state_dict()`. Ten outputs are split into eight expressions, valence and arousal.

    No checkpoint was seen here. Names and shapes are those of timm's `tf_efficientnet_b0` and `mobilevit_s`
    (read), of InsightFace's `mobilefacenet.py` (read; that it is their MobileFaceNet, at its default width,
    is from their notebook's import), and of the last layers that EmotiEffLib's conversion script names.

    Raises:
        WeightsError: another network, or a tensor that is missing, left over or of another shape.
    """
    trunk = next((name for sign, name in _SIGNS.items() if sign in state_dict), None)
    if trunk is None:
        raise WeightsError(f"expected one of the tensors {', '.join(_SIGNS)}, got a network without any")
    state = {}
    for name, value in state_dict.items():
        name = renamed(name, _KEYS[trunk])
        state[name if name.startswith("head.") else f"trunk.{name}"] = value
    outputs = len(state.get("head.bias", ()))
    if outputs not in (7, 8, 10):
        raise WeightsError(f"expected 7, 8 or 10 outputs (8 and valence, arousal), got {outputs}")
    if outputs == 10:
        for part in ("weight", "bias"):
            whole = state[f"head.{part}"]
            state[f"head.{part}"], state[f"affect.{part}"] = whole[:8], whole[8:]
    network = HSEmotion(trunk, min(outputs, 8), outputs == 10, 112 if trunk == "mbf" else 224)
    load_strictly(network, state, f"expected the authors' {trunk!r} network, got another")
    return network.eval()


CODE = "https://github.com/av-savchenko/face-emotion-recognition"
PAPER = Paper(
    "Facial expression and attributes recognition based on multi-task learning of lightweight neural networks",
    "Andrey V. Savchenko",
    2021,
    "arXiv 2103.17107",
    CODE,
    "Apache-2.0",
)
PAPER_2024 = Paper(
    "HSEmotion Team at the 6th ABAW Competition: Facial Expressions, Valence-Arousal and Emotion Intensity "
    "Prediction",
    "Andrey V. Savchenko",
    2024,
    "arXiv 2403.11590",
    CODE,
    "Apache-2.0",
)
IMAGENET = Preprocess(224, "mien_face_v1", "RGB", IMAGENET_MEAN, IMAGENET_STD)
DIFFERS = (
    "Faces are aligned by five points; theirs are detector boxes.",
    "Weights are fresh unless `from_authors` gives them; theirs begin with identities of VGGFace2.",
    "The classes' term is divided by the batch's weights; CCC uses biased moments throughout.",
    "The ten outputs are two layers, so that the expressions' layer can be exchanged.",
    "EfficientNet-B2 and ReXNet are not here.",
)
HEADS = ("head", "affect")
COUNTED = "parameters counted on timm's network without its last layer"
NOTEBOOK = "repository's ABAW-6 notebook, validation: a small head on frozen features"


@register(
    paper=PAPER,
    preprocess=IMAGENET,
    labels=HSEMOTION_LABELS,
    counts=Counts(
        4_020_000,
        384_500_000,
        0.01,
        COUNTED + "; operations of convolutions and products counted here (timm's count says 398 M)",
        HEADS,
    ),
    reported=(
        Reported("affectnet_8", "accuracy", 61.93, "repository's README, enet_b0_8_va_mtl"),
        Reported("affectnet_7", "accuracy", 64.94, "repository's README, enet_b0_8_va_mtl"),
        Reported("affectnet_8", "accuracy", 61.32, "repository's README, enet_b0_8_best_vgaf (mtl=False)"),
        Reported("affectnet_7", "accuracy", 64.57, "repository's README, enet_b0_8_best_vgaf (mtl=False)"),
        Reported("affectnet_7", "accuracy", 65.74, "repository's README, enet_b0_7 (7 classes, mtl=False)"),
        Reported("affwild2", "ccc_valence", 0.445, NOTEBOOK),
        Reported("affwild2", "ccc_arousal", 0.521, NOTEBOOK),
    ),
    differs=DIFFERS,
    task=HSEmotionTask,
)
def hsemotion_b0(classes: int = 8, size: int = 224, mtl: bool = True) -> nn.Module:
    """EfficientNet-B0; size is a multiple of 32."""
    return HSEmotion("b0", classes, mtl, size)


@register(
    paper=PAPER_2024,
    preprocess=IMAGENET,
    labels=HSEMOTION_LABELS,
    counts=Counts(4_940_000, 1_416_000_000, 0.01, COUNTED + "; operations counted here", HEADS),
    reported=(
        Reported("affwild2", "ccc_valence", 0.445, NOTEBOOK),
        Reported("affwild2", "ccc_arousal", 0.525, NOTEBOOK),
    ),
    differs=DIFFERS,
    task=HSEmotionTask,
)
def hsemotion_mobilevit(classes: int = 8, size: int = 224, mtl: bool = True) -> nn.Module:
    """MobileViT-S; size is a multiple of 32."""
    return HSEmotion("mobilevit", classes, mtl, size)


@register(
    paper=PAPER_2024,
    preprocess=Preprocess(112, "mien_face_v1", "RGB", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    labels=HSEMOTION_LABELS,
    counts=Counts(2_060_000, 437_500_000, 0.01, "counted here", HEADS),
    reported=(
        Reported("affwild2", "ccc_valence", 0.442, NOTEBOOK),
        Reported("affwild2", "ccc_arousal", 0.533, NOTEBOOK),
    ),
    differs=DIFFERS,
    task=HSEmotionTask,
)
def hsemotion_mbf(classes: int = 8, size: int = 112, mtl: bool = True) -> nn.Module:
    """MobileFaceNet; size is a multiple of 16, and 112 for the authors' weights."""
    return HSEmotion("mbf", classes, mtl, size)
