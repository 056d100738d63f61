"""MARLIN fine-tuned on DFEW. The authors' own sets are not in mien, and they report nothing on this one.

It starts from a pre-training; `mien.methods.pretrain.marlin.pretrain` makes one, and `from_authors` reads theirs:

mien train marlin_b_dfew --data DFEW --out RUN --fold 0 --set start=AUTOENCODER.safetensors
"""

from __future__ import annotations

from dataclasses import replace

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

REPO = "authors' repository, fine-tuning on CelebV-HQ"

BASE = Recipe(
    name="marlin_b_dfew",
    method="marlin_b",
    protocol="dfew_7",
    epochs=50,
    batch_size=16,
    optim=Optim("adam", lr=1e-4, weight_decay=0.0, clip=None),
    schedule=Schedule("plateau", warmup_epochs=0, gamma=0.5, patience=7),
    views=Views(),
    targets=Targets(soft=False),
    source="Cai et al., CVPR 2023, arXiv 2211.06627; the set is ours",
    sources={
        "optim": REPO + ": Adam, 1e-4, with betas 0.5 and 0.9; here torch's own betas",
        "schedule": REPO
        + ": half after 7 epochs without a lower training loss; here without a better selection score",
        "start": "the autoencoder of YouTubeFaces, which is not to be had here; to be given with --set start=",
    },
)

register(*(replace(BASE, name=f"marlin_{size}_dfew", method=f"marlin_{size}") for size in "sbl"))
