"""`python -m trainer interactive`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, get_args

from rem_engine.commands.command_line import a_path

from .arguments import add_checkpoints

_DESCRIPTION = """\
Measure corrections as the field measures interactive segmentation: in each round one more frame of a shot gets its
exact mask, the others follow, and J is taken over those that were given none.
"""

_EXAMPLES = """\
example:
  python -m trainer synth --out shots --count 20 --seed 9101 --frames 25
  python -m trainer interactive --data shots --out report.json
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `interactive` to the command line."""
    from ..benchmarks.interactive_kinds import Choice, KeyKind, Start

    interactive = commands.add_parser(
        "interactive",
        help="measure corrections: J against rounds",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = interactive.add_argument
    add("--data", type=a_path, required=True, help="folder that 'synth' wrote")
    add("--model", default="mini", help="'mini' or a model folder (mini)")
    add_checkpoints(interactive, "REM weights for the model")
    add("--rounds", type=_rounds, default=(1, 2, 4), metavar="N,N", help="after how many masks to measure (1,2,4)")
    add(
        "--frames",
        choices=get_args(Choice),
        default="suggest",
        help="which frames get one: what rem-segment correct --suggest says, or evenly spaced ones (suggest)",
    )
    add(
        "--keys",
        choices=get_args(KeyKind),
        default="exact",
        help="masks that are given: exact ones, or such as hands make, their edges off by up to 2 pixels, with holes",
    )
    add(
        "--start",
        choices=get_args(Start),
        default="model",
        help="what is corrected: masks of the model, empty ones, or those of another thing in the shot (model)",
    )
    add("--decoder", choices=("vae", "mask"), default="vae", help="what draws the model's masks (vae)")
    add(
        "--out",
        type=a_path,
        metavar="FILE",
        help="JSON file of the figures, with those of every sentence; a stopped evaluation goes on from it",
    )
    interactive.set_defaults(run=run, operation="measuring corrections")


def run(arguments: argparse.Namespace) -> None:
    """Measure, and print the table."""
    import sys
    from functools import partial

    from rem_engine import load_segmenter

    from ..benchmarks.interactive import evaluate, table

    checkpoint = arguments.checkpoint or None
    asked = {
        "data": str(arguments.data.resolve()),
        "model": str(arguments.model),
        "checkpoint": [str(path) for path in arguments.checkpoint],
        "decoder": arguments.decoder,
        "rounds": [*arguments.rounds],
        "frames": arguments.frames,
        "keys": arguments.keys,
        "start": arguments.start,
    }
    earlier = _earlier(arguments.out, asked)
    segmenter = load_segmenter(arguments.model, checkpoint=checkpoint, decoder=arguments.decoder)
    report = evaluate(
        segmenter,
        arguments.data,
        arguments.rounds,
        arguments.frames,
        arguments.keys,
        arguments.start,
        partial(print, file=sys.stderr),
        earlier,
        partial(_keep, arguments.out, asked),
    )
    _keep(arguments.out, asked, report)
    print(table(report))


def _earlier(out: Path | None, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Figures of a report that is there, of the same evaluation.

    Raises:
        ValueError: it is of another.
    """
    if out is None or not out.exists():
        return []
    try:
        told = json.loads(out.read_text("utf-8"))
        if told["asked"] == asked:
            return list(told["each"])
    except (ValueError, TypeError, KeyError):
        pass
    raise ValueError(f"{out} is no report of this evaluation: name another file, or remove it.")


def _keep(out: Path | None, asked: dict[str, Any], report: dict[str, Any]) -> None:
    from rem_engine.whole_files import written_whole

    if out is None:
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(out) as temporary:
        temporary.write_text(json.dumps({"asked": asked, **report}, indent=2) + "\n", "utf-8")


def _rounds(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and 1 <= int(part) <= 1000 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of rounds: give numbers of masks such as 1,2,4")
    return tuple(sorted({int(part) for part in parts}))
