"""The verb `explain`: why faces in pictures are read as they are, in words and drawn."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.cli import exits
from mien.cli.reading import add_reading, results_apart
from mien.errors import InputError
from mien.files import made_folder, whole

if TYPE_CHECKING:
    import numpy as np

    from mien.pipeline.overlay import FreeNames

EPILOG = """exit codes:
  0    every picture was explained (one without a face is said to be so)
  1    some could not be read; the others were
  2    an option, the model or the mesh cannot be used
  3    nothing could be read
  130  stopped with Ctrl-C; what was written is whole
"""


def add_verb(verbs: Any) -> None:
    """Add the verb to the command's parser."""
    verb = verbs.add_parser(
        "explain",
        help="say why: action units, where the network looked, and words",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("paths", nargs="+", metavar="PICTURE", help="pictures, folders or patterns")
    verb.add_argument("--out", type=Path, metavar="DIR", help="write a drawn picture a face")
    verb.add_argument("--json", action="store_true", help="print a JSON array of faces instead of text")
    verb.add_argument(
        "--map", default="occlusion", metavar="NAME|none",
        help="heat map: occlusion, rise, grad_cam ... (default: %(default)s; needs torch)",
    )  # fmt: skip
    add_reading(verb, "model", "threads")
    verb.add_argument("--no-mesh", action="store_true", help="without action units")
    verb.add_argument(
        "--llm", metavar="URL", help="words by a language model behind an OpenAI-compatible address, checked"
    )
    verb.add_argument("--llm-model", default="local", metavar="NAME", help="its name there (default: local)")
    verb.add_argument(
        "--allow-remote",
        action="store_true",
        help="let --llm be another machine: the evidence leaves this one",
    )
    verb.add_argument("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from tqdm import tqdm

    from mien.pipeline.analyzer import Analyzer
    from mien.pipeline.explained import Explainer
    from mien.pipeline.inputs import expand
    from mien.pipeline.overlay import FreeNames
    from mien.pipeline.pictures import read_picture
    from mien.types.media import Failure

    drawn = results_apart(options.paths, options.out)
    explainer = Explainer(
        Analyzer(options.model, mesh=not options.no_mesh, threads=options.threads),
        None if options.map == "none" else options.map,
    )
    model = _language_model(options)
    if options.out is not None:
        made_folder(options.out, "draw into")
    names = FreeNames()
    shown: list[dict[str, Any]] = []
    failed = read = 0
    try:
        for path in tqdm(
            list(expand(options.paths, drawn)), disable=options.quiet or len(options.paths) < 2, leave=False
        ):
            error = path.error if isinstance(path, Failure) else ""
            name = path.path if isinstance(path, Failure) else str(path)
            try:
                image = None if error else read_picture(Path(name))
            except (InputError, OSError) as trouble:
                image, error = None, str(trouble)
            failed, read = failed + bool(error), read + (not error)
            if image is None:
                found = [{"path": name, "face": None, "error": error}]
                print(f"mien: {name}: {error}", file=sys.stderr)
            else:
                found = _explained(image, Path(name), explainer, model, options.out, names)
            shown += found
            if not options.json:
                for face in found:
                    _say(face)
    except KeyboardInterrupt:
        print("mien: stopped; what was written is whole", file=sys.stderr)
        return exits.INTERRUPTED
    finally:
        if options.json:
            print(json.dumps(shown, indent=1, ensure_ascii=False))
    if failed:
        return exits.SOME_FAILED if read else exits.ALL_FAILED
    return exits.OK


def _language_model(options: argparse.Namespace) -> Any:
    if options.llm is None:
        return None
    from mien.explain.endpoint import LanguageModel

    return LanguageModel(options.llm, options.llm_model, allow_remote=options.allow_remote)


def _explained(
    image: np.ndarray, path: Path, explainer: Any, model: Any, out: Path | None, names: FreeNames
) -> list[dict[str, Any]]:
    """The faces of one picture, ready for JSON; drawn where there is a folder, under a name that no other picture has."""
    from mien.pipeline.explained_picture import draw_explained

    _, faces = explainer.explain(image)
    if not faces:
        return [{"path": str(path), "face": None, "error": None}]
    stem, rows = names.of(str(path)), []
    for face in faces:
        row = {"path": str(path), "face": face.face, "error": None, **face.explanation.to_dict()}
        row |= {"text": face.explanation.text, "notes": list(face.notes)}
        if model is not None:
            row |= _in_model_words(face.explanation, model)
        if out is not None:
            drawn = out / f"{stem}_face{face.face}.png"
            with whole(drawn) as file:
                draw_explained(image, face, path.name).save(file, "PNG")
            row["drawn"] = str(drawn)
        rows.append(row)
    return rows


def _in_model_words(explanation: Any, model: Any) -> dict[str, Any]:
    """The model's words as far as the measurement bears them out, and what was struck."""
    from mien.explain.language_model import describe

    words = describe(explanation, model)
    told = {
        "source": words.source,
        "reason": words.reason or None,
        "claims": words.claims,
        "struck": [{**asdict(one.claim), "reason": one.reason} for one in words.struck],
        "hallucination_rate": len(words.struck) / words.claims if words.claims else None,
        "sentences_left_out": words.left_out,
    }
    return {"text": words.text, "language_model": told}


def _say(face: dict[str, Any]) -> None:
    """One face for people."""
    if face["error"]:
        return
    print(f"{face['path']}" + (": no face" if face["face"] is None else f", face {face['face']}"))
    if face["face"] is not None:
        print(face["text"])
        told = face.get("language_model")
        if told:
            why = ", ".join(f"AU{one['unit']} {one['reason']}" for one in told["struck"])
            struck = f"{len(told['struck'])} of {told['claims']} claims struck" + (f": {why}" if why else "")
            print(f"(words by {told['source']}: {struck}; sentences left out: {told['sentences_left_out']})")
            if told["reason"]:
                print(f"({told['reason']})")
        for note in face["notes"]:
            print(f"({note})")
        print()
