"""SegmentShot: a shot of any length and prompts straight to files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import comfy.model_management
import numpy as np
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import Input, io

from ..rem_engine.frames import ReopenableFrames
from ..rem_engine.layers import combined_layers
from ..rem_engine.matte import MatteSettings
from ..rem_engine.media.plate_settings import PlateSettings
from ..rem_engine.media.timecode import exact_rate
from ..rem_engine.progress import Unit
from ..rem_engine.run.delivery_settings import DeliverySettings
from ..rem_engine.run.pipeline import numbering_of
from ..rem_engine.run.segment_job import SegmentJob, segment_to_files
from ..rem_engine.setting import settings_of
from .host.conditioning import Conditioning, read_layers
from .host.given import given_inputs, given_mattes
from .host.input_listing import list_input_shots
from .host.inputs import StreamedShot, file_shot, input_shot_path, shot_stamp, video_shot
from .host.matte_preview import MattePreview
from .host.memory import give_back_memory_after_run
from .host.outputs import GRAPH_OF_A_NODE, check_prefix, graph_of, new_output_folder, written_output
from .host.schema import NodeProgress, check_connected, node_schema
from .widgets.checks import check_level_widgets, check_window_widgets, first_mistake
from .widgets.delivery import (
    DEFAULT_PREFIX,
    delivery_settings,
    exr_form_input,
    filename_input,
    folder_outputs,
    format_inputs,
    fps_input,
    further_format_inputs,
    renumber_input,
)
from .widgets.from_settings import widget
from .widgets.matte import matte_inputs, matte_settings, whole_matte_inputs
from .widgets.plate import plate_inputs, plate_settings
from .widgets.segment import (
    SEGMENT_ALIASES,
    decoder_input,
    keep_input,
    layer_inputs,
    legend,
    make_segmenter,
    mask_settings,
    model_inputs,
    provenance_of,
    window_inputs,
)

CONNECTED = "connected video"

_MATTE_AT_FIRST = MatteSettings()
_MATTE_WIDGETS = ("black", "white", "grow", "feather", "refine", "smooth")
_LATER_MATTE_WIDGETS = (  # values of saved graphs go by their order
    "fill_holes",
    "remove_islands",
    "decontaminate",
    "gamma",
    "threshold",
    "knee",
    "refine_detail",
    "invert",
)


class SegmentShot(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        known = (*_MATTE_WIDGETS, *_LATER_MATTE_WIDGETS)
        newest = [name for name in settings_of(MatteSettings) if name not in known]
        listed = list_input_shots()
        return node_schema(
            node_id="SegmentShot",
            display_name="Segment Shot (REM)",
            description="Finds what the prompts describe in a shot of any length and writes mattes straight to files, "
            "window by window: the shot is never in memory as a whole.",
            search_aliases=[*SEGMENT_ALIASES, "long video", "stream", "exr", "prores", "batch", "deliver"],
            inputs=[
                *model_inputs(),
                io.Video.Input(
                    "video",
                    optional=True,
                    tooltip="The shot, from Load Video; it is read as a stream. Or choose one at path.",
                ),
                io.Combo.Input(
                    "path",
                    options=[CONNECTED, *listed.names],
                    default=CONNECTED,
                    tooltip="A video, or a folder of frames (EXR, DPX, TIFF, PNG, ...), in ComfyUI's input folder; or "
                    f"the video that is connected. {listed.note}".rstrip(),
                ),
                filename_input(
                    " Where it is left as it is, a sequence of frames keeps its own name: AGM_104_v001.0987.exr."
                ),
                *format_inputs(),
                fps_input("Frames per second of a folder of frames; a video keeps its own."),
                *matte_inputs(_MATTE_WIDGETS, _MATTE_AT_FIRST),
                *window_inputs(),
                *layer_inputs(),
                *further_format_inputs(),
                *matte_inputs(_LATER_MATTE_WIDGETS, _MATTE_AT_FIRST, optional=True, rare=True),
                *plate_inputs(),
                widget(settings_of(DeliverySettings)["sound"], optional=True),
                renumber_input(),
                *matte_inputs(newest, _MATTE_AT_FIRST, optional=True, rare=True),
                exr_form_input(),
                decoder_input(),
                keep_input(),
                *whole_matte_inputs(),
                *given_inputs("include", "hold_out", "add", box=True),
            ],
            outputs=folder_outputs(),
            hidden=[*GRAPH_OF_A_NODE],
            is_output_node=True,
            has_intermediate_output=True,
        )

    @classmethod
    def validate_inputs(
        cls,
        path: str | None = None,
        filename_prefix: str | None = None,
        black: float | None = None,
        white: float | None = None,
        height: int | None = None,
        width: int | None = None,
        window: int | None = None,
        overlap: int | None = None,
    ) -> bool | str:
        # What is linked is not known yet, and None.
        return first_mistake(
            lambda: None if path in (None, CONNECTED) else input_shot_path(path),
            lambda: check_prefix(filename_prefix),
            lambda: check_level_widgets(black, white),
            lambda: check_window_widgets(height, width, window, overlap),
        )

    @classmethod
    def fingerprint_inputs(cls, path: str | None, **_: object) -> object:
        # A shot rendered anew under the same name is segmented again.
        return (path, None if path in (None, CONNECTED) else shot_stamp(input_shot_path(path)))

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        vae: VAE,
        conditioning: Conditioning,
        path: str,
        filename_prefix: str,
        fps: float,
        video: Input.Video | None = None,
        decode_vae: VAE | None = None,
        **settings: Any,
    ) -> io.NodeOutput:
        check_connected(model=model, vae=vae, conditioning=conditioning)
        delivery, matte = delivery_settings(settings), matte_settings(_MATTE_AT_FIRST, settings)
        masks = mask_settings(settings)
        segmenter = make_segmenter(model, vae, decode_vae, settings)
        layers, embeds = read_layers(conditioning, segmenter.backbone.family.text_width)
        labels = legend(combined_layers(layers, masks.combine))
        plate, graph = plate_settings(settings), graph_of(cls)
        with _shot(video, path, plate) as shot:
            info = replace(shot.info, fps=shot.info.fps or exact_rate(fps))
            folder, name = new_output_folder(filename_prefix, info.height, info.width)
            progress = _ShotProgress(cls)
            preview = MattePreview(labels, info.height, info.width, info.fps, "overlay", progress)

            def show(index: int, plate: np.ndarray, soft: np.ndarray) -> None:
                preview.add(plate, soft)

            with closing(preview), closing(shot.open()) as frames:
                progress.frames = frames.frame_count
                given = given_mattes(settings, frames, len(layers))
                job = SegmentJob(
                    folder,
                    layers,
                    _name_of_files(name, filename_prefix, frames),
                    delivery.kinds,
                    masks,
                    matte=matte,
                    delivery=delivery,
                    device=comfy.model_management.get_torch_device(),
                    info=info,
                    provenance=replace(provenance_of(segmenter, shot.source), graph=graph),
                    plate=plate,
                    hints=given if given.mattes else None,
                )
                run = segment_to_files(segmenter, frames, job, prompt_embeds=embeds, progress=progress, viewer=show)
        give_back_memory_after_run()
        notes = [*run["shot"].get("notes", ()), *(warning["sentence"] for warning in run["warnings"])]
        return written_output(folder, preview.ui(), cls, graph, notes)


def _name_of_files(name: str, prefix: str, frames: ReopenableFrames) -> str:
    """With what the names of files begin, for a job; "" keeps a sequence's own where nobody has chosen another."""
    return "" if prefix == DEFAULT_PREFIX and numbering_of(frames).own else name


@contextmanager
def _shot(video: Input.Video | None, path: str, plate: PlateSettings) -> Iterator[StreamedShot]:
    """The shot that was connected or chosen."""
    if video is not None and path != CONNECTED:
        raise ValueError(
            f"A video is connected and {path!r} is chosen at path: disconnect the one, or set path to '{CONNECTED}'."
        )
    if video is not None:
        with video_shot(video, plate) as shot:
            yield shot
    elif path == CONNECTED:
        raise ValueError("There is no shot: connect a video, or choose one of ComfyUI's input folder at path.")
    else:
        yield file_shot(input_shot_path(path), plate)


class _ShotProgress(NodeProgress):
    """Half of the node's bar is for what the model has seen, and half for what is written."""

    _PARTS = 1000

    def __init__(self, node: type[io.ComfyNode]) -> None:
        super().__init__(node)
        self._shares: dict[Unit, float] = {}

    def update(self, unit: Unit, done: int, total: int) -> None:
        self._shares[unit] = done / total
        super().update(unit, round(self._PARTS * sum(self._shares.values()) / 2), self._PARTS)
