"""One run of the command line: a shot on disk in, a folder of masks out."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from . import __version__
from .media.overlay import draw_overlay
from .media.reading import open_shot, shot_files
from .media.shot import Shot
from .media.writing import VideoWriter
from .memory import peak_memory_mib
from .output import OVERLAY_FILE, RunFolder
from .whole_files import written_whole

if TYPE_CHECKING:
    from .segmenter import Segmenter


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
    threshold: float = 0.5
    device: str = "auto"
    dtype: str = "auto"
    seed: int = 0
    write: tuple[str, ...] = ("masks", "soft", "overlay")


class Reporter(Protocol):
    """Where a run tells how far it is."""

    def say(self, text: str) -> None: ...
    def steps(self, done: int, total: int) -> None: ...
    def frames(self, done: int, total: int) -> None: ...


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
    from .backbone import check_prompt
    from .load import load_segmenter

    for prompt in job.prompts:
        check_prompt(prompt)
    with open_shot(job.shot) as shot:
        frame_count = shot.frame_count  # also finds a truncated file before a model is loaded
        segmenter = load_segmenter(
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
        clock = _Clock(segmenter, load=time.perf_counter() - started)
        embeds = segmenter.encode_prompts(job.prompts)
        shape = (frame_count, shot.height, shot.width)
        folder = RunFolder(job.out, job.prompts, shape, job.write, job.threshold, fingerprint(job))
        clock.earlier = folder.seconds
        if folder.frames_done:
            reporter.say(f"Going on at frame {folder.frames_done} of {frame_count}.")
        with _stopping_well(folder, clock), _overlay(job, shot) as overlay:
            for index in range(folder.frames_done if overlay else 0):
                with clock.timed("overlay"):
                    overlay.add(index, folder.read_frame(index))
            if folder.frames_done < frame_count:
                first = folder.frames_done
                chunks = segmenter.stream(shot, embeds, first_frame=first, progress=reporter.steps)
                for chunk in chunks:
                    if chunk.start == first:
                        _say_passes(reporter, segmenter.prompts_per_pass, len(job.prompts))
                    folder.notes = {"cuts": list(segmenter.cuts), "prompts_per_pass": segmenter.prompts_per_pass}
                    for soft in chunk.soft.numpy().swapaxes(0, 1):
                        with clock.timed("write"):
                            folder.write_frame(soft)
                        if overlay:
                            with clock.timed("overlay"):
                                overlay.add(folder.frames_done - 1, soft)
                    folder.save_state(clock.seconds())
                    reporter.frames(folder.frames_done, frame_count)
        if folder.notes["cuts"]:
            found = ", ".join(map(str, folder.notes["cuts"]))
            reporter.say(f"Takes begin at frames 0, {found}: no window looks across a cut.")
        with _stopping_well(folder, clock):
            return folder.finish(_describe(job, shot, segmenter, folder, clock))


def fingerprint(job: Job) -> str:
    """Equal for jobs that give equal files: the settings, and path, size and time of the shot's and model's files."""
    from .load import MINI_FOLDER

    model = MINI_FOLDER if job.model == "mini" else Path(job.model)
    weights = sorted(file for file in model.rglob("*") if file.is_file()) if model.is_dir() else []
    files = [*shot_files(job.shot.expanduser()), *weights, *([job.checkpoint] if job.checkpoint else [])]
    stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    settings = {name: str(value) for name, value in asdict(job).items() if name != "out"}
    return hashlib.sha256(json.dumps([__version__, settings, stats]).encode()).hexdigest()


def _say_passes(reporter: Reporter, together: int, count: int) -> None:
    if count > 1:
        how = f"all {count} prompts at once" if together == count else f"{together} of {count} prompts at a time"
        reporter.say(f"The denoiser takes {how}.")


class _Clock:
    """Seconds per stage, over all sittings of a run."""

    def __init__(self, segmenter: Segmenter, load: float) -> None:
        self.earlier: dict[str, float] = {}
        self._segmenter = segmenter
        self._own = {"load": load, "write": 0.0, "overlay": 0.0}

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._own[stage] += time.perf_counter() - start

    def seconds(self) -> dict[str, float]:
        now = {**self._segmenter.seconds, **self._own}
        return {stage: round(value + self.earlier.get(stage, 0.0), 3) for stage, value in now.items()}


class _Overlay:
    """Draws the overlay video; the shot is decoded a second time for it, so that no window of full-size frames has to
    be kept until its masks are there."""

    def __init__(self, job: Job, shot: Shot, path: Path) -> None:
        self._job = job
        self._shot = open_shot(job.shot)
        self._writer = VideoWriter(path, shot.height, shot.width, shot.fps)

    def add(self, index: int, soft: np.ndarray) -> None:
        frame = self._shot.read(index, index + 1)[0]
        if frame.dtype != np.uint8:
            frame = np.rint(frame * 255.0).astype(np.uint8)
        self._writer.write(draw_overlay(frame, soft, self._job.prompts, threshold=self._job.threshold))

    def close(self) -> None:
        self._shot.close()
        self._writer.close()

    def abandon(self) -> None:
        self._shot.close()
        self._writer.abandon()


@contextlib.contextmanager
def _overlay(job: Job, shot: Shot) -> Iterator[_Overlay | None]:
    if "overlay" not in job.write:
        yield None
        return
    with written_whole(job.out / OVERLAY_FILE) as temporary:
        overlay = _Overlay(job, shot, temporary)
        try:
            yield overlay
        except BaseException:  # Ctrl-C too: the file must be let go of before it can be removed
            overlay.abandon()
            raise
        overlay.close()


@contextlib.contextmanager
def _stopping_well(folder: RunFolder, clock: _Clock) -> Iterator[None]:
    """Whatever stops a run, note how far it came; a full disk and Ctrl-C get a sentence that says how to go on."""
    try:
        yield
    except BaseException as error:
        # On a full disk the note itself may not fit; the one after the last chunk then stands.
        with contextlib.suppress(OSError):
            folder.save_state(clock.seconds())
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"Interrupted. {_where_it_stands(folder)}") from None
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            sentence = f"No space is left on the disk for {folder.out}: make room. {_where_it_stands(folder)}"
            raise RuntimeError(sentence) from error
        raise


def _where_it_stands(folder: RunFolder) -> str:
    done = folder.frames_done
    if not folder.can_go_on or done == 0:
        return "The same command run again starts at the first frame."
    if done == folder.frame_count:
        return f"All {done} frames are done: the same command run again finishes the rest."
    return (
        f"Frames 0 to {done - 1} of {folder.frame_count} are done: the same command run again goes on at frame {done}."
    )


def _describe(job: Job, shot: Shot, segmenter: Segmenter, folder: RunFolder, clock: _Clock) -> dict[str, Any]:
    """run.json, less the prompts."""
    settings = {**asdict(job), "checkpoint": job.checkpoint and str(job.checkpoint)}
    for name in ("shot", "prompts", "out"):
        del settings[name]
    windows = segmenter.windows(shot.frame_count)
    settings["size"] = segmenter.plan.size_for(shot.height, shot.width)
    settings["window"] = windows[0].length
    settings["overlap"] = segmenter.plan.overlap if len(windows) > 1 else 0
    packages = ("torch", "diffusers", "transformers")
    return {
        "shot": {
            "name": shot.name,
            "path": str(job.shot),
            "frames": shot.frame_count,
            "height": shot.height,
            "width": shot.width,
            "fps": None if shot.fps is None else float(shot.fps),
        },
        "cuts": folder.notes["cuts"],
        "prompts_per_pass": folder.notes["prompts_per_pass"],
        "backbone": segmenter.backbone.name,
        "settings": settings,
        "versions": {
            "rem_engine": __version__,
            **{package: version(package) for package in packages},
            "python": platform.python_version(),
        },
        "seconds": clock.seconds(),
        "peak_memory_mib": peak_memory_mib(),
    }
