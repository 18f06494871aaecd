"""`python -m rem_engine models` and `python -m rem_engine models get NAME`."""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .command_line import a_path

if TYPE_CHECKING:
    from ..models import KnownModel, ModelFolders
    from .progress import ProgressBar

_DESCRIPTION = """\
List the weights that REM runs on: what each is for, where it belongs, its size and licence, and whether it is there.
Nothing is downloaded but by `models get NAME`.
"""

_EXAMPLES = """\
examples:
  what there is, and what this machine has of it
    python -m rem_engine models

  the same for a pipeline
    python -m rem_engine models --json

  Wan's VAE into the VAE folder of ComfyUI
    python -m rem_engine models get wan2.1-vae --comfyui ~/ComfyUI

  the base model of the command line into a folder of your own
    python -m rem_engine models get wan2.1-t2v-14b-diffusers --to /data/models

ComfyUI is looked for at --comfyui, then $COMFYUI_PATH, then ~/ComfyUI and ~/comfy/ComfyUI; its extra_model_paths.yaml
is read. The hub's address is $HF_ENDPOINT, if set. A download that was interrupted goes on when it is run again.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `models` to the command line."""
    models = commands.add_parser(
        "models",
        help="list known weights, and get them",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    models.set_defaults(run=run, operation="listing models")
    models.add_argument("--json", action="store_true", help="as JSON")
    _add_comfyui(models, None)
    get = models.add_subparsers(metavar="get NAME").add_parser(
        "get",
        help="download one from the Hugging Face hub",
        description="Download one of the known weights from the Hugging Face hub and check it.",
    )
    get.set_defaults(run=run_get, operation="downloading")
    get.add_argument("name", metavar="NAME", help="as `models` lists it")
    get.add_argument(
        "--to", metavar="DIR", type=a_path, help="folder to put it into (the one of ComfyUI it belongs to)"
    )
    get.add_argument("--file", metavar="PATH", help="which file of the repository, where several could be meant")
    _add_comfyui(get, argparse.SUPPRESS)  # given before `get`, it holds after it


def _add_comfyui(parser: argparse.ArgumentParser, default: Any) -> None:
    parser.add_argument(
        "--comfyui", metavar="DIR", type=a_path, default=default, help="a ComfyUI ($COMFYUI_PATH, ~/ComfyUI)"
    )


def run(options: argparse.Namespace, bar: ProgressBar) -> int:
    """List known weights; returns the exit code."""
    from ..models import CATALOGUE, find_comfyui, model_folders

    comfyui = find_comfyui(options.comfyui)
    folders = {} if comfyui is None else model_folders(comfyui)
    rows = [_row(model, folders) for model in CATALOGUE]
    if options.json:
        print(json.dumps({"comfyui": None if comfyui is None else str(comfyui), "models": rows}, indent=2))
    else:
        _print_table(rows, comfyui)
    return 0


def run_get(options: argparse.Namespace, bar: ProgressBar) -> int:
    """Download one of them; returns the exit code."""
    from ..models import destination_folder, download, find_comfyui, known_model, model_folders

    model = known_model(options.name)
    comfyui = None if options.to is not None else find_comfyui(options.comfyui)
    folder = destination_folder(model, None if comfyui is None else model_folders(comfyui), options.to)
    try:
        print(download(model, folder, file=options.file, progress=bar))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Interrupted: run the same command again, and it goes on where it stopped.") from None
    return 0


def _row(model: KnownModel, folders: ModelFolders) -> dict[str, Any]:
    from ..models import find

    places = folders.get(model.folder)
    return {
        "name": model.name,
        "purpose": model.purpose,
        "repository": model.repository,
        "file": model.file or None,
        "patterns": list(model.patterns),
        "folder": model.folder,
        "destination": str(places[0]) if places else None,
        "size_bytes": model.size,
        "size_source": model.size_source,
        "licence": model.licence,
        "licence_source": model.licence_source,
        "found": [str(path) for path in find(model, folders)],
    }


def _print_table(rows: list[dict[str, Any]], comfyui: Path | None) -> None:
    from ..models import CATALOGUE, size_of

    head = ("NAME", "SIZE", "LICENCE", "GOES INTO", "FOUND")
    lines = [head] + [
        (row["name"], size_of(model), row["licence"], f"models/{row['folder']}", "yes" if row["found"] else "no")
        for row, model in zip(rows, CATALOGUE, strict=True)
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    print(_line(head, widths))
    for line, row in zip(lines[1:], rows, strict=True):
        print(_line(line, widths))
        print(f"    {row['purpose']}")
        for path in row["found"]:
            print(f"    {path}")
    print()
    where = f"ComfyUI: {comfyui}." if comfyui else "No ComfyUI was found (--comfyui DIR, or COMFYUI_PATH)."
    note = (
        f"{where} Sizes: ~ computed from the number of parameters, > at least that, others as published; `get` says "
        "the exact one before it starts. Licences are as the repositories state them; ModelScope's are its own terms. "
        "`models get NAME` downloads one."
    )
    print(textwrap.fill(note, 110, break_on_hyphens=False, break_long_words=False))


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
