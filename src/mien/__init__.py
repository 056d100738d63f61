"""mien reads facial expressions from pictures and clips.

>>> import mien
>>> results = mien.analyze("photo.jpg")  # doctest: +SKIP
>>> results[0].faces.expression.top  # doctest: +SKIP

Names are imported when they are first used, so that `import mien` is quick and quiet.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "analyze": "mien.pipeline.shortcuts",
    "Analyzer": "mien.pipeline.analyzer",
    "Results": "mien.pipeline.table",
    "QualityLimits": "mien.faces.quality",
    "Faces": "mien.types.faces",
    "Scores": "mien.types.scores",
    "FrameResult": "mien.types.media",
    "Failure": "mien.types.media",
    "EXPRESSIONS": "mien.labels.expressions",
    "load_weights": "mien.weights.store",
    "MienError": "mien.errors",
    "list_methods": "mien.methods.method",
    "create": "mien.methods.method",
    "load_dataset": "mien.datasets.dataset",
    "train": "mien.engine.train",
    "export": "mien.engine.export",
    "measure": "mien.evaluate.model",
}

__all__ = [
    "EXPRESSIONS",
    "Analyzer",
    "Faces",
    "Failure",
    "FrameResult",
    "MienError",
    "QualityLimits",
    "Results",
    "Scores",
    "__version__",
    "analyze",
    "create",
    "export",
    "list_methods",
    "load_dataset",
    "load_weights",
    "measure",
    "train",
]

if TYPE_CHECKING:
    from mien.datasets.dataset import load_dataset
    from mien.engine.export import export
    from mien.engine.train import train
    from mien.errors import MienError
    from mien.evaluate.model import measure
    from mien.faces.quality import QualityLimits
    from mien.labels.expressions import EXPRESSIONS
    from mien.methods.method import create, list_methods
    from mien.pipeline.analyzer import Analyzer
    from mien.pipeline.shortcuts import analyze
    from mien.pipeline.table import Results
    from mien.types.faces import Faces
    from mien.types.media import Failure, FrameResult
    from mien.types.scores import Scores
    from mien.weights.store import load_weights


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
