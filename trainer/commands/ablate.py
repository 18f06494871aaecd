"""`python -m trainer ablate`."""

from __future__ import annotations

import argparse

from rem_engine.commands.command_line import a_path

from .arguments import positive, whole_number

_DESCRIPTION = """\
Train REM and what the paper compares it with, by equal budgets and with several seeds, on rendered shots, and score all
of it. DIR gets results.json, results.md (a table) and results.png (a plot). Run it again to go on after a stop: what is
done is kept, and a run that was broken off goes on from its last checkpoint.
"""


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
    add("--seeds", type=whole_number(1, 1000), default=3, metavar="N", help="runs of each variant (3)")
    add("--steps", type=positive, metavar="N", help="steps of each run (the preset's)")
    add("--jobs", type=whole_number(1, 1000), default=1, metavar="N", help="runs side by side (1)")
    ablate.set_defaults(run=run, operation="running the ablations")


def run(arguments: argparse.Namespace) -> None:
    """Run the ablations and print the table."""
    from rem_engine.folder_lock import locked

    from ..ablation.report import check_reports, write_report
    from ..ablation.runs import Ablation, ablate
    from ..ablation.variants import VARIANTS
    from .progress import progress_bar

    ablation = Ablation(
        arguments.out,
        variants=arguments.variants or tuple(VARIANTS),
        preset=arguments.preset,
        seeds=arguments.seeds,
        steps=arguments.steps,
        jobs=arguments.jobs,
    )
    with locked(arguments.out, "name another --out"):
        check_reports(arguments.out)
        with progress_bar() as bar:
            results = ablate(ablation, bar)
        print(write_report(arguments.out, results))


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in text.split(",") if name))
