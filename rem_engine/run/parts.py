"""Parts of a run, which tasks of a farm make on machines of their own and the run itself joins."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .. import __version__
from ..content_hash import content_hash
from ..devices import find_device, split_devices
from ..folder_lock import check_is_folder
from ..input_files import NotJson, load_json
from ..layers import texts_of
from ..media.numbering import parse_range
from ..media.reading import open_shot
from ..media.writing import write_bytes
from ..progress import SILENT, Progress
from ..segment.settings import SegmentSettings, check_cuts
from ..segment.window_masks import WindowMasks
from ..setting import settings_of
from .layout import PARTS
from .segment_job import SegmentJob

if TYPE_CHECKING:
    from ..media.shot import Shot
    from ..segment.segmenter import Segmenter

_ABOUT = "about.json"
"""In a folder of parts, what they are of, each of `described` by a hash."""


def segment_part(
    path: Path,
    part: str,
    job: SegmentJob,
    model: Mapping[str, Any],
    *,
    progress: Progress = SILENT,
    load: Callable[..., Segmenter] | None = None,
) -> tuple[int, int]:
    """Make masks of the windows that begin within some frames of a shot, and put them into `job.out` for the run of the
    same shot, prompts and settings, `segment_file`, which then has them from there: its files are those that it would
    have written alone, bit for bit where all tasks run on machines of one kind.

    Several tasks may do so at once. What is there of a task that was stopped is not made again.

    Args:
        path: of the shot.
        part: numbers of its frames, "1001-1040".
        job: of the run. What it writes, and its mattes, are left to that.
        model: arguments of `load_segmenter`, all of them.
        progress: told "steps".
        load: gives the segmenter for these arguments; None for `load_segmenter`.

    Returns:
        how many windows were made, and how many were there.

    Raises:
        ValueError, FileNotFoundError: a shot, a model or a setting that cannot be used, or no frame of the shot.
        RuntimeError: the disk is full, or there is no such device.
    """
    check_is_folder(job.out, "name a folder to write to")
    with open_shot(path, job.plate) as shot:
        shot.read(0, 1)
        check_settings(model, shot.frame_count)
        places = _places(part, shot)
        device = find_device(split_devices(model["device"])[0])
        parts = Parts(job.out, described(shot, content_hash(shot.files), job, model, device), device)
        parts.begin()
        from ..segment.load import load_segmenter

        segmenter = (load or load_segmenter)(**model)
        embeds = segmenter.encode_prompts(texts_of(job.layers))
        return segmenter.make_windows(shot, embeds, places, parts.masks, takes=shot.numbering.takes, progress=progress)


class Parts:
    """Parts of runs in OUT, in a hidden folder for each run.

    Args:
        out: the folder of the run.
        about: what the run is of, from `described`.
        device: where its masks are made.

    Attributes:
        masks: those of this run.
    """

    def __init__(self, out: Path, about: Mapping[str, str], device: torch.device) -> None:
        self._root, self._about = out / PARTS, dict(about)
        key = hashlib.sha256(json.dumps(self._about, sort_keys=True).encode()).hexdigest()[:16]
        self.masks = WindowMasks(self._root / key, device)

    def begin(self) -> None:
        """Note what they are of."""
        self.masks.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self.masks.folder / _ABOUT, json.dumps(self._about, indent=2).encode())

    def told_others(self) -> str:
        """A sentence on parts of other runs, which are not used; "" where there are none."""
        others = [place for place in sorted(self._root.iterdir()) if place.is_dir() and place != self.masks.folder]
        if not others:
            return ""
        differing = dict.fromkeys(what for place in others for what in self._differences(place))
        return (
            f"{self._root} has parts of another run, which are not used (other than here: {', '.join(differing)}): "
            "remove them once no task of that run is to come."
        )

    def remove(self) -> None:
        """Remove those of this run: it is whole."""
        shutil.rmtree(self.masks.folder, ignore_errors=True)
        with suppress(OSError):  # not empty: parts of others
            self._root.rmdir()

    def _differences(self, folder: Path) -> list[str]:
        try:
            said = load_json(folder / _ABOUT)
        except (OSError, NotJson):
            said = None
        if not isinstance(said, dict):
            return ["what they do not say"]
        return [what for what, value in self._about.items() if said.get(what) != value]


def described(
    shot: Shot, plate: str, job: SegmentJob, model: Mapping[str, Any], device: torch.device
) -> dict[str, str]:
    """What masks of windows depend on, each told by a hash; where a shot is and when it was written does not count.

    Args:
        shot, job, model: see `segment_part`.
        plate: `content_hash` of the shot's files.
        device: where its masks are made.
    """
    own = {name: value for name, value in model.items() if name in settings_of(SegmentSettings) and name != "cuts"}
    several = len(texts_of(job.layers)) > 1  # which are rounded otherwise where they go one by one
    told: dict[str, Any] = {
        "plate": [plate, shot.numbering.range, shot.plate_colour.space.digest, vars(job.plate)],
        "weights": [content_hash(model_files(model)), model["strength"], model["dtype"]],
        "prompts": texts_of(job.layers),
        "settings": [own, model["memory"] if several else ""],
        "device": device.type,
        "versions": versions(),
    }
    return {what: hashlib.sha256(str(value).encode()).hexdigest()[:16] for what, value in told.items()}


def check_settings(model: Mapping[str, Any], frame_count: int) -> None:
    """Refuse what needs no model to be seen as wrong."""
    settings = SegmentSettings(**{name: model[name] for name in settings_of(SegmentSettings)})
    if settings.cuts != "auto":
        check_cuts(settings.cuts, frame_count)


def model_files(model: Mapping[str, Any]) -> list[Path]:
    """The files of a model's folder and of its checkpoints."""
    from ..backbones.checkpoint import checkpoint_files
    from ..backbones.load import find_model_folder

    weights = sorted(file for file in find_model_folder(model["model"]).rglob("*") if file.is_file())
    return [*weights, *checkpoint_files(model["checkpoint"])]


def versions() -> dict[str, str]:
    """Of what masks are computed with."""
    packages = ("torch", "diffusers", "transformers")
    return {
        "rem_engine": __version__,
        **{package: version(package) for package in packages},
        "python": platform.python_version(),
    }


def _places(part: str, shot: Shot) -> range:
    """Places of the frames of a part."""
    wanted, numbers = parse_range(part), shot.numbering.numbers
    places = [place for place, number in enumerate(numbers) if wanted[0] <= number <= wanted[-1]]
    if not places:
        raise ValueError(f"{shot.name} has no frames {part}: give a part of {shot.numbering.range}.")
    return range(places[0], places[-1] + 1)
