"""A shot on disk and a model by its name to files, as the `segment` command does it, and goes on with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..content_hash import content_hash
from ..devices import find_device, split_devices
from ..folder_lock import check_is_folder
from ..layers import texts_of
from ..media.reading import open_shot
from ..progress import SILENT, Progress
from ..whole_files import check_space
from .corrections import read_keys
from .fingerprint import settings_hash
from .given_mattes import open_given
from .layout import KINDS, PARTS, check_apart
from .naming import filled, versioned
from .output import claimed
from .parts import Parts, check_settings, described, model_files, versions
from .segment_job import Provenance, SegmentJob
from .segment_run import segment_to_output

if TYPE_CHECKING:
    from ..media.shot import Shot
    from ..segment.segmenter import Segmenter


def segment_file(
    path: Path,
    prompts: Sequence[str],
    job: SegmentJob,
    model: Mapping[str, Any],
    *,
    hints: Mapping[str, Sequence[str]] | None = None,
    keys: Mapping[str, str] | None = None,
    progress: Progress = SILENT,
    load: Callable[..., Segmenter] | None = None,
) -> dict[str, Any] | None:
    """Segment a shot into `job.out`; an interrupted run of the same settings there goes on where it stopped.

    All that can be checked is checked before a model is loaded, and before anything is written.

    Args:
        path: of the shot.
        prompts: the lines that `job.layers` were read from, for run.json.
        job: what to write; its device and provenance are left aside: the matte stage runs where the model does.
        model: arguments of `load_segmenter`, all of them.
        hints: where layers may be, may not, and are, by mode, as `open_given` reads them.
        keys: where masks of single frames are, by layer, which the run will be corrected by; only looked at.
        progress: told "steps" and "frames".
        load: gives the segmenter for these arguments; None for `load_segmenter`.

    Returns:
        what run.json says; None where the same run is there already, whole, and was left as it is.

    Raises:
        ValueError, FileNotFoundError: a shot, a model or a setting that cannot be used, or files in `job.out` that are
            in the way and that no run has written.
        RuntimeError: the disk is full, there is no such device, or another run is writing to `job.out`.
        KeyboardInterrupt: with a sentence that says which frames are done and how to go on.
    """
    from ..backbones.checkpoint import checkpoint_entry

    started = time.perf_counter()
    check_is_folder(job.out, "name a folder to write to")
    with open_shot(path, job.plate) as shot:
        frame_count = shot.frame_count  # also finds a truncated file
        shot.read(0, 1)
        check_settings(model, frame_count)
        template = job.name
        job = replace(job, name=filled(template, job.fields, shot.numbering.names.title))
        given = open_given(hints or {}, [layer.name for layer in job.layers], shot, job.numbering(shot))
        next(given.frames())
        for text in (keys or {}).values():
            read_keys(text, shot, job.numbering(shot))
        device = find_device(split_devices(model["device"])[0])
        settings = {
            "prompts": prompts,
            **model,
            "checkpoint": checkpoint_entry(model["checkpoint"]),
            **asdict(job.masks),
            "write": job.write,
            "matte": asdict(job.matte),
            "delivery": asdict(job.delivery),
            "plate": asdict(job.plate),
            "name": template,
            "fields": dict(job.fields),
            "hints": {mode: [*texts] for mode, texts in (hints or {}).items()},
        }
        seen = {**settings, "space": shot.plate_colour.space.digest, "device": device.type}
        if len(texts_of(job.layers)) == 1:
            del seen["memory"]  # several prompts are rounded otherwise where they go through the denoiser one by one
        fingerprint = settings_hash(seen, [*shot.files, *given.files, *model_files(model)])
        job = replace(job, name=versioned(job.name, job.out, fingerprint, again=job.again))
        provenance = Provenance(str(path), fingerprint, content_hash(shot.files))
        job = replace(job, device=device, provenance=provenance, hints=given if given.mattes else None)
        with claimed(job.claim(shot)) as output:
            # Of every kind, and of other layers, so that no shot is ever taken out of the folder that is written to.
            written = {*(layer.name for layer in job.written_layers), *job.derived, *output.earlier_layers}
            check_apart([path, *given.files], job.out, written, job.numbering(shot).names.title, KINDS)
            parts = None
            if (job.out / PARTS).is_dir():
                parts = Parts(job.out, described(shot, provenance.plate, job, model, device), device)
            if output.is_there:
                if parts is not None:
                    parts.remove()
                return None
            _check_space(job, shot)
            if parts is not None and (others := parts.told_others()):
                progress.say(others)
            for note in given.notes:
                progress.say(note)
            from ..backbones.checkpoint import checkpoint_paths
            from ..backbones.load import find_model_folder
            from ..segment.load import load_segmenter

            segmenter = (load or load_segmenter)(**model)
            entries = {"settings": settings | _chosen(segmenter, shot, frame_count), "versions": versions()}
            provenance = replace(
                provenance,
                entries=entries,
                load_seconds=time.perf_counter() - started,
                model=find_model_folder(model["model"]).name if model["model"] != "mini" else "",
                checkpoint=", ".join(path.name for path in checkpoint_paths(model["checkpoint"])),
            )
            job = replace(job, provenance=provenance)
            made = None if parts is None else parts.masks
            run = segment_to_output(segmenter, shot, job, output, progress=progress, made=made)
            if parts is not None:
                if parts.masks.given:
                    progress.say(f"{parts.masks.given} of its windows had been made by other tasks.")
                parts.remove()
            return run


def _check_space(job: SegmentJob, shot: Shot) -> None:
    """Refuse a run whose soft.npz would fill the disk; how large what is compressed becomes only its writing tells."""
    if "npz" in job.write:
        array = len(job.written_layers) * shot.frame_count * shot.height * shot.width * 4
        # While the archives are made of the arrays, both are there.
        check_space(2 * array, f"soft.npz in {job.out}", job.out, ", or write soft in place of npz")


def _chosen(segmenter: Segmenter, shot: Shot, frame_count: int) -> dict[str, Any]:
    """What the model made of the settings."""
    windows = segmenter.windows(frame_count)
    return {
        "size": segmenter.plan.size_for(shot.height, shot.width),
        "window": windows[0].length,
        "overlap": segmenter.plan.overlap if len(windows) > 1 else 0,
    }
