"""`python -m rem_engine farm --job JOB segment SHOT ...`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..names import GIVEN_MODES
from ..wording import number_of
from . import batch, segment
from .command_line import a_path
from .options import plate_settings

if TYPE_CHECKING:
    from ..run.farm import FarmJob, PathOfJob
    from .progress import ProgressBar

_DESCRIPTION = """\
Make a job for a farm of a command, segment or batch: an Open Job Description template, which AWS Deadline Cloud takes
as it is. Nothing is segmented, and no model is loaded.
"""
_EXAMPLES = """\
examples:
  a shot shared by tasks of 80 frames at most; a last task joins them
    python -m rem_engine farm --job job --frames-per-task 80 segment plate/ -p "smoke: the smoke" -o out --write exr

  an edit in one file, each take of it a task, on workers with a GPU
    python -m rem_engine farm --job job --find-cuts --gpus 1 segment edit.mov -p "the rain" -o out

  a list of shots, each a task
    python -m rem_engine farm --job job batch shots.csv -o out --write exr --qc

  submitted to AWS Deadline Cloud, with the Python that its workers have
    deadline bundle submit job -p Python=/opt/rem/bin/python

paths are written whole, as parameters of the job, which a farm can map; workers must see the same files. docs/farm.md
has the same commands for OpenCue, Deadline 10 and Slurm.
"""
_GIVEN = (*GIVEN_MODES, "keys")
"""Options that take a matte, after the name of a layer or not."""
_MOST_TOLD = 8  # shots of a list that will fail


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `farm` to the command line."""
    parser = commands.add_parser(
        "farm",
        help="make a farm's job of a command",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, operation="making a job", parser_of_commands=type(parser))
    add = parser.add_argument
    add("--job", metavar="JOB", type=a_path, required=True, help="folder that the job is written to")
    add("--frames-per-task", metavar="N", type=_count, default=100, help="of a shot, at most (100)")
    add("--find-cuts", action="store_true", help="look for cuts now: tasks then read their own takes alone")
    add("--gpus", metavar="N", type=_count, default=0, help="that a worker must have (0: it may have none)")
    add("of", metavar="COMMAND", nargs=argparse.REMAINDER, help="segment or batch, with all that they take")


def run(options: argparse.Namespace, bar: ProgressBar) -> int:
    """Write a job; returns the exit code."""
    from ..folder_lock import check_is_folder
    from ..run.farm import TEMPLATE, write_bundle

    said = _Said(options)
    check_is_folder(said.options.out, "name a folder to write to")
    job = _of_shot(said, options) if said.options.command == "segment" else _of_list(said, options)
    write_bundle(job, options.job)
    for doubt in _doubts(said):
        bar.say(f"warning: {doubt}")
    print(
        f"{options.job}: {number_of(len(job.tasks.values), 'task')}"
        + (", and one that joins them." if job.last else ".")
    )
    print(f"  deadline bundle submit {options.job}")
    given = " ".join(f'-p {path.name}="{path.path}"' for path in job.paths)
    step = "--step Files --run-dependencies" if job.last else f"--step {job.tasks.name}"
    print(f"  openjd run {options.job / TEMPLATE} {step} {given}")
    return 0


class _Said:
    """A command as it was given: its options, and its arguments with whole paths.

    Attributes:
        options: parsed.
        arguments: the same said again; paths stand as parameters of a job.
        paths: these.
        others: paths that stand in arguments as they are, of mattes that are given.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        plain: type[argparse.ArgumentParser] = options.parser_of_commands
        given: list[tuple[argparse.Action, list[str]]] = []

        class Listening(plain):  # type: ignore[valid-type, misc]
            def _get_values(self, action: argparse.Action, texts: list[str]) -> Any:
                if action.nargs != argparse.PARSER:
                    given.append((action, [text for text in texts if text != "--" or action.option_strings]))
                return super()._get_values(action, texts)

        parser = Listening(prog="farm ...")
        below = parser.add_subparsers(dest="command", required=True, metavar="segment|batch")
        for command in (segment, batch):
            command.add_parser(below)
        self.options = parser.parse_args(options.of)
        self.paths: list[PathOfJob] = []
        self.others: list[Path] = []
        self.arguments = [self.options.command]
        for action, texts in given:
            self.arguments += self._said(action, texts)

    def _said(self, action: argparse.Action, texts: list[str]) -> list[str]:
        texts = [self._with_whole_path(action, text) for text in texts]
        if not action.option_strings:
            return texts
        option = max(action.option_strings, key=len)
        return [f"{option}={texts[0]}"] if len(texts) == 1 else [option, *texts]

    def _with_whole_path(self, action: argparse.Action, text: str) -> str:
        if action.type is a_path:
            return self._parameter(action.dest, text)
        if "{{" in text:
            raise ValueError(f"{text!r} has two braces, which a farm would fill in: write it otherwise.")
        if action.dest == "model":
            return self._parameter("model", text) if text != "mini" and Path(text).exists() else text
        if action.dest in _GIVEN:
            from ..run.given_mattes import as_box

            name, equals, rest = text.partition("=")
            layer = "" if not equals or Path(text).exists() else f"{name}="
            matte = text.removeprefix(layer)
            if as_box(matte) is not None:
                return text
            self.others.append(Path(os.path.abspath(matte)))
            return f"{layer}{self.others[-1]}"
        return text

    def _parameter(self, dest: str, text: str) -> str:
        from ..run.farm import PathOfJob

        title = "".join(word.capitalize() for word in dest.split("_"))
        number = sum(path.name.startswith(title) for path in self.paths)
        name = f"{title}{number + 1}" if number else title
        flow = "OUT" if dest == "out" else "IN"
        self.paths.append(PathOfJob(name, Path(os.path.abspath(Path(text).expanduser())), flow))
        return f"{{{{Param.{name}}}}}"


def _of_shot(said: _Said, options: argparse.Namespace) -> FarmJob:
    from ..media.reading import open_shot
    from ..run.farm import FarmJob, TaskStep, found_cuts, parts_of
    from ..run.layout import KINDS, check_apart
    from ..run.parts import check_settings

    own = said.options
    if own.part:
        raise ValueError("The command has a --part already: leave it out, the job's tasks have each their own.")
    _, job, model = segment.asked(own)
    with open_shot(own.shot, plate_settings(own)) as shot:
        shot.read(0, 1)
        check_settings(model, shot.frame_count)
        written = [layer.name for layer in job.written_layers]
        check_apart([own.shot], own.out, written, job.numbering(shot).names.title, KINDS)
        cuts, arguments = own.cuts, said.arguments
        if options.find_cuts and cuts == "auto" and own.protocol == "shot":
            cuts = found_cuts(shot)
            arguments = [*arguments, f"--cuts={','.join(map(str, cuts)) or 'none'}"]
        parts = parts_of(shot, cuts if isinstance(cuts, tuple) else (), options.frames_per_task)
        name = f"REM {shot.numbering.names.title}: {', '.join(layer.name for layer in job.layers)}"
    tasks = TaskStep("Parts", "Part", parts, [*arguments, "--part={{Task.Param.Part}}"])
    return FarmJob(name, said.paths, tasks, arguments, options.gpus)


def _of_list(said: _Said, options: argparse.Namespace) -> FarmJob:
    from ..run.farm import FarmJob, TaskStep
    from ..run.shot_list import read_list

    own = said.options
    if own.only:
        raise ValueError("The command has an --only already: leave it out, the job's tasks have each their own.")
    names = [shot.name for shot in read_list(own.list, media=own.media, fps=own.fps)]
    tasks = TaskStep("Shots", "Shot", names, [*said.arguments, "--only={{Task.Param.Shot}}"])
    return FarmJob(f"REM {own.list.name}", said.paths, tasks, gpus=options.gpus)


def _doubts(said: _Said) -> list[str]:
    """What tasks would fail of, as far as it is seen from here, a sentence each: workers may have other disks."""
    from ..checkpoints.nested import chosen_part

    own, doubts = said.options, list[str]()
    models = [] if own.model == "mini" else [Path(own.model)]
    for named in (*models, *(chosen_part(path)[0] for path in own.checkpoint or ()), *said.others):
        path = named.expanduser().absolute()
        if not path.exists():
            doubts.append(
                f"{path} is not on this machine, and no task goes without it: have it where the workers look."
            )
    out = own.out.expanduser().absolute()
    if not os.access(next(place for place in (out, *out.parents) if place.exists()), os.W_OK):
        doubts.append(f"{out} cannot be written from this machine, and all tasks write to it.")
    return doubts + (_troubles(own) if own.command == "batch" else [])


def _troubles(own: argparse.Namespace) -> list[str]:
    """Shots of a list whose tasks will fail, a sentence each, and one for those beyond the first few."""
    from ..run.shot_list import read_list

    listed = ((shot.name, batch.trouble_of(shot, own)) for shot in read_list(own.list, media=own.media, fps=own.fps))
    told = [f"{name} will fail as seen from this machine: {trouble}" for name, trouble in listed if trouble]
    rest = len(told) - _MOST_TOLD
    return [*told[:_MOST_TOLD], f"{number_of(rest, 'shot')} more will fail, too."] if rest > 0 else told


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number: give one of 1 and more")
    return int(text)
