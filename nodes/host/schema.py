"""What nodes need of the host to be nodes: schemas, the model folder, progress, text and pictures on a node."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
import numpy as np
import torch
from comfy_api.latest import io, ui
from PIL import Image

from ...rem_engine.media import preview_strip
from ...rem_engine.progress import Unit

CATEGORY = "ReferEverything"
MODEL_FOLDER = "rem"
_PACE_SECONDS = 1.0  # between two lines of how a run goes


def node_schema(*, search_aliases: list[str], **fields: Any) -> io.Schema:
    """An io.Schema in the pack's category; fields that the running host does not know yet are left out."""
    fields |= {"category": CATEGORY, "search_aliases": search_aliases}
    known = {field.name for field in dataclasses.fields(io.Schema)}
    return io.Schema(**{name: value for name, value in fields.items() if name in known})


def advanced(widget: io.Input) -> io.Input:
    """Fold a widget away under "advanced inputs"; the argument of that name came after ComfyUI 0.8.0."""
    widget.extra_dict["advanced"] = True
    return widget


def check_connected(**inputs: Any) -> None:
    """Raise ValueError where a socket has nothing: a graph sent to the host may hold null or a plain value there, which
    the host hands on."""
    for name, value in inputs.items():
        if value is None or isinstance(value, (bool, int, float, str, dict)):
            raise ValueError(f"Nothing is connected at {name}: connect the node that gives it.")


def register_model_folder() -> None:
    """Make `models/rem` a model folder like any other, beside those of extra_model_paths.yaml."""
    folder_paths.add_model_folder_path(MODEL_FOLDER, os.path.join(folder_paths.models_dir, MODEL_FOLDER))
    # add_model_folder_path gives a new folder no extensions, which would list every file.
    paths, _ = folder_paths.folder_names_and_paths[MODEL_FOLDER]
    folder_paths.folder_names_and_paths[MODEL_FOLDER] = (paths, folder_paths.supported_pt_extensions | {".gguf"})


def growing_input(name: str, one: io.Mask.Input, numbers: Iterable[int], tooltip: str) -> io.Input:
    """Sockets of a kind, each with a number, of which there is always one more than are connected.

    Args:
        name: of all of them together; none has to be connected.
        one: what a socket takes; they are named by it, `mask_1`.
        numbers: that they have, as many as there may be.
        tooltip: of all of them together.
    """
    names = [f"{one.id}_{number}" for number in numbers]
    # That none has to be there says `min`: a template that is optional stops ComfyUI 0.8.
    return io.Autogrow.Input(
        name, template=io.Autogrow.TemplateNames(one, names, min=0), optional=True, tooltip=tooltip
    )


class NodeProgress:
    """The engine's `Progress` on a node: moves its bar, shows lines on it, and ends the run when it was cancelled.

    Attributes:
        frames: of the shot, for how many go in a second; 0 where that says nothing.

    Raises:
        comfy.model_management.InterruptProcessingException: from `update`, after a cancel.
    """

    def __init__(self, node: type[io.ComfyNode], frames: int = 0) -> None:
        self._node, self.frames = node, frames
        self._bar = comfy.utils.ProgressBar(1)
        self._started = self._told = time.monotonic()
        self._said = ""

    def say(self, text: str) -> None:
        self._said = text
        show_text(text, self._node)

    def update(self, unit: Unit, done: int, total: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        if unit == "shapes":  # all frames are done, and the bar is full
            told = f"shapes: {done} of {total}" if done < total else ""
            show_text("\n".join(filter(None, [self._said, told])), self._node)
            return
        self._bar.update_absolute(done, total)
        now = time.monotonic()
        if 0 < done < total and now - self._told >= _PACE_SECONDS:
            self._told = now
            pace = told_pace(done / total, now - self._started, self.frames)
            show_text("\n".join(filter(None, [self._said, pace])), self._node)
        elif done >= total and self._told != self._started:
            # An empty text would leave the last one where it stands.
            show_text(self._said or f"{self.frames} frames in {_clock(now - self._started)}", self._node)

    def show(self, picture: np.ndarray) -> None:
        """Show a picture on the node until the next one or the end of the run, uint8 [H,W,3]."""
        bar = self._bar
        bar.update_absolute(bar.current, bar.total, preview=("JPEG", Image.fromarray(picture), None))


def told_pace(share: float, seconds: float, frames: int) -> str:
    """How a run goes of which a share, 0..1, took so many seconds: "3.2 frames a second, 1:05 left"."""
    told = f"{_clock(seconds * (1 - share) / share)} left"
    return f"{frames * share / seconds:.1f} frames a second, {told}" if frames else told


def _clock(seconds: float) -> str:
    """A time as "1:05", or "1:00:05"."""
    whole = round(seconds)
    minutes = f"{whole // 3600}:{whole // 60 % 60:02}" if whole >= 3600 else f"{whole // 60}"
    return f"{minutes}:{whole % 60:02}"


def show_text(text: str, node: type[io.ComfyNode]) -> None:
    """Show a line of text on a node while the graph runs; nowhere, where the host runs without its server."""
    from server import PromptServer  # what it imports need not be there before the host serves

    server = getattr(PromptServer, "instance", None)
    if server is not None and node.hidden is not None:
        server.send_progress_text(text, node.hidden.unique_id)


def strip_preview(frames: np.ndarray, node: type[io.ComfyNode]) -> ui.PreviewImage:
    """A preview of a few frames of uint8 [T,H,W,3] side by side: the host would write a PNG for each of a shot."""
    strip = torch.from_numpy(preview_strip(frames)).float() / 255.0
    return ui.PreviewImage(strip[None], cls=node)
