"""What the evidence of action units is worth: CK+ at 48 x 48 with the codes of FACS coders.

    python benchmarks/words.py [--data DIR] [--show N]

The last frame of each of 327 sequences; nothing is fitted here. Counts how often the evidence alone names the label, and
how often the shipped network is wrong where units and network disagree. CK+ checked its labels against FACS
prototypes, so the first figure flatters any table that holds these.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from machine import arguments, save

from mien.datasets.dataset import DATASETS
from mien.explain.evidence import DISAGREES, disagreement, evidence_for
from mien.explain.words import explain_face
from mien.faces.crops import as_rgb, crop_detector, landmarks_of_crops
from mien.methods.runner import ExpressionRunner
from mien.metrics.open_set import auroc
from mien.types.scores import Scores
from mien.types.units import ActionUnits
from mien.weights.store import load_weights


def last_frames(root: Path) -> tuple[list[str], np.ndarray, ActionUnits]:
    """Labels, grey pictures (N, 48, 48) and coded units of the last frame of each sequence."""
    dataset = DATASETS["ckplus48"]
    rows = dataset.rows(root)
    last = {row.id[:8]: index for index, row in sorted(enumerate(rows), key=lambda item: item[1].id)}
    chosen = sorted(last.values())
    read = dataset.reader(root, rows)
    codes = np.array([rows[index].extras["action_units"] for index in chosen], np.float32)
    units = ActionUnits(dataset.action_unit_ids(root), codes, "probability", "FACS coders")
    return [rows[index].label for index in chosen], np.stack([read(index) for index in chosen]), units


def answers(images: np.ndarray) -> tuple[Scores, np.ndarray]:
    """The shipped network's probabilities, and where it is uncertain."""
    runner = ExpressionRunner(load_weights("expression"), threads=1)
    points, _ = landmarks_of_crops(images, crop_detector(1))
    crops = [runner.crop(as_rgb(image), face[None])[0][0] for image, face in zip(images, points, strict=True)]
    scores = runner.probabilities(runner.logits(np.stack(crops)))
    return scores, runner.uncertain(scores)


def main() -> None:
    """Measure, print and keep."""
    parser = arguments(__doc__)
    parser.add_argument("--show", type=int, default=0, help="print so many explanations, drawn with seed 0")
    options = parser.parse_args()
    root = options.data / "ckplus48_au"
    truth, images, units = last_frames(root)
    scores, uncertain = answers(images)
    evidence = evidence_for(units)
    apart = disagreement(evidence, scores)
    wrong = np.array([name != label for name, label in zip(scores.top, truth, strict=True)])
    flagged, told = apart >= DISAGREES, np.isfinite(apart)
    named = np.array([evidence.best(row) == label for row, label in enumerate(truth)])
    figures = {
        "data_sha256": hashlib.sha256((root / "ckplus48_au.npz").read_bytes()).hexdigest(),
        "sequences": len(truth),
        "evidence_names_the_label": int(named.sum()),
        "network_wrong": int(wrong.sum()),
        "evidence_names_the_label_of_contempt": int(named[np.array(truth) == "contempt"].sum()),
        "disagreement_told": int(told.sum()),
        "disagreement_told_and_network_wrong": int((told & wrong).sum()),
        "flagged": int(flagged.sum()),
        "flagged_and_wrong": int((flagged & wrong).sum()),
        "uncertain": int(uncertain.sum()),
        "uncertain_and_wrong": int((uncertain & wrong).sum()),
        "auroc_of_disagreement_for_errors": auroc(-apart[told & ~wrong], -apart[told & wrong]),
        "auroc_of_confidence_for_the_same": auroc(
            scores.confidence[told & ~wrong], scores.confidence[told & wrong]
        ),
        "auroc_of_confidence_for_errors": auroc(scores.confidence[~wrong], scores.confidence[wrong]),
    }
    for name, value in figures.items():
        print(f"{name}: {value}")
    print(save(options.results, "words", figures))
    for row in np.random.default_rng(0).permutation(len(truth))[: options.show]:
        print(f"\n[{truth[row]}]")
        print(explain_face(scores, units, row=int(row), uncertain=bool(uncertain[row])).text)


if __name__ == "__main__":
    main()
