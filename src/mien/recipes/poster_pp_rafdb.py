"""POSTER++ on RAF-DB, as its authors train it, except that the epoch is chosen on a held-out part of train."""

from __future__ import annotations

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

REPO = "authors' repository, main.py"

register(
    Recipe(
        name="poster_pp_rafdb",
        method="poster_pp",
        protocol="rafdb_basic",
        epochs=200,
        batch_size=144,
        optim=Optim("adam", lr=3.5e-5, weight_decay=0.0, clip=None, sam_rho=0.05),
        schedule=Schedule("exponential", warmup_epochs=0, gamma=0.98),
        views=Views(rotate_rad=0, zoom=0, shift=0, shear=0, erase=0.5, erase_least=0.02, erase_most=0.1),
        targets=Targets(soft=False),
        source="Mao et al. 2023, arXiv 2301.12149, and the authors' repository",
        sources={
            "epochs": REPO,
            "batch_size": REPO,
            "optim": "repository; its weight decay is parsed but not passed on",
            "schedule": REPO,
            "views.erase": REPO + ", there filled with the mean colour; here with a grey drawn at random",
            "start": "the authors start from IR-50 (MS-Celeb-1M) and a landmark network, which are not to be had "
            "here: give their files with `load_image_branch` and `load_landmark_branch`",
        },
    )
)
