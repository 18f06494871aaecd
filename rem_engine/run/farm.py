"""A command as a job of a farm: a template of Open Job Description (2023-09), in a folder that Deadline Cloud
takes as a job bundle."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..folder_lock import check_is_folder
from ..media.numbering import frame_span
from ..media.shot import Shot
from ..media.writing import write_bytes
from ..segment.model_frames import ModelFrames

TEMPLATE, VALUES = "template.json", "parameter_values.json"
"""Files of a bundle: the job, and what it is to be started with."""
PYTHON = "Python"
"""The parameter of a job that says how workers call Python."""

_MOST_TASKS = 1024  # of a step, by the specification
_LONGEST_NAME = 128


@dataclass(frozen=True)
class PathOfJob:
    """A path in a job, which a farm may map to where its workers have it.

    Attributes:
        name: of the parameter.
        path: absolute.
        flow: IN for what is read, OUT for what is written.
    """

    name: str
    path: Path
    flow: str = "IN"

    @property
    def definition(self) -> dict[str, Any]:
        """The parameter, as the template has it."""
        kind = "FILE" if self.path.is_file() else "DIRECTORY"
        there = self.flow != "IN" or self.path.exists()  # a pattern of a sequence, or one denoiser of a file, is none
        return {"name": self.name, "type": "PATH", "objectType": kind, "dataFlow": self.flow if there else "NONE"}


@dataclass(frozen=True)
class TaskStep:
    """A step of tasks that differ in one value.

    Attributes:
        name: of the step.
        parameter: what the tasks' values are called.
        values: one for each.
        arguments: of rem_engine, with `{{Task.Param.<parameter>}}`.
    """

    name: str
    parameter: str
    values: Sequence[str]
    arguments: Sequence[str]


@dataclass(frozen=True)
class FarmJob:
    """What a farm is to do.

    Attributes:
        name: of the job.
        paths: that arguments name, as `{{Param.<name>}}`.
        tasks: the step whose tasks run at once.
        last: arguments of a task that runs once all of these are done; () for none.
        gpus: that a worker must have.
    """

    name: str
    paths: Sequence[PathOfJob]
    tasks: TaskStep
    last: Sequence[str] = ()
    gpus: int = 0


def write_bundle(job: FarmJob, folder: Path) -> None:
    """Write a job as a folder that `deadline bundle submit` takes, and whose template `openjd run` runs.

    Raises:
        ValueError: the folder is a file, or has a job already; or the job is none by the specification.
        RuntimeError: openjd-model is not installed.
    """
    check_is_folder(folder, "name a folder for the job")
    for file in (TEMPLATE, VALUES):
        if (folder / file).exists():
            raise ValueError(f"{folder} has a job already ({file}): name another folder, or remove it.")
    template = _template(job)
    _check(template)
    values = [{"name": path.name, "value": str(path.path)} for path in job.paths]
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in ((TEMPLATE, template), (VALUES, {"parameterValues": values})):
        write_bytes(folder / name, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def parts_of(shot: Shot, cuts: Sequence[int], most: int) -> list[str]:
    """Ranges of a shot's frames, each within a take and of so many frames at most, evenly long in a take.

    Args:
        shot: to be shared.
        cuts: places of frames at which takes begin, beside those before which frames are missing.
        most: frames of a part.
    """
    numbers, parts = shot.numbering.numbers, []
    edges = sorted({0, *cuts, *shot.numbering.takes, len(numbers)})
    for start, stop in zip(edges, edges[1:]):
        count = -(-(stop - start) // most)
        inner = [start + (stop - start) * place // count for place in range(count + 1)]
        parts += [frame_span(numbers[first], numbers[last - 1]) for first, last in zip(inner, inner[1:])]
    return parts


def found_cuts(shot: Shot) -> tuple[int, ...]:
    """Places of frames at which takes begin, as a run finds them."""
    pixels = ModelFrames(shot, (16, 16), eight_bit=False, cuts="auto", keep_from=shot.frame_count)
    pixels.end_of_take(0, shot.frame_count)
    return pixels.cuts


def _template(job: FarmJob) -> dict[str, Any]:
    python: dict[str, Any] = {
        "name": PYTHON,
        "type": "STRING",
        "default": "python",
        "description": "How workers call the Python that has rem_engine.",
    }
    needs = {"hostRequirements": {"amounts": [{"name": "amount.worker.gpu", "min": job.gpus}]}} if job.gpus else {}
    tasks = job.tasks
    space = {"taskParameterDefinitions": [{"name": tasks.parameter, "type": "STRING", "range": [*tasks.values]}]}
    steps: list[dict[str, Any]] = [
        {"name": tasks.name, "parameterSpace": space, "script": _script(tasks.arguments), **needs}
    ]
    if job.last:
        depends = {"dependencies": [{"dependsOn": tasks.name}]}
        steps.append({"name": "Files", "script": _script(job.last), **depends, **needs})
    return {
        "specificationVersion": "jobtemplate-2023-09",
        # Two braces would be filled in.
        "name": re.sub(r"([{}])(?=\1)", r"\1 ", job.name)[:_LONGEST_NAME],
        "parameterDefinitions": [python, *(path.definition for path in job.paths)],
        "steps": steps,
    }


def _script(arguments: Sequence[str]) -> Mapping[str, Any]:
    command = {"command": f"{{{{Param.{PYTHON}}}}}", "args": ["-m", "rem_engine", *arguments]}
    return {"actions": {"onRun": command}}


def _check(template: dict[str, Any]) -> None:
    """Raise ValueError where a template is none."""
    try:
        from openjd.model import DecodeValidationError, decode_job_template
    except ImportError as error:
        raise RuntimeError(
            "openjd-model, which says whether a job is one, is not installed: pip install openjd-model."
        ) from error
    for step in template["steps"]:
        for definition in step.get("parameterSpace", {}).get("taskParameterDefinitions", ()):
            if (count := len(definition["range"])) > _MOST_TASKS:
                raise ValueError(
                    f"A job can have {_MOST_TASKS} tasks, and this one would have {count}: give each more to do, or "
                    "make several jobs of it."
                )
    try:
        decode_job_template(template=template)
    except DecodeValidationError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"Open Job Description cannot say this command ({reason}): write it otherwise.") from error
