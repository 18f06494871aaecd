"""SegmentShot: a shot of any length and prompts straight to files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import Input, io

from ..rem_engine.matte import MatteSettings
from ..rem_engine.media.plate_settings import PlateSettings
from ..rem_engine.run.delivery_settings import DeliverySettings
from ..rem_engine.setting import settings_of
from .host.asked_graph import check_asked_windows
from .host.batch import check_batch_prefix, check_shots, lines_of
from .host.conditioning import Conditioning, read_layers
from .host.given import given_inputs
from .host.input_listing import list_input_shots
from .host.inputs import StreamedShot, file_shot, input_shot_path, shot_stamp, video_shot
from .host.memory import give_back_memory_after_run
from .host.outputs import GRAPH_OF_A_NODE, check_prefix, new_output_folder, removed_if_empty, written_output
from .host.schema import advanced, check_connected, node_schema
from .host.shot_run import ShotRun, name_of_files, run_batch
from .widgets.checks import check_level_widgets, check_window_widgets, first_mistake
from .widgets.delivery import (
    check_file_names,
    delivery_settings,
    exr_form_input,
    file_names_input,
    filename_input,
    folder_outputs,
    format_inputs,
    fps_input,
    further_format_inputs,
    renumber_input,
)
from .widgets.from_settings import widget
from .widgets.matte import matte_inputs, matte_settings, whole_matte_inputs
from .widgets.plate import check_plate_widgets, plate_inputs
from .widgets.segment import (
    SEGMENT_ALIASES,
    decoder_input,
    keep_input,
    layer_inputs,
    make_segmenter,
    mask_settings,
    model_inputs,
    window_inputs,
)

CONNECTED = "connected video"

_NOTHING = object()  # at a socket, for the check before a run, which is given None for what is connected
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
                advanced(
                    io.String.Input(
                        "shots",
                        default="",
                        multiline=True,
                        optional=True,
                        placeholder="dailies\nAGM_104/plate.####.exr",
                        tooltip="Several shots in one run, each to a folder of its own: a video, a folder of frames or "
                        "a folder of shots in a line, in ComfyUI's input folder. A run that was cancelled is gone on "
                        "with; a shot that fails does not stop the others.",
                    )
                ),
                file_names_input(),
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
        shots: str | None = "",
        levels: object = None,
        file_names: str | None = None,
        frames: str | None = None,
        plate_space: str | None = None,
        video: object = _NOTHING,
    ) -> bool | str:
        # What is linked is not known yet, and None.
        return first_mistake(
            lambda: _check_one_source(video is not _NOTHING, path, shots),
            lambda: None if path in (None, CONNECTED) else input_shot_path(path),
            lambda: check_shots(shots),
            lambda: check_prefix(filename_prefix),
            lambda: check_batch_prefix(filename_prefix) if filename_prefix and lines_of(shots or "") else None,
            lambda: check_level_widgets(black, white, levels),
            lambda: check_window_widgets(height, width, window, overlap),
            lambda: check_asked_windows(cls),
            lambda: check_file_names(file_names),
            lambda: check_plate_widgets(frames, plate_space),
        )

    @classmethod
    def fingerprint_inputs(cls, path: str | None, shots: str | None = "", **_: object) -> object:
        if shots is None or lines_of(shots):
            return float("nan")  # equal to none: a batch looks itself what is there, and tries again what failed
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
        shots: str = "",
        **settings: Any,
    ) -> io.NodeOutput:
        check_connected(model=model, vae=vae, conditioning=conditioning)
        _check_one_source(video is not None, path or CONNECTED, shots)  # null may stand in a graph that was sent
        check_file_names(template := settings.get("file_names", ""))
        delivery, matte = delivery_settings(settings), matte_settings(_MATTE_AT_FIRST, settings)
        masks = mask_settings(settings)
        segmenter = make_segmenter(model, vae, decode_vae, settings)
        layers, embeds = read_layers(conditioning, segmenter.backbone.family.text_width)
        run = ShotRun(cls, segmenter, layers, embeds, delivery, matte, masks, settings, fps)
        if lines_of(shots):
            result = run_batch(run, shots, filename_prefix)
        else:
            with _shot(video, path, run.plate) as shot:
                folder, name = new_output_folder(filename_prefix, shot.info.height, shot.info.width)
                named = partial(name_of_files, name, filename_prefix, template, folder)
                with removed_if_empty(folder):
                    written = run.write(shot, folder, named)
            result = written_output(folder, written.preview, cls, written.notes)
        give_back_memory_after_run()
        return result


def _check_one_source(connected: bool, path: str | None, shots: str | None) -> None:
    """Raise ValueError where there is no shot, or more than one source of them; None is not known yet."""
    chosen = path not in (None, CONNECTED)
    if lines_of(shots or "") and (connected or chosen):
        raise ValueError(
            "There is a list of shots and a shot beside it: empty the list at shots, or disconnect the video and set "
            f"path to '{CONNECTED}'."
        )
    if connected and chosen:
        raise ValueError(
            f"A video is connected and {path!r} is chosen at path: disconnect the one, or set path to '{CONNECTED}'."
        )
    if not connected and path == CONNECTED and shots is not None and not lines_of(shots):
        raise ValueError("There is no shot: connect a video, or choose one of ComfyUI's input folder at path.")


@contextmanager
def _shot(video: Input.Video | None, path: str, plate: PlateSettings) -> Iterator[StreamedShot]:
    """The shot that was connected or chosen."""
    if video is not None:
        with video_shot(video, plate) as shot:
            yield shot
    else:
        yield file_shot(input_shot_path(path), plate)
