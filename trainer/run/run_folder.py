"""What a run was started with, kept in its folder, so that going on with other settings is refused."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, Field

from rem_engine.whole_files import written_whole

from ..settings import TrainSettings, dump_settings, load_settings
from .records import read_record

SETTINGS_FILE = "settings.yaml"
"""The settings of a run, in the form of a preset."""
START_FILE = "start.json"
"""What a run began from: see `Start`."""
CHECKPOINTS = "checkpoints"
LOGS = "logs"
CACHE = "cache"


@dataclass(frozen=True)
class Start:
    """What training begins from, beside its settings.

    Attributes:
        model: folder of the base model.
        checkpoint: weights laid over it, several in their order, or None.
        world_size: processes that share a step; their batches together are the global batch. (Older runs call it
            processes.)
    """

    model: str
    checkpoint: str | list[str] | None
    world_size: Annotated[int, Field(ge=1, validation_alias=AliasChoices("world_size", "processes"))]


def claim_run_folder(folder: Path, start: Start, settings: TrainSettings, resume: bool) -> None:
    """Make the folder of a new run, or make sure that the run in it is the one that is asked for.

    Raises:
        ValueError: there is a run already and `resume` is off; it was started with something else, which the message
            names; or there are settings that are no run's.
    """
    if (folder / START_FILE).is_file():
        if not resume:
            raise ValueError(f"{folder} holds a run already; go on with it by --resume, or name another folder.")
        earlier = _flat({**asdict(read_start(folder)), **read_settings(folder).model_dump(mode="json")})
        now = _flat({**asdict(start), **settings.model_dump(mode="json")})
        for name in (*now, *(name for name in earlier if name not in now)):
            if earlier.get(name) != now.get(name):
                raise ValueError(
                    f"{folder} was begun with {name} = {earlier.get(name)} and this command gives {now.get(name)}; "
                    "go on with the same, or name another folder."
                )
        return
    dumped = dump_settings(settings).encode()
    path = folder / SETTINGS_FILE
    if path.exists() and path.read_bytes() != dumped:  # the same were written by a run killed at this point
        raise ValueError(f"{path} is of no run: move it away, or name another folder for the run.")
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / SETTINGS_FILE) as path:
        path.write_bytes(dumped)
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


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested values under dotted names, as `--set` names them."""
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        items = enumerate(value)
    else:
        return {name: value}
    flat: dict[str, Any] = {}
    for key, inner in items:
        flat |= _flat(inner, f"{name}.{key}" if name else str(key))
    return flat
