"""FMAE-IAT on BP4D, BP4D+ and DISFA: ViT-S, B and L, against the identity.

It starts from a masked autoencoder of faces:

mien train fmae_iat_l_bp4d --data BP4D --out RUN --fold 0 --set start=AUTOENCODER.safetensors

(`mien.methods.units.fmae_iat.pretrain` makes one.) Without one, expect much less than the authors report.
"""

from __future__ import annotations

from dataclasses import replace

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

REPO = "authors' repository (from a description of it)"
LR = 5e-4 * 32 / 256

BP4D = Recipe(
    name="fmae_iat_l_bp4d",
    method="fmae_iat_l",
    options={"people": 41, "strength": 2.0, "drop_path": 0.1},
    protocol="bp4d_12",
    epochs=20,
    batch_size=32,
    optim=Optim("adamw", lr=LR, weight_decay=0.05, clip=None, layer_decay=0.65),
    schedule=Schedule("cosine", warmup_epochs=2, floor=1e-6 / LR),
    views=Views(erase=0.25),
    targets=Targets(soft=False),
    source="Ning, Salah, Ertugrul 2024, arXiv 2407.11243",
    sources={
        "options": REPO
        + ": all people of the set; lambda 2 on BP4D, 1 on BP4D+, 0.5 on DISFA; drop path 0.1",
        "epochs": REPO + ": 20 to 30",
        "batch_size": REPO,
        "optim": REPO + ": AdamW, base rate 5e-4 times batch over 256, layer decay 0.65, weight decay 0.05",
        "schedule": REPO + ": warm-up of 2 epochs, cosine to 1e-6",
        "views.erase": REPO + ": 0.25, with random pixels; ours is one grey",
        "views": "ours, in place of their RandAugment (magnitude 9, deviation 0.5)",
        "start": REPO
        + ": the autoencoder of Face9M, which is not to be had here; to be given with --set start=",
    },
)
PLUS = replace(
    BP4D,
    name="fmae_iat_l_bp4d_plus",
    protocol="bp4d_plus_12",
    options={"people": 140, "strength": 1.0, "drop_path": 0.1},
)
DISFA = replace(
    BP4D,
    name="fmae_iat_l_disfa",
    protocol="disfa_8",
    options={"people": 27, "strength": 0.5, "drop_path": 0.1},
)

register(
    *(
        replace(recipe, name=recipe.name.replace("_l_", f"_{size}_"), method=f"fmae_iat_{size}")
        for recipe in (BP4D, PLUS, DISFA)
        for size in "sbl"
    )
)
