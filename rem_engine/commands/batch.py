"""`python -m rem_engine batch LIST -o OUT`."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import redirect_stderr
from copy import copy
from dataclasses import replace
from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..input_files import load_json
from ..names import RUN_FILE
from ..run.naming import FIELDS
from .command_line import EXIT_ERROR, a_path
from .engine import COMMAND_LINE
from .qc import EXIT_DEFECTS, looked_over
from .segment import add_segmenting_options, asked, segment_shot

if TYPE_CHECKING:
    from ..run.batch import Outcome
    from ..run.shot_list import ListedShot
    from .progress import ProgressBar

_DESCRIPTION = """\
Segment the shots of a list one after the other, each into a folder of its own, with the model loaded once. What is
there already is left as it is, a shot that was stopped goes on, and one that fails does not stop the others.
"""
_EXAMPLES = """\
examples:
  a table of shots, with what to segment in each, and settings of single ones
    python -m rem_engine batch shots.csv -o out --write exr --qc

  an edit: the part of each source that it uses, and 8 frames more at either end
    python -m rem_engine batch cut.otio -o out -p "smoke: the smoke" --handles 8
    python -m rem_engine batch cut.edl -o out -p "smoke: the smoke" --media plates/ --fps 25

  on all GPUs of a machine, which share the list
    accelerate launch -m rem_engine batch shots.csv -o out -p "smoke: the smoke"

a CSV is written as
  shot,name,prompt,prompt 2,frames,handles,smooth
  plates/sh010,,smoke: the smoke,fire: the fire,1001-1050,8,
  plates/sh020.mov,take2,car: the red car,,,,2
shot is a path, relative to the list; all other columns may be left out. Any option of segment can be a column, on or
off for one without a value; so can show, seq and version for a template of names. A clip of an OTIO has the same in
its metadata under "rem".

OUT/batch.csv says what came of each shot. The command ends with 0 where all are done, with 2 where one failed, with 3
where --qc found something.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `batch` to the command line."""
    parser = commands.add_parser(
        "batch",
        help="segment the shots of a list",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, operation="segmenting shots", parser_of_rows=type(parser))
    add = parser.add_argument
    add("list", metavar="LIST", type=a_path, help="a .csv of shots, or an edit: .otio, or .edl (CMX 3600)")
    add("--handles", metavar="N", type=_handles, default=0, help="frames more at either end of what is asked for (0)")
    add("--only", metavar="NAME", default="", help="of its shots this one alone, by the name of its folder")
    add("--media", metavar="DIR", type=a_path, help="where sources lie that an edit does not say the place of")
    add("--fps", metavar="X", type=_rate, default=Fraction(24), help="of an EDL, which does not say it (24)")
    add_segmenting_options(parser)


def run(options: argparse.Namespace, bar: ProgressBar) -> int:
    """Segment what a list names; returns the exit code."""
    from ..run.batch import note, own_device, share_of, wait_for_others
    from ..run.shot_list import read_list
    from ..segment.load import LoadedModels

    shots = read_list(options.list, media=options.media, fps=options.fps)
    names = [shot.name for shot in shots]
    options.device = own_device(options.device)
    rows = options.parser_of_rows(prog="batch", add_help=False)
    add_segmenting_options(rows)
    models, states = LoadedModels(), set[str]()
    if options.only and options.only not in names:
        raise ValueError(f"{options.list} has no shot {options.only!r}: give one of {', '.join(names)}.")
    own = share_of([shot for shot in shots if options.only in ("", shot.name)])
    for number, shot in enumerate(own, start=1):
        bar.say(f"{shot.name} ({number} of {len(own)})")
        outcome = _done(shot, options, rows, models, bar)
        note(options.out, outcome, names)
        states.add(outcome.state)
        print(f"{outcome.name:24} {outcome.state:8} {outcome.frames:6} frames {outcome.seconds:8.1f} s  {outcome.said}")
    sys.stdout.flush()
    wait_for_others()
    return EXIT_ERROR if "failed" in states else EXIT_DEFECTS if "defects" in states else 0


def trouble_of(shot: ListedShot, options: argparse.Namespace) -> str:
    """Why a shot of a list will fail, as far as that can be told without its model; "" where nothing is seen."""
    from ..media.reading import open_shot
    from ..run.shot_list import frames_of
    from .options import plate_settings

    rows = options.parser_of_rows(prog="batch", add_help=False)
    add_segmenting_options(rows)
    try:
        if shot.trouble:
            raise ValueError(shot.trouble)
        own = _own_options(shot, options, rows)
        asked(own)
        own.frames = frames_of(shot, options.handles, plate_settings(own)) or own.frames
        with open_shot(shot.path, plate_settings(own)) as opened:
            opened.read(0, 1)
    except Exception as error:
        return COMMAND_LINE.sentence(error, "looking at shots")[0].removeprefix("error: ")
    return ""


def _done(
    shot: ListedShot, options: argparse.Namespace, rows: argparse.ArgumentParser, models: Any, bar: ProgressBar
) -> Outcome:
    """What comes of a shot, whatever stops it but Ctrl-C."""
    from ..run.batch import Outcome
    from ..run.shot_list import frames_of
    from .options import plate_settings

    started, out = time.perf_counter(), options.out / shot.name
    outcome = Outcome(shot.name, str(shot.path), "failed")
    try:
        if shot.trouble:
            raise ValueError(shot.trouble)
        own = _own_options(shot, options, rows)
        own.out = out
        if frames := frames_of(shot, options.handles, plate_settings(own)):
            own.frames = frames
        result = segment_shot(shot.path, own, bar, models.segmenter)
        outcome = replace(outcome, state="there" if result is None else "done", frames=_frames(result, out))
        if own.qc and looked_over(out, bar):
            outcome = replace(outcome, state="defects", said=f"see {out / 'qc'}")
    except Exception as error:
        sentence, _ = COMMAND_LINE.sentence(error, options.operation)
        outcome = replace(outcome, state="failed", said=sentence.removeprefix("error: "))
    bar.close()
    return replace(outcome, seconds=round(time.perf_counter() - started, 1))


def _frames(result: dict[str, Any] | None, out: Path) -> int:
    """Of a run, which where nothing was done is the one that is there already."""
    return int((load_json(out / RUN_FILE) if result is None else result)["shot"]["frames"])


def _own_options(shot: ListedShot, options: argparse.Namespace, rows: argparse.ArgumentParser) -> argparse.Namespace:
    """The options of a shot: those of all, and over them its own.

    Raises:
        ValueError: a column that is no option, or a value that one cannot have.
    """
    known = {name: copy(value) for name, value in vars(options).items()}
    if shot.prompts:
        known |= {"prompts": [], "prompts_file": None}
    line = ["-o", str(options.out), *(f"--prompt={prompt}" for prompt in shot.prompts)]
    for name, value in shot.options.items():
        if name in FIELDS:
            line.append(f"--field={name}={value}")
        elif value.lower() in ("on", "yes", "true", "off", "no", "false"):
            line += [f"--{name}"] * (value.lower() in ("on", "yes", "true"))
        else:
            line.append(f"--{name}={value}")
    if "{shot}" in options.name:
        known["fields"] = [*known["fields"], ("shot", shot.name)]
    with redirect_stderr(StringIO()) as said:
        try:
            return rows.parse_args(line, argparse.Namespace(**known))
        except SystemExit as stop:
            sentence = said.getvalue().strip().removeprefix("error: ").partition(" (see ")[0]
            raise ValueError(f"In the line of {shot.name}: {sentence}.") from stop


def _handles(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of frames: give one, such as 8")
    return int(text)


def _rate(text: str) -> Fraction:
    from ..media.timecode import exact_rate

    try:
        rate = exact_rate(float(text))
    except (ValueError, OverflowError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate: give frames per second, such as 24 or 29.97")
    return rate
