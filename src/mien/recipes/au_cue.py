"""Attention guided by action units: by the authors' command for AffectNet on RAF-DB, and a small pair of runs on FER+.

`python -m mien.recipes.au_cue_compare --data DIR --out DIR` trains the small one with and without the cues.
"""

from __future__ import annotations

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

COMMAND = "authors' repository, command for AffectNet"

register(
    Recipe(
        name="au_cue_rafdb",
        method="hsemotion_b0",
        protocol="rafdb_basic",
        options={"mtl": False},
        rule="au_cue",
        rule_options={"weight": 4.0},
        epochs=20,
        batch_size=224,
        optim=Optim("sgd", lr=2e-3, weight_decay=5e-4, momentum=0.9, clip=None),
        schedule=Schedule("step", warmup_epochs=0, gamma=0.9, every=4),
        views=Views(rotate_rad=0, zoom=0, shift=0.07, shear=0),
        targets=Targets(soft=False),
        source="Belharbi et al., FG 2024, and the authors' repository at 66e2bde",
        sources={
            "rule_options": "a figure of the repository: accuracy on RAF-DB peaks near a weight of 4",
            "epochs": COMMAND,
            "batch_size": COMMAND,
            "optim": COMMAND + "; the momentum is from memory",
            "schedule": COMMAND,
            "views": "random crops of 224 of 256 px",
            "method": "the authors train ResNet-50 from ImageNet weights, which is not in this package",
        },
    ),
    Recipe(
        name="au_cue_ferplus_small",
        method="multitask_cnn",
        protocol="ferplus_majority_8",
        size_px=64,
        rule="au_cue",
        rule_options={"weight": 4.0},
        epochs=5,
        batch_size=64,
        optim=Optim("adamw", lr=1e-3, weight_decay=0.05),
        schedule=Schedule("cosine", warmup_epochs=0.3),
        views=Views(),
        targets=Targets(soft=True),
        source="set by us: about five minutes on two idle cores, and as long again without the cues",
        sources={"rule_options": "the weight as for RAF-DB"},
    ),
)
