"""What the shipped network sees of FER+: its last feature map or that map's mean, cut once and kept on disk.

For recipes that train on top of the frozen network. ONNX Runtime computes the maps: the last one is made an output of
the shipped file.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mien.datasets import fer2013, ferplus
from mien.errors import DataError, MissingExtraError, WeightsError
from mien.faces.crops import as_rgb, crop_detector, remembered_landmarks
from mien.faces.mesh import FaceMesh
from mien.faces.mesh_geometry import points_68
from mien.faces.mesh_units import pressed_once, units_from_mesh
from mien.files import whole
from mien.methods.runner import ExpressionRunner
from mien.types.units import ActionUnits
from mien.weights.store import Weights, load_weights


@dataclass(frozen=True, eq=False)
class Seen:
    """Some pictures of a split, as the shipped network sees them.

    Attributes:
        rows: int64 (N,), rows of the split's file.
        truth: int64 (N,), classes by the majority rule.
        tokens: float16 (N, T, 1024); T is 16, the places of the last map row by row, or 1, their mean.
        answers: int64 (N,), what the network itself answers.
        data_sha256, model_sha256: of the split's file and of the shipped file.
    """

    rows: np.ndarray
    truth: np.ndarray
    tokens: np.ndarray
    answers: np.ndarray
    data_sha256: str
    model_sha256: str

    def __len__(self) -> int:
        return len(self.rows)


class MapRunner(ExpressionRunner):
    """The shipped network with its last feature map.

    Args:
        weights: contract and bytes, as `load_weights` gives them.
        threads: of one inference.
    """

    def __init__(self, weights: Weights, threads: int = 0) -> None:
        super().__init__(dataclasses.replace(weights, content=_with_last_map(weights.content)), threads)

    def maps(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits (N, K) and last maps (N, H * W, C), row by row, of aligned RGB uint8 crops (N, S, S, 3)."""
        parts = [self.session.run(None, {self.input_name: faces}) for faces in self.inputs(crops)]
        logits, maps = (np.concatenate(one) for one in zip(*parts, strict=True))
        return logits, maps.reshape(*maps.shape[:2], -1).transpose(0, 2, 1)


def _with_last_map(content: bytes) -> bytes:
    """The ONNX file with what is averaged before the last layer as a second output."""
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("features of the shipped file need onnx: pip install 'mien[train]'") from None
    model = onnx.load_from_string(content)
    pooled = [node for node in model.graph.node if node.op_type == "ReduceMean"]
    if len(pooled) != 1:
        raise WeightsError(f"expected one mean over the last map in the network, got {len(pooled)}")
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(pooled[0].input[0]))
    return model.SerializeToString()


def drawn_rows(truth: np.ndarray, count: int | None, seed: int) -> np.ndarray:
    """Rows with a class: all, or `count` with the classes as equally often as they allow; ascending.

    Raises:
        DataError: there are not so many.
    """
    rows = np.flatnonzero(truth >= 0)
    if count is None:
        return rows
    if not 0 < count <= len(rows):
        raise DataError(f"expected from 1 to {len(rows)} pictures, got {count}")
    random = np.random.default_rng(seed)
    shuffled = rows[random.permutation(len(rows))]
    # The n-th picture of each class comes before the n + 1-st of any.
    turn = np.zeros(len(shuffled), np.int64)
    for label in np.unique(truth[shuffled]):
        turn[truth[shuffled] == label] = np.arange((truth[shuffled] == label).sum())
    return np.sort(shuffled[np.argsort(turn, kind="stable")[:count]])


def seen(
    root: str | Path,
    split: str,
    cache: str | Path,
    *,
    count: int | None = None,
    balanced: bool = True,
    pooled: bool = False,
    seed: int = 0,
    quiet: bool = False,
) -> Seen:
    """Cut and keep what the shipped network sees of a split.

    Args:
        root: folder of FER+, npz layout.
        split: of `ferplus.SPLITS`.
        cache: folder that keeps the result, by the hashes of data, network and rows.
        count: so many pictures, `None` for all with a majority.
        balanced: draw them with equal classes, else as they come.
        pooled: the mean of the map alone.
        seed: of the draw.
        quiet: no progress bar.
    """
    data, weights = ferplus.load(root, split), load_weights("expression")
    rows = drawn_rows(data.majority if balanced else np.where(data.majority >= 0, 0, -1), count, seed)
    made = Seen(rows, data.majority[rows], np.zeros(0), np.zeros(0), data.sha256, weights.sha256)
    key = hashlib.sha256(rows.tobytes() + f"{data.sha256} {weights.sha256} {pooled}".encode()).hexdigest()
    path = Path(cache) / f"{split}-{key[:16]}.npz"
    if not path.is_file():
        points, _ = remembered_landmarks(data.images, crop_detector(), quiet)
        tokens, answers = _cut(MapRunner(weights), data.images[rows], points[rows], pooled, quiet)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as file:
            np.savez(file, tokens=tokens, answers=answers)
    with np.load(path) as stored:
        return dataclasses.replace(made, tokens=stored["tokens"], answers=stored["answers"])


def _cut(
    runner: MapRunner, images: np.ndarray, points: np.ndarray, pooled: bool, quiet: bool
) -> tuple[np.ndarray, np.ndarray]:
    parts = []
    steps = range(0, len(images), runner.batch_size)
    for start in tqdm(steps, "features", disable=quiet, unit="x64", leave=False):
        some = slice(start, start + runner.batch_size)
        crops = [
            runner.crop(as_rgb(image), face[None])[0][0]
            for image, face in zip(images[some], points[some], strict=True)
        ]
        logits, maps = runner.maps(np.stack(crops))
        tokens = maps.mean(1, keepdims=True) if pooled else maps
        parts.append((tokens.astype(np.float16), runner.probabilities(logits).values.argmax(1)))
    tokens, answers = (np.concatenate(part) for part in zip(*parts, strict=True))
    return tokens, answers


def write_units(root: str | Path, path: str | Path, points: str | Path | None = None) -> None:
    """Measure the action units of all three splits by the face mesh, and write them as `load_units` reads them.

    Pressed lips, one number of the mesh for AU14 and AU24, are told once, as AU24. Half an hour of one core.

    Args:
        root: folder of FER+, npz layout.
        path: the file of units.
        points: a file for the 68 points of the faces that have a mesh, as `mien.engine.cues.load_points` reads it.

    Raises:
        MissingExtraError, WeightsError: the mesh cannot be read on this machine; the message says what to do.
    """
    reader = FaceMesh(threads=1)
    units: dict[str, np.ndarray] = {}
    ids: list[str] = []
    places: list[np.ndarray] = []
    for split in ferplus.SPLITS:
        images = ferplus.load(root, split).images
        mesh = reader.read_each(images, remembered_landmarks(images, crop_detector())[0], quiet=False)
        measured = pressed_once(units_from_mesh(mesh))
        units |= {"units": np.array(measured.units), split: measured.values.astype(np.float16)}
        with np.load(Path(root) / f"{split}.npz") as stored:
            names = fer2013.npz_ids(split, stored["fer_row"])
        ids += [name for name, told in zip(names, mesh.told, strict=True) if told]
        places.append(points_68(mesh)[mesh.told])
        print(f"{split}: {len(images)} pictures, {int((~mesh.told).sum())} without mesh")
    with whole(Path(path)) as file:
        np.savez_compressed(file, **units)  # type: ignore[arg-type]
    if points is not None:
        with whole(Path(points)) as file:
            np.savez_compressed(file, ids=np.array(ids), points=np.concatenate(places))


def load_units(path: str | Path, split: str, rows: Sequence[int] | np.ndarray, pictures: int) -> ActionUnits:
    """Action units of a split's pictures, as `write_units` or somebody else measured them.

    The npz file has `units` (K,), FACS numbers, and for each split an array under its name, (pictures, K): intensities
    from 0 to 5 in the order of the split's file, NaN where they could not be told.

    Args:
        path: the file.
        split: which array.
        rows: of which pictures.
        pictures: how many the split's file has.

    Raises:
        DataError: the file lacks an array, or it has another size.
    """
    try:
        with np.load(path) as stored:
            units, values = tuple(stored["units"].tolist()), stored[split]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"expected an npz file with `units` and `{split}` at {path}, got: {error}") from error
    if values.shape != (pictures, len(units)):
        raise DataError(
            f"expected {split} of shape ({pictures}, {len(units)}) in {path}, one row a picture, got {values.shape}"
        )
    return ActionUnits(units, values[rows].astype(np.float32), "intensity", Path(path).name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Action units of FER+'s pictures, from the face mesh.")
    parser.add_argument("--ferplus", required=True)
    parser.add_argument("--out", required=True, metavar="UNITS.npz")
    parser.add_argument("--points", metavar="POINTS.npz", help="the 68 points too, for `au_cue`")
    options = parser.parse_args()
    write_units(options.ferplus, options.out, options.points)
