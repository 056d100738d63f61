"""SMILE fine-tuned on DFEW, as VideoMAE is. The authors' sets are of general actions, and they report nothing on this one.

It starts from a pre-training; `mien.methods.pretrain.smile_mvm.pretrain` makes one, and `from_authors` reads theirs:

mien train smile_mvm_b_dfew --data DFEW --out RUN --fold 0 --set start=AUTOENCODER.safetensors
"""

from __future__ import annotations

from dataclasses import replace

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

VIDEOMAE = "VideoMAE's fine-tuning, from memory"

BASE = Recipe(
    name="smile_mvm_b_dfew",
    method="smile_mvm_b",
    protocol="dfew_7",
    options={"drop_path": 0.1},
    epochs=50,
    batch_size=16,
    optim=Optim("adamw", lr=1e-3 * 16 / 256, weight_decay=0.05, clip=None, layer_decay=0.75),
    schedule=Schedule("cosine", warmup_epochs=5, floor=1e-3),
    views=Views(erase=0.25),
    targets=Targets(soft=False, smoothing=0.1),
    source="Thoker et al., CVPR 2025, arXiv 2504.00527; the set is ours",
    sources={
        "options": VIDEOMAE,
        "optim": VIDEOMAE + ": 1e-3 times batch over 256, layer decay 0.75",
        "schedule.warmup_epochs": VIDEOMAE,
        "views.erase": VIDEOMAE + ", with RandAugment, mixup and cutmix, which are left out",
        "targets.smoothing": VIDEOMAE,
        "start": "the autoencoder of Kinetics-400, which is not to be had here; to be given with --set start=",
    },
)

register(BASE, replace(BASE, name="smile_mvm_s_dfew", method="smile_mvm_s"))
