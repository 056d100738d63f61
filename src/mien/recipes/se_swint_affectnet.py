"""SE-SwinT on AffectNet with SAM. Only the paper's abstract was seen: the figures are from memory or ours."""

from __future__ import annotations

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

register(
    Recipe(
        name="se_swint_affectnet",
        method="se_swint",
        protocol="affectnet_8",
        epochs=20,
        batch_size=64,
        optim=Optim("adamw", lr=1e-4, weight_decay=0.05, sam_rho=0.05),
        schedule=Schedule("cosine", warmup_epochs=1),
        views=Views(),
        targets=Targets(soft=False, smoothing=0.1, balanced=True),
        source="Vats and Chadha 2023, arXiv 2301.10906; the learning figures were not found and are ours or from memory",
        sources={
            "optim.sam_rho": "default of the SAM paper",
            "targets.smoothing": "from memory",
            "protocol": "the authors merge several sets, which ones is from memory; here AffectNet alone",
        },
    )
)
