"""A run of SegmentShot with all its inputs: a shot into a folder of files, or several, each into one of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import comfy.model_management
import numpy as np
from comfy_api.latest import io
from torch import Tensor

from ...rem_engine.content_hash import content_hash
from ...rem_engine.frames import ReopenableFrames
from ...rem_engine.layers import Layer, combined_layers
from ...rem_engine.matte import MatteSettings
from ...rem_engine.media.plate_settings import PlateSettings
from ...rem_engine.media.shot import Shot
from ...rem_engine.progress import Unit
from ...rem_engine.run.delivery_settings import DeliverySettings
from ...rem_engine.run.fingerprint import settings_hash
from ...rem_engine.run.output import claimed
from ...rem_engine.run.pipeline import numbering_of
from ...rem_engine.run.segment_job import SegmentJob
from ...rem_engine.run.segment_run import segment_to_output
from ...rem_engine.segment.segmenter import Segmenter
from ...rem_engine.segment.settings import MaskSettings
from ...rem_engine.wording import number_of
from ..widgets.delivery import DEFAULT_PREFIX, name_by_template, rate_of
from ..widgets.plate import plate_settings
from ..widgets.segment import legend, provenance_of
from .batch import WHOLE, open_batch, settings_key, shots_of
from .given import given_mattes
from .inputs import StreamedShot, file_shot, input_shot_path
from .matte_preview import MattePreview
from .outputs import earlier_preview, graph_of, lay_beside, removed_if_empty, written_output
from .schema import NodeProgress


@dataclass(frozen=True)
class Written:
    """What is shown and said of a shot; `preview` is {} of one that was there already."""

    preview: dict[str, Any]
    notes: list[str]


@dataclass(frozen=True)
class ShotRun:
    """A run of the node with everything but its shot."""

    node: type[io.ComfyNode]
    segmenter: Segmenter
    layers: tuple[Layer, ...]
    embeds: Tensor
    delivery: DeliverySettings
    matte: MatteSettings
    masks: MaskSettings
    values: Mapping[str, Any]
    fps: float

    @property
    def plate(self) -> PlateSettings:
        return plate_settings(self.values)

    def write(
        self,
        shot: StreamedShot,
        folder: Path,
        name: Callable[[ReopenableFrames], str],
        title: str = "",
        key: str | None = None,
    ) -> Written:
        """Segment a shot into a folder.

        Args:
            shot: it.
            folder: for its files.
            name: with what their names begin; "" is the shot's own.
            title: stands before what is said of how it goes.
            key: of the settings, where a run that was stopped is to be gone on with.

        Raises:
            ValueError, OSError, RuntimeError: as `segment_to_output` and `given_mattes`; a rate that is none.
        """
        graph = graph_of(self.node)
        layers = combined_layers(self.layers, self.masks.combine)
        colours = [layer.colour for layer in layers]
        info = replace(shot.info, fps=shot.info.fps or rate_of(self.fps))
        progress = _ShotProgress(self.node, title)
        provenance = replace(provenance_of(self.segmenter, shot.source), graph=graph)
        with closing(shot.open()) as frames:
            if key is not None and isinstance(frames, Shot):
                fingerprint = settings_hash({"settings": key, "shot": shot.source}, frames.files)
                provenance = replace(provenance, fingerprint=fingerprint, plate=content_hash(frames.files))
            progress.frames = frames.frame_count
            given = given_mattes(self.values, frames, len(self.layers))
            job = SegmentJob(
                folder,
                self.layers,
                name(frames),
                self.delivery.kinds,
                self.masks,
                matte=self.matte,
                delivery=self.delivery,
                device=comfy.model_management.get_torch_device(),
                info=info,
                provenance=provenance,
                plate=self.plate,
                hints=given if given.mattes else None,
            )
            with claimed(job.claim(frames)) as output:
                if output.is_there:
                    return Written({}, [])
                names, size = legend(layers), (info.height, info.width)
                preview = MattePreview(names, *size, info.fps, "overlay", progress, colours, graph)

                def show(index: int, plate: np.ndarray, soft: np.ndarray) -> None:
                    preview.add(plate, soft)

                with closing(preview):
                    run = segment_to_output(
                        self.segmenter,
                        frames,
                        job,
                        output,
                        prompt_embeds=self.embeds,
                        progress=progress,
                        viewer=show,
                    )
        shown = preview.ui()
        lay_beside(folder, shown, graph)
        return Written(shown, [*run["shot"].get("notes", ()), *(warning["sentence"] for warning in run["warnings"])])


def run_batch(run: ShotRun, shots: str, prefix: str) -> io.NodeOutput:
    """Several shots, each to a folder of its own in one that a later run of the same settings goes on with.

    Raises:
        ValueError: not one of them could be written.
    """
    listed, notes = shots_of(shots)
    key = settings_key(run.node, "shots")
    batch = open_batch(prefix, key)
    preview: dict[str, Any] = {}
    failed, written = [], 0
    for number, name in enumerate(listed, start=1):
        folder, title = batch.folder_of(name), f"Shot {number} of {len(listed)}: {name}"
        batch.note(name, "")
        try:
            named = partial(name_of_files, "", prefix, run.values.get("file_names", ""), batch.folder)
            with removed_if_empty(folder):
                done = run.write(file_shot(input_shot_path(name), run.plate), folder, named, title, key)
        except (ValueError, OSError, RuntimeError) as error:  # the others do not wait for it
            failed.append(f"{name} failed: {error}")
            batch.note(name, str(error))
            continue
        batch.note(name, WHOLE)
        written += bool(done.preview)
        preview = done.preview or preview or earlier_preview(folder)
        notes += [f"{name}: {note}" for note in done.notes]
    if len(failed) == len(listed):
        raise ValueError("\n".join(["No shot could be written.", *failed]))
    there = len(listed) - len(failed) - written
    counts = [f"{written} written", *([f"{there} there already"] if there else [])]
    if failed:
        counts.append(f"{len(failed)} failed; run again once that is mended, what is there stays")
    told = f"{number_of(len(listed), 'shot')}: {', '.join(counts)}."
    return written_output(batch.folder, preview, run.node, [told, *failed, *notes])


def name_of_files(name: str, prefix: str, template: str, folder: Path, frames: ReopenableFrames) -> str:
    """With what the names of files begin, for a job; "" keeps a sequence's own where nobody has chosen another.

    Args:
        name: by the prefix; "" for the shot's own.
        prefix: as the widget has it, whose default counts as no choice.
        template: see `name_by_template`.
        folder: of the run, or of several.
        frames: the shot.
    """
    numbering = numbering_of(frames)
    chosen = "" if prefix == DEFAULT_PREFIX and numbering.own else name
    return name_by_template(template, folder, chosen or numbering.names.title) if template.strip() else chosen


class _ShotProgress(NodeProgress):
    """Half of the node's bar is for what the model has seen, and half for what is written."""

    _PARTS = 1000

    def __init__(self, node: type[io.ComfyNode], title: str = "") -> None:
        super().__init__(node)
        self._title = title
        self._shares: dict[Unit, float] = {}
        if title:
            self.say("")

    def say(self, text: str) -> None:
        super().say("\n".join(filter(None, [self._title, text])))

    def update(self, unit: Unit, done: int, total: int) -> None:
        if unit == "shapes":
            super().update(unit, done, total)
            return
        self._shares[unit] = done / total
        super().update(unit, round(self._PARTS * sum(self._shares.values()) / 2), self._PARTS)
