"""One run of the command line: a shot on disk in, a folder of masks out."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import __version__
from ..layers import CombineMode, combined_layers, parse_layers, texts_of
from ..matte import MatteSettings
from ..media.reading import open_shot, shot_files
from .delivery_settings import DeliverySettings
from .layout import DELIVERIES, check_apart, earlier_folders
from .pipeline import Order, Reporter, segment_to_files

if TYPE_CHECKING:
    from ..media.shot import Shot
    from ..segment.close_up import CloseUp
    from ..segment.segmenter import Segmenter


@dataclass(frozen=True)
class Job:
    """What to segment, how, and what to write; see `python -m rem_engine segment --help`."""

    shot: Path
    prompts: tuple[str, ...]
    out: Path
    model: str = "mini"
    checkpoint: Path | None = None
    strength: float = 1.0
    protocol: str = "shot"
    size: tuple[int, int] | None = None
    window: int | None = None
    overlap: int | None = None
    cuts: Literal["auto"] | tuple[int, ...] = "auto"
    keep_aspect: bool = False
    close_up: bool = False
    combine: CombineMode = "separate"
    threshold: float = 0.5
    device: str = "auto"
    dtype: str = "auto"
    seed: int = 0
    write: tuple[str, ...] = ("masks", "soft", "overlay")
    matte: MatteSettings = field(default_factory=MatteSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)


def run(job: Job, reporter: Reporter) -> dict[str, Any]:
    """Segment a shot into `job.out`; an interrupted run of the same job there is taken up where it stopped.

    Returns:
        what run.json says.

    Raises:
        ValueError, FileNotFoundError: a shot, a model or a setting that cannot be used.
        RuntimeError: the disk is full.
        KeyboardInterrupt: with a sentence that says which frames are done and how to go on.
    """
    started = time.perf_counter()
    if job.out.exists() and not job.out.is_dir():
        raise ValueError(f"{job.out} is a file: name a folder to write to.")
    from ..segment.load import load_segmenter

    layers = parse_layers(job.prompts)
    with open_shot(job.shot) as shot:
        # Of every kind, and of other layers, since what an earlier run wrote there is removed.
        written = {*(layer.name for layer in combined_layers(layers, job.combine)), *earlier_folders(job.out)}
        check_apart([job.shot], job.out, written, shot.name, ("masks", "soft", "npz", *DELIVERIES))
        frame_count = shot.frame_count  # also finds a truncated file before a model is loaded
        segmenter: Segmenter | CloseUp = load_segmenter(
            job.model,
            checkpoint=job.checkpoint,
            strength=job.strength,
            protocol=job.protocol,
            size=job.size,
            window=job.window,
            overlap=job.overlap,
            cuts=job.cuts,
            keep_aspect=job.keep_aspect,
            seed=job.seed,
            device=job.device,
            dtype=job.dtype,
        )
        if job.close_up:
            from ..segment.close_up import CloseUp

            segmenter = CloseUp(segmenter)
        loaded = time.perf_counter() - started
        return segment_to_files(
            segmenter,
            shot.reopen,
            shot.info,
            segmenter.encode_prompts(texts_of(layers)),
            Order(job.out, layers, shot.name, job.write, job.combine, job.threshold, job.matte, job.delivery),
            reporter,
            fingerprint=fingerprint(job),
            source=str(job.shot),
            about={"settings": _settings(job, shot, segmenter, frame_count), "versions": _versions()},
            load_seconds=loaded,
        )


def fingerprint(job: Job) -> str:
    """Equal for jobs that give equal files: the settings, and path, size and time of the shot's and model's files."""
    from ..backbones.load import MINI_FOLDER

    model = MINI_FOLDER if job.model == "mini" else Path(job.model)
    weights = sorted(file for file in model.rglob("*") if file.is_file()) if model.is_dir() else []
    files = [*shot_files(job.shot.expanduser()), *weights, *([job.checkpoint] if job.checkpoint else [])]
    stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    settings = {name: str(value) for name, value in asdict(job).items() if name != "out"}
    return hashlib.sha256(json.dumps([__version__, settings, stats]).encode()).hexdigest()


def _settings(job: Job, shot: Shot, segmenter: Segmenter | CloseUp, frame_count: int) -> dict[str, Any]:
    """The job, with what the model made of it."""
    settings = {**asdict(job), "checkpoint": job.checkpoint and str(job.checkpoint)}
    for name in ("shot", "out"):
        del settings[name]
    windows = segmenter.windows(frame_count)
    settings["size"] = segmenter.plan.size_for(shot.height, shot.width)
    settings["window"] = windows[0].length
    settings["overlap"] = segmenter.plan.overlap if len(windows) > 1 else 0
    return settings


def _versions() -> dict[str, str]:
    packages = ("torch", "diffusers", "transformers")
    return {
        "rem_engine": __version__,
        **{package: version(package) for package in packages},
        "python": platform.python_version(),
    }
