"""The light networks of HSEmotion on AffectNet with valence and arousal, and DDAMFN on RAF-DB."""

from __future__ import annotations

from dataclasses import replace

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

REPO = "authors' repository"
SOURCE_2024 = "Savchenko 2024, arXiv 2403.11590, and the authors' repository"
DDAMFN = "repository of DDAMFN, RAF-DB script"

B0 = Recipe(
    name="hsemotion_b0_affectnet",
    method="hsemotion_b0",
    protocol="affectnet_8",
    epochs=40,
    batch_size=48,
    optim=Optim("adam", lr=3e-5, weight_decay=0.0, sam_rho=0.05, clip=None),
    schedule=Schedule("constant", warmup_epochs=0),
    views=Views(rotate_rad=0, zoom=0, shift=0, shear=0),
    targets=Targets(soft=False, weighted=True),
    source="Savchenko 2021, arXiv 2103.17107, and the authors' repository",
    sources={
        "epochs": REPO + ": at most 40",
        "batch_size": REPO + ": 32 to 48",
        "optim": REPO,
        "targets": REPO + "; the smoothing of 0.1 is the task's",
        "start": "the authors start from identities of VGGFace2, which are not to be had here, and (from memory) train "
        "the last layer alone at 1e-3 first",
    },
)

register(
    B0,
    replace(B0, name="hsemotion_mobilevit_affectnet", method="hsemotion_mobilevit", source=SOURCE_2024),
    replace(B0, name="hsemotion_mbf_affectnet", method="hsemotion_mbf", source=SOURCE_2024),
    Recipe(
        name="ddamfn_rafdb",
        method="ddamfn",
        protocol="rafdb_basic",
        epochs=40,
        batch_size=256,
        optim=Optim("sgd", lr=0.01, weight_decay=1e-4, momentum=0.9, clip=None),
        schedule=Schedule("step", warmup_epochs=0, gamma=0.1, every=10),
        views=Views(
            rotate_rad=0.087, zoom=0, shift=0.07, shear=0, erase=0.5, erase_least=0.02, erase_most=0.25
        ),
        targets=Targets(soft=False),
        source="Zhang et al. 2023, and the authors' repository",
        sources={
            "epochs": DDAMFN,
            "batch_size": DDAMFN,
            "optim": DDAMFN + "; theirs decays biases and norms too",
            "schedule": DDAMFN,
            "views.rotate_rad": DDAMFN
            + ": 5 degrees, with the crop, for a fifth of the pictures; here for all",
            "views.shift": DDAMFN
            + ": crops of 112 px after 8 px of padding, for a fifth of the pictures; here for all",
            "views.erase": DDAMFN + ": in the mean colour; here in a random grey",
            "protocol": "the authors keep the best epoch on the test folder; here a part of the training one chooses",
        },
    ),
)
