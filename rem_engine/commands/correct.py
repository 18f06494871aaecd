"""`python -m rem_engine correct OUT --layer NAME --keys FIXED`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .command_line import a_path
from .options import add_device_option

if TYPE_CHECKING:
    from ..run.correct_job import Correction
    from .progress import ProgressBar

_DESCRIPTION = """\
Correct a run of segment: give the right masks of one to four frames, and the rest of the shot follows, in seconds and
without the model.
"""

_EXAMPLES = """\
examples:
  which frames are worth correcting; their present masks are written to out/the_star/fix, to be painted over
    python -m rem_engine correct out --layer the_star --suggest 3

  the shot follows the painted masks; what is given later adds to them
    python -m rem_engine correct out --layer the_star --keys out/the_star/fix

  a mask of another program, by its alpha
    python -m rem_engine correct out --layer the_star --keys roto/star.1042.exr:A

  the last turn taken back
    python -m rem_engine correct out --layer the_star --undo

  the model taught what was corrected, as a LoRA for other takes and shots
    rem-trainer learn out --layer the_star

Masks are grey pictures, black and white ones of a palette, or the alpha of others, of the plate's size, and numbered by
the plate's frames (star.1042.png). They are taken as they are: what they leave out is not there, and an empty one says
that nothing is. To other frames of the take they are carried along the motion of the plate; a cut is never crossed, and
takes without a mask stay as they are. Further turns add masks; one for a frame that has one takes its place.

Files of masks, overlay and deliveries are made anew where the masks changed; until all are whole, the earlier ones
stay. Other layers keep every bit. The motion of the shot is found in the first turn and kept in OUT/.corrections (up to
4 GB).
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `correct` to the command line."""
    correct = commands.add_parser(
        "correct",
        help="fix a few frames, and the rest follows",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    correct.set_defaults(run=run, operation="correcting masks")
    add = correct.add_argument
    add("out", metavar="OUT", type=a_path, help="folder of a run of segment")
    add("--layer", metavar="NAME", default="", help="which of its layers; may be left out where there is one")
    what = correct.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--keys",
        metavar="MASKS[:CHANNEL]",
        help="right masks of single frames: a folder, a pattern such as fix/star.####.png, or one picture",
    )
    what.add_argument("--undo", action="store_true", help="take the last turn back")
    what.add_argument(
        "--suggest",
        metavar="N",
        type=_count,
        help="print N frames whose correction is worth most, and write their present masks to be painted over",
    )
    add("--to", metavar="DIR", type=a_path, help="where --suggest writes (OUT/NAME/fix)")
    add("--shot", metavar="SHOT", type=a_path, help="the run's shot, where it lies elsewhere now")
    add_device_option(correct)


def run(options: argparse.Namespace, bar: ProgressBar) -> int:
    """Correct a run, or say what to correct; returns the exit code."""
    from ..run.correct_job import CorrectJob, correct_files, suggest_files  # here, so that help is quick

    if options.suggest is not None:
        paths = suggest_files(options.out, options.layer, options.suggest, options.to, options.shot, bar)
        bar.close()
        for path in paths:
            print(path)
        return 0
    job = CorrectJob(options.out, options.layer, options.keys or "", options.undo, options.shot, options.device)
    done = correct_files(job, bar)
    bar.close()
    print_correction(done)
    for file in done.files if done.changed else ():
        print(options.out / file)
    return 0


def print_correction(done: Correction) -> None:
    """Say what a turn did."""
    from ..media.numbering import told_numbers

    if done.given:
        turns = "turn" if done.turns == 1 else "turns"
        print(
            f"{done.layer}: {told_numbers(done.given)} given in {done.turns} {turns}, {done.changed} frames made anew"
        )
    else:
        print(f"{done.layer}: as the model gave it, {done.changed} frames put back")


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of frames: give 1 to 1000")
    return int(text)
