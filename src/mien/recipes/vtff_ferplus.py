"""VTFF on FER+. The paper's learning figures were not found: those that stand here are from memory or ours."""

from __future__ import annotations

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

register(
    Recipe(
        name="vtff_base_ferplus",
        method="vtff_base",
        protocol="ferplus_majority_8",
        epochs=40,
        batch_size=64,
        optim=Optim("sgd", lr=1e-2, weight_decay=1e-4, momentum=0.9),
        schedule=Schedule("cosine", warmup_epochs=2),
        views=Views(erase=0.5),
        targets=Targets(soft=False),
        source="Ma, Sun and Li 2021, arXiv 2103.16854; the learning figures were not found and are ours or from memory",
        sources={"optim": "from memory: SGD with momentum, 1e-3 to 1e-2", "schedule": "from memory"},
    )
)
