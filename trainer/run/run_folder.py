"""What a run was started with, kept in its folder, so that it goes on with the same, or with what may be other."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field

from rem_engine.whole_files import written_whole

from ..settings import TrainSettings, dump_settings, load_settings
from .changes import accepted_changes
from .records import read_record

_log = logging.getLogger(__name__)

SETTINGS_FILE = "settings.yaml"
"""The settings of a run, in the form of a preset."""
START_FILE = "start.json"
"""What a run began from: see `Start`."""
CHECKPOINTS = "checkpoints"
LOGS = "logs"
CACHE = "cache"
FRAMES = "frames"
"""In the cache: frames and masks at the model's size."""


@dataclass(frozen=True)
class Start:
    """What training begins from, beside its settings.

    Attributes:
        model: folder of the base model.
        checkpoint: weights laid over it, several in their order, or None.
        world_size: processes that share a step; their batches together are the global batch. (Older runs call it
            processes.)
        samples: how many each source held, of all streams and the evaluation; None where older runs noted none.
    """

    model: str
    checkpoint: str | list[str] | None
    world_size: Annotated[int, Field(ge=1, validation_alias=AliasChoices("world_size", "processes"))]
    samples: list[int] | None = None


def claim_run_folder(folder: Path, start: Start, settings: TrainSettings, resume: bool, extend: bool = False) -> None:
    """Make the folder of a new run, or make sure that the run in it is the one that is asked for.

    Where it goes on with what changes no weight, or is extended, that is said in the log and kept in the folder.

    Args:
        folder: of the run.
        start, settings: what is asked for.
        resume: go on with the run that is there.
        extend: more steps, or another schedule, are no other run.

    Raises:
        ValueError: there is a run already and `resume` is off; it was started with something else, which the message
            names; or there are settings that are no run's.
    """
    if (folder / START_FILE).is_file():
        if not resume:
            raise ValueError(f"{folder} holds a run already; go on with it by --resume, or name another folder.")
        earlier = read_start(folder)
        start = replace(start, samples=earlier.samples)
        now = {**asdict(start), **settings.model_dump(mode="json")}
        before = {**asdict(earlier), **read_settings(folder).model_dump(mode="json")}
        changes = accepted_changes(folder, before, now, extend)
        for sentence in changes:
            _log.warning("%s", sentence)
        if changes:
            _write(folder, start, settings)
        return
    dumped = dump_settings(settings).encode()
    path = folder / SETTINGS_FILE
    if path.exists() and path.read_bytes() != dumped:  # the same were written by a run killed at this point
        raise ValueError(f"{path} is of no run: move it away, or name another folder for the run.")
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, start, settings)


def check_samples(folder: Path, samples: Sequence[int], extend: bool) -> None:
    """Make sure that a run goes on with as many samples of each source as it began with; a new one notes them.

    Raises:
        ValueError: there are others, and the run is not extended.
    """
    start = read_start(folder)
    before = start.samples
    if before == list(samples):
        return
    if before is not None:
        sentence = f"the sources held {before} samples when the run began, and hold {list(samples)} now"
        if not extend:
            raise ValueError(
                f"{folder} would draw others: {sentence}; bring the data back as they were, or go on with these by "
                "--extend."
            )
        _log.warning("%s.", sentence)
    _write_start(folder, replace(start, samples=list(samples)))


def _write(folder: Path, start: Start, settings: TrainSettings) -> None:
    with written_whole(folder / SETTINGS_FILE) as path:
        path.write_bytes(dump_settings(settings).encode())
    _write_start(folder, start)


def _write_start(folder: Path, start: Start) -> None:
    with written_whole(folder / START_FILE) as path:
        path.write_text(json.dumps(asdict(start), indent=2) + "\n", encoding="utf-8")


def read_start(folder: Path) -> Start:
    """What a run began from.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: it is damaged.
    """
    path = folder / START_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no run of `python -m trainer train`; name the folder given as --out.")
    return read_record(path, Start, "name another folder, or move it away to begin anew")


def read_settings(folder: Path) -> TrainSettings:
    """The settings of a run."""
    return load_settings(folder / SETTINGS_FILE)
