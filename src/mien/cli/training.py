"""The verbs around training: `train`, `evaluate`, `export`, `methods`, `recipes`, `datasets`."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mien.cli import exits
from mien.errors import MissingExtraError, OptionError

VERBS = ("train", "evaluate", "export", "methods", "recipes", "datasets")

EPILOG = """exit codes:
  0    done
  1    the data set has problems (datasets verify)
  2    an option, the data or the model cannot be used; the message says what was expected
  130  stopped with Ctrl-C; the same command goes on with a training, and starts anything else over
"""


def add_verbs(verbs: Any) -> None:
    """Add the verbs to the command's parser."""

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(
            name, help=text, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
        )

    train = verb("train", "train a published recipe, or a network for a folder of your own pictures")
    train.add_argument(
        "recipe",
        metavar="RECIPE|FOLDER",
        help="name of a recipe, or class folders, or a .csv (./NAME for one that is named as a recipe)",
    )
    train.add_argument("--data", type=Path, metavar="ROOT", help="folder of the recipe's data set")
    train.add_argument(
        "--out", type=Path, required=True, metavar="RUN", help="folder of the run; goes on there"
    )
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field, such as optim.lr=1e-3",
    )
    train.add_argument(
        "--fold", type=int, default=0, help="which fold is kept for the test, where there are folds"
    )
    train.add_argument(
        "--points",
        type=Path,
        metavar="FILE.npz",
        help="68 points of each picture, for a rule that needs them",
    )
    _own_options(train)
    train.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    train.add_argument("--compile", action="store_true", help="run through torch.compile")
    train.add_argument("--quiet", action="store_true", help="no progress")

    evaluate = verb("evaluate", "measure a model under a protocol")
    evaluate.add_argument("model", metavar="NAME|FILE.onnx")
    evaluate.add_argument("protocol", metavar="PROTOCOL|FOLDER")
    evaluate.add_argument("--data", type=Path, metavar="ROOT", help="folder of the protocol's data set")
    evaluate.add_argument("--split", metavar="NAME", help="default: the protocol's test split")
    evaluate.add_argument("--fold", type=int, default=0, help="which fold is tested, where there are folds")
    _own_options(evaluate)
    evaluate.add_argument(
        "--out", type=Path, metavar="DIR", help="write report.json, report.md and report.png"
    )
    evaluate.add_argument("--json", action="store_true", help="print the figures as JSON")
    evaluate.add_argument("--quiet", action="store_true", help="no progress")

    export = verb("export", "turn a run into one ONNX file that `mien analyze --model` takes")
    export.add_argument("run", type=Path, metavar="RUN")
    export.add_argument("--out", type=Path, required=True, metavar="FILE.onnx")
    export.add_argument("--licence", default="not stated", help="licence that you give the weights")
    export.add_argument("--json", action="store_true")

    for name, text in (("methods", "the published methods"), ("recipes", "the recipes that train them")):
        listing = verb(name, f"list {text}, or show one")
        listing.add_argument("name", nargs="?")
        listing.add_argument("--json", action="store_true")

    datasets = verb("datasets", "list the data sets, or verify one on your disk")
    datasets.add_argument("action", nargs="?", choices=("list", "verify"), default="list")
    datasets.add_argument("name", nargs="?")
    datasets.add_argument("root", nargs="?", type=Path)
    datasets.add_argument("--json", action="store_true")


def run(options: argparse.Namespace) -> int:
    """Run one of `VERBS`; returns the exit code."""
    try:
        return {
            "train": _train,
            "evaluate": _evaluate,
            "export": _export,
            "methods": _methods,
            "recipes": _recipes,
            "datasets": _datasets,
        }[options.verb](options)
    except KeyboardInterrupt:
        more = "to go on" if options.verb == "train" else "to start over"
        print(f"mien: stopped; run the same command {more}", file=sys.stderr)
        return exits.INTERRUPTED
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "onnx", "onnxscript", "safetensors", "matplotlib"):
            raise
        raise MissingExtraError(
            f"`mien {options.verb}` needs {error.name}: pip install 'mien[train]'"
        ) from None


def _train(options: argparse.Namespace) -> int:
    from mien.engine.recipe import RECIPES, override
    from mien.engine.train import train

    if options.recipe not in RECIPES and Path(options.recipe).exists():
        recipe, root = RECIPES["folder"], Path(options.recipe)
        dataset, protocol = _own(root, options)
    else:
        if options.recipe not in RECIPES:
            raise _neither("recipe", options.recipe, RECIPES)
        recipe, dataset, protocol = RECIPES[options.recipe], None, None
        if recipe.protocol == "folder":
            raise OptionError(
                f"expected the folder of your own pictures, got {options.recipe!r}, the name of the recipe that trains on "
                f"them. Say `mien train {options.data or 'FOLDER'} --out {options.out}`; a folder of that name is "
                f"./{options.recipe}."
            )
        root = _root(options, options.recipe, recipe.protocol)
    recipe = override(recipe, options.set)
    train(
        recipe,
        root,
        options.out,
        protocol=protocol,
        dataset=dataset,
        fold=options.fold,
        points=options.points,
        device=options.device,
        compiled=options.compile,
        quiet=options.quiet,
    )
    if not options.quiet:
        print(f"Done. Next: mien export {options.out} --out model.onnx", file=sys.stderr)
    return exits.OK


def _own_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--own-classes", action="store_true", help="a folder's names are classes of their own")
    verb.add_argument(
        "--photos", action="store_true",
        help="a folder's pictures are photographs, of which the largest face counts; else each is a cut-out of one face",
    )  # fmt: skip


def _own(folder: Path, options: argparse.Namespace) -> tuple[Any, Any]:
    """Data set and protocol of a folder of the user's own; options of a registered data set are refused."""
    from mien.datasets.folder import Folder, protocol_of, torn

    for name, given in (("--data", options.data is not None), ("--fold", options.fold != 0)):
        if given:
            raise OptionError(
                f"expected no {name} for {folder}, a folder of your own that is divided once, got it. Leave it out."
            )
    dataset = Folder(options.own_classes, options.photos)
    protocol = protocol_of(folder, dataset)
    if not protocol.subjects_disjoint and (people := torn(dataset.rows(folder))):
        print(
            f"mien: {len(people)} people are in more than one split of {folder} ({', '.join(people[:3])}): what is reported is also "
            "how well they are known again. Give all pictures of a person one split.",
            file=sys.stderr,
        )
    return dataset, protocol


def _neither(kind: str, name: str, known: Iterable[str]) -> OptionError:
    """The error for what is neither the name of something registered nor a folder that is there."""
    near = difflib.get_close_matches(name, list(known), n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    verb = "recipes" if kind == "recipe" else "datasets"
    return OptionError(
        f"expected the name of a {kind}, or a folder or table of your own, got {name!r}, which is neither.{hint} "
        f"`mien {verb}` lists the names."
    )


def _root(options: argparse.Namespace, name: str, protocol: str) -> Path:
    """The folder of a registered protocol's data set; a folder of that name is not meant."""
    own = f" A folder of your own of that name is ./{name}." if Path(name).exists() else ""
    if options.own_classes:
        raise OptionError(
            f"expected no --own-classes for {name!r}, whose classes are those of {protocol!r}, got it.{own}"
        )
    if options.photos:
        raise OptionError(f"expected no --photos for {name!r}, whose pictures are known, got it.{own}")
    if options.data is None:
        raise OptionError(f"expected --data ROOT, the folder of the data set of {protocol!r}, got none.{own}")
    return Path(options.data)


def _evaluate(options: argparse.Namespace) -> int:
    from mien.datasets.protocol import protocol_names
    from mien.evaluate.model import measure, write_report

    if options.protocol not in protocol_names() and Path(options.protocol).exists():
        root = Path(options.protocol)
        dataset, protocol = _own(root, options)
    else:
        if options.protocol not in protocol_names():
            raise _neither("protocol", options.protocol, protocol_names())
        dataset, protocol = None, options.protocol
        root = _root(options, protocol, protocol)
    found = measure(
        options.model, protocol, root, options.split, options.fold, dataset=dataset,
        quiet=options.quiet or options.json,
    )  # fmt: skip
    if options.out:
        write_report(found, options.out)
    print(json.dumps(found.to_dict(), indent=1) if options.json else found.to_markdown())
    return exits.OK


def _export(options: argparse.Namespace) -> int:
    from mien.engine.export import export

    made = export(options.run, options.out, options.licence)
    if options.json:
        print(json.dumps(made, indent=1))
    else:
        print(
            f"{made['file']}: {made['bytes'] / 1e6:.1f} MB, sha256 {made['sha256']}\n"
            f"largest difference to torch's logits: {made['max_logit_difference_to_torch']:.2g}\n"
            + (
                f"Next: mien analyze --model {made['file']} PATH"
                if made["analyses"]
                else f"Next: mien evaluate {made['file']} PROTOCOL --data ROOT"
            )
        )
    return exits.OK


def _methods(options: argparse.Namespace) -> int:
    from mien.methods.method import METHODS

    names = [options.name] if options.name else list(METHODS)
    rows = []
    for name in names:
        method = METHODS[name]
        rows.append(
            {
                "method": name,
                "room": method.room,
                "year": method.paper.year,
                "title": method.paper.title,
                "authors": method.paper.authors,
                "source": method.paper.source,
                "code": method.paper.code,
                "input_px": method.preprocess.size_px,
                "frames": method.preprocess.frames,
                "channels": method.preprocess.channel_order,
                "labels": list(method.labels),
                "parameters": method.counts.parameters,
                "macs": method.counts.macs,
                "reported": [vars(result) for result in method.reported],
                "differs": list(method.differs),
            }
        )
    _show(rows, options, ("method", "year", "input_px", "parameters", "title"))
    return exits.OK


def _recipes(options: argparse.Namespace) -> int:
    from mien.engine.recipe import RECIPES

    rows = [
        {"recipe": name, **RECIPES[name].to_dict()} for name in ([options.name] if options.name else RECIPES)
    ]
    _show(rows, options, ("recipe", "method", "protocol", "epochs", "batch_size", "source"))
    return exits.OK


def _datasets(options: argparse.Namespace) -> int:
    from mien.datasets.dataset import DATASETS
    from mien.datasets.protocol import load_protocol, protocol_names

    if options.action == "list":
        protocols = [load_protocol(name) for name in protocol_names()]
        rows = [
            {
                "dataset": name,
                "title": DATASETS[name].title,
                "protocols": [protocol.name for protocol in protocols if protocol.dataset == name],
                "licence": DATASETS[name].licence,
                "apply_at": DATASETS[name].apply_at,
                "layout": DATASETS[name].layout,
            }
            for name in ([options.name] if options.name else DATASETS)
        ]
        _show(rows, options, ("dataset", "title", "protocols"))
        if not options.json and not options.name:
            print(
                "`mien datasets list NAME` says the layout, the licence and where to apply.", file=sys.stderr
            )
        return exits.OK
    if not options.name or not options.root:
        raise OptionError("expected `mien datasets verify NAME ROOT`, got no name or no root")
    found = DATASETS[options.name].verify(options.root)
    if options.json:
        print(json.dumps(found.to_dict(), indent=1))
    else:
        print(found.to_text())
    return exits.OK if found.ok else exits.SOME_FAILED


def _show(rows: Sequence[dict[str, Any]], options: argparse.Namespace, columns: Sequence[str]) -> None:
    """JSON; or one entry whole; or a table of some columns."""
    if options.json:
        print(json.dumps(rows, indent=1))
    elif len(rows) == 1 and getattr(options, "name", None):
        for key, value in rows[0].items():
            print(f"{key:12} {value if not isinstance(value, list | dict) else json.dumps(value)}")
    else:
        cells = [[_cell(row[name]) for name in columns] for row in rows]
        widths = [max(len(line[index]) for line in [list(columns), *cells]) for index in range(len(columns))]
        for line in [list(columns), *cells]:
            print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    """A value in a table."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and value > 9999 else str(value)
