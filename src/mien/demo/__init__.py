"""The pictures that come with mien; their notices stand in `pictures/NOTICE.md`."""

from __future__ import annotations

from pathlib import Path

PICTURES = Path(__file__).parent / "pictures"


def demo_pictures() -> list[Path]:
    """Every shipped picture, in name order."""
    return sorted(path for path in PICTURES.iterdir() if path.suffix in {".jpg", ".png"})
