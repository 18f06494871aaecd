"""`python -m trainer ablate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rem_engine.backbones.load import MINI_FOLDER
from rem_engine.commands.command_line import a_path

from .arguments import positive, whole_number

_DESCRIPTION = """\
Train REM and what the paper compares it with on rendered shots, each by a learning rate of its own and with several
seeds, and score all of it along the way. DIR gets results.json (every score), results.md (a table) and results.png
(curves). Run it again to go on after a stop, with more seeds, or for longer: what is done is kept, and a run that was
broken off goes on from its last checkpoint.
"""
_T2V = MINI_FOLDER / "t2v" / "rem_mini_t2v.safetensors"


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `ablate` to the command line."""
    ablate = commands.add_parser(
        "ablate",
        help="run the paper's ablations in miniature",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = ablate.add_argument
    add("--preset", choices=("mini",), default="mini", help="mini: REM-mini at 64x64, from its text-to-video weights")
    add("--out", type=a_path, required=True, metavar="DIR", help="folder of shots, caches, runs and results")
    add("--variants", type=_names, metavar="A,B", help="some of the variants (all); see docs/ablation.md")
    add("--seeds", type=whole_number(0, 1000), default=5, metavar="N", help="runs of each variant (5); 0: rates alone")
    add(
        "--seconds",
        type=positive,
        default=640,
        metavar="S",
        help="processor seconds of training of each run at most (640); it is scored after 80, 160, 320, ... of them",
    )
    add("--jobs", type=whole_number(1, 1000), default=1, metavar="N", help="runs side by side, a thread each (1)")
    add("--model", default="mini", metavar="DIR", help="model folder that is trained from (mini)")
    add("--checkpoint", type=a_path, metavar="FILE", help="weights laid over it (REM-mini's text-to-video weights)")
    ablate.set_defaults(run=run, operation="running the ablations")


def run(arguments: argparse.Namespace) -> None:
    """Run the ablations and print the table."""
    from rem_engine.folder_lock import locked

    from ..ablation.plan import Ablation
    from ..ablation.report import check_reports, write_report
    from ..ablation.results import gather, write_results
    from ..ablation.runs import ablate
    from ..ablation.variants import VARIANTS
    from ..reports import RESULTS_FILE
    from .progress import progress_bar

    ablation = Ablation(
        arguments.out,
        variants=arguments.variants or tuple(VARIANTS),
        preset=arguments.preset,
        seeds=arguments.seeds,
        seconds=arguments.seconds,
        jobs=arguments.jobs,
        model=arguments.model,
        checkpoint=_T2V if arguments.checkpoint is None else Path(arguments.checkpoint),
    )
    with locked(arguments.out, "name another --out"):
        check_reports(arguments.out)
        with progress_bar() as bar:
            ablate(ablation, bar, lambda: write_results(arguments.out / RESULTS_FILE, gather(ablation)))
        print(write_report(arguments.out, gather(ablation)))


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in text.split(",") if name))
