"""`python -m rem_engine qc OUT`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..names import QC_FOLDER
from ..setting import settings_of
from .command_line import a_path
from .options import add_option

if TYPE_CHECKING:
    from .progress import ProgressBar

EXIT_DEFECTS = 3
"""Of a run whose mattes have defects: apart from what a command ends in that could not do its work."""

_DESCRIPTION = """\
Look the mattes of a run over for defects: flicker along the motion of the plate, jumps of the area, holes, islands,
edges that were clipped, empty and full frames, missing and damaged ones, values that are no numbers, frames of which
the model was unsure, and cuts that were overlooked.
"""
_EXAMPLES = f"""\
examples:
  what a run wrote, and a page of what was found, out/{QC_FOLDER}/index.html
    python -m rem_engine qc out

  the same with a video of each layer to look it over by
    python -m rem_engine qc out --movie

It ends with 0 where nothing was found, with {EXIT_DEFECTS} where something was, with 2 where it could not look.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `qc` to the command line."""
    from ..qc.settings import QcSettings

    parser = commands.add_parser(
        "qc",
        help="look mattes over for defects",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, operation="looking mattes over")
    parser.add_argument("out", metavar="OUT", type=a_path, help="the folder that a run has written")
    parser.add_argument(
        "--movie",
        action="store_true",
        help="a video of each layer too, with frame, timecode, layer and version burnt in",
    )
    for setting in settings_of(QcSettings).values():
        add_option(parser, setting)


def add_qc_option(parser: argparse.ArgumentParser) -> None:
    """Add `--qc` to a command that writes mattes."""
    parser.add_argument(
        "--qc",
        action="store_true",
        help="look the mattes over once they are written, as the command qc does; ends with "
        f"{EXIT_DEFECTS} where something was found",
    )


def run(options: argparse.Namespace, bar: ProgressBar) -> int:
    """Look over what a run wrote; returns the exit code."""
    from ..qc.settings import QcSettings

    limits = QcSettings(**{name: getattr(options, name) for name in settings_of(QcSettings)})
    return looked_over(options.out, bar, limits, movie=options.movie)


def looked_over(out: Path, bar: ProgressBar, limits: object = None, *, movie: bool = False) -> int:
    """The exit code for what `out` holds; what was found is printed."""
    from ..qc.check import PAGE, check_run
    from ..qc.settings import QcSettings

    limits = limits if isinstance(limits, QcSettings) else QcSettings()
    report = check_run(out, limits, movie=movie, progress=bar)
    bar.close()
    for found in report.findings:
        print(found.sentence)
    if report.is_clean:
        print("No defect was found.")
    movies = [f"{layer.name}.mp4" for layer in report.written.layers] if movie else []
    for file in (PAGE, *movies):
        print(out / QC_FOLDER / file)
    return 0 if report.is_clean else EXIT_DEFECTS
