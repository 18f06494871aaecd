"""A shot on disk and a model by its name to files, as the `segment` command does it, and goes on with it."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..devices import find_device
from ..media.reading import open_shot, shot_files
from ..progress import SILENT, Progress
from .layout import KINDS, check_apart, earlier_layers
from .segment_job import Provenance, SegmentJob, segment_to_files

if TYPE_CHECKING:
    from ..media.shot import Shot
    from ..segment.close_up import CloseUp
    from ..segment.segmenter import Segmenter


def segment_file(
    path: Path,
    prompts: Sequence[str],
    job: SegmentJob,
    model: Mapping[str, Any],
    *,
    close_up: bool = False,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Segment a shot into `job.out`; an interrupted run of the same settings there goes on where it stopped.

    Args:
        path: of the shot.
        prompts: the lines that `job.layers` were read from, for run.json.
        job: what to write; its device and provenance are left aside: the matte stage runs where the model does.
        model: arguments of `load_segmenter`, all of them.
        close_up: look twice; see `CloseUp`.
        progress: told "steps" and "frames".

    Returns:
        what run.json says.

    Raises:
        ValueError, FileNotFoundError: a shot, a model or a setting that cannot be used.
        RuntimeError: the disk is full, or there is no such device.
        KeyboardInterrupt: with a sentence that says which frames are done and how to go on.
    """
    started = time.perf_counter()
    if job.out.exists() and not job.out.is_dir():
        raise ValueError(f"{job.out} is a file: name a folder to write to.")
    from ..segment.load import load_segmenter

    with open_shot(path) as shot:
        # Of every kind, and of other layers, since what an earlier run wrote there is removed.
        written = {*(layer.name for layer in job.written_layers), *earlier_layers(job.out)}
        check_apart([path], job.out, written, shot.name, KINDS)
        frame_count = shot.frame_count  # also finds a truncated file before a model is loaded
        segmenter = _look_twice(load_segmenter(**model)) if close_up else load_segmenter(**model)
        settings = {
            "prompts": prompts,
            **model,
            "checkpoint": model["checkpoint"] and str(model["checkpoint"]),
            "close_up": close_up,
            "combine": job.combine,
            "threshold": job.threshold,
            "write": job.write,
            "matte": asdict(job.matte),
            "delivery": asdict(job.delivery),
        }
        provenance = Provenance(
            str(path),
            _fingerprint(path, settings, model),
            {"settings": settings | _chosen(segmenter, shot, frame_count), "versions": _versions()},
            time.perf_counter() - started,
        )
        job = replace(job, device=find_device(model["device"]), provenance=provenance)
        return segment_to_files(segmenter, shot, job, progress=progress)


def _look_twice(segmenter: Segmenter) -> CloseUp:
    from ..segment.close_up import CloseUp

    return CloseUp(segmenter)


def _fingerprint(path: Path, settings: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """Equal for runs that give equal files: the settings, and path, size and time of the shot's and model's files."""
    from ..backbones.load import MINI_FOLDER

    folder = MINI_FOLDER if model["model"] == "mini" else Path(model["model"])
    weights = sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else []
    files = [*shot_files(path.expanduser()), *weights, *([model["checkpoint"]] if model["checkpoint"] else [])]
    stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    described = {name: str(value) for name, value in settings.items()}
    return hashlib.sha256(json.dumps([__version__, described, stats]).encode()).hexdigest()


def _chosen(segmenter: Segmenter | CloseUp, shot: Shot, frame_count: int) -> dict[str, Any]:
    """What the model made of the settings."""
    windows = segmenter.windows(frame_count)
    return {
        "size": segmenter.plan.size_for(shot.height, shot.width),
        "window": windows[0].length,
        "overlap": segmenter.plan.overlap if len(windows) > 1 else 0,
    }


def _versions() -> dict[str, str]:
    packages = ("torch", "diffusers", "transformers")
    return {
        "rem_engine": __version__,
        **{package: version(package) for package in packages},
        "python": platform.python_version(),
    }
