"""SegmentShot: a shot of any length and prompts straight to files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import comfy.model_management
import numpy as np
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import Input, io
from torch import Tensor

from ..rem_engine.content_hash import content_hash
from ..rem_engine.frames import ReopenableFrames
from ..rem_engine.layers import Layer, combined_layers
from ..rem_engine.matte import MatteSettings
from ..rem_engine.media.plate_settings import PlateSettings
from ..rem_engine.media.shot import Shot
from ..rem_engine.progress import Unit
from ..rem_engine.run.delivery_settings import DeliverySettings
from ..rem_engine.run.fingerprint import settings_hash
from ..rem_engine.run.output import claimed
from ..rem_engine.run.pipeline import numbering_of
from ..rem_engine.run.segment_job import SegmentJob
from ..rem_engine.run.segment_run import segment_to_output
from ..rem_engine.segment.segmenter import Segmenter
from ..rem_engine.segment.settings import MaskSettings
from ..rem_engine.setting import settings_of
from ..rem_engine.wording import number_of
from .host.asked_graph import check_asked_windows
from .host.batch import WHOLE, check_batch_prefix, check_shots, lines_of, open_batch, settings_key, shots_of
from .host.conditioning import Conditioning, read_layers
from .host.given import given_inputs, given_mattes
from .host.input_listing import list_input_shots
from .host.inputs import StreamedShot, file_shot, input_shot_path, shot_stamp, video_shot
from .host.matte_preview import MattePreview
from .host.memory import give_back_memory_after_run
from .host.outputs import (
    GRAPH_OF_A_NODE,
    check_prefix,
    earlier_preview,
    graph_of,
    lay_beside,
    new_output_folder,
    removed_if_empty,
    written_output,
)
from .host.schema import NodeProgress, advanced, check_connected, node_schema
from .widgets.checks import check_level_widgets, check_window_widgets, first_mistake
from .widgets.delivery import (
    DEFAULT_PREFIX,
    check_file_names,
    delivery_settings,
    exr_form_input,
    file_names_input,
    filename_input,
    folder_outputs,
    format_inputs,
    fps_input,
    further_format_inputs,
    name_by_template,
    rate_of,
    renumber_input,
)
from .widgets.from_settings import widget
from .widgets.matte import matte_inputs, matte_settings, whole_matte_inputs
from .widgets.plate import check_plate_widgets, plate_inputs, plate_settings
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
        run = _Run(cls, segmenter, layers, embeds, delivery, matte, masks, settings, fps)
        if lines_of(shots):
            result = _run_batch(run, shots, filename_prefix)
        else:
            with _shot(video, path, run.plate) as shot:
                folder, name = new_output_folder(filename_prefix, shot.info.height, shot.info.width)
                named = partial(_name_of_files, name, filename_prefix, template, folder)
                with removed_if_empty(folder):
                    written = run.write(shot, folder, named)
            result = written_output(folder, written.preview, cls, written.notes)
        give_back_memory_after_run()
        return result


@dataclass(frozen=True)
class _Written:
    """What is shown and said of a shot; `preview` is {} of one that was there already."""

    preview: dict[str, Any]
    notes: list[str]


@dataclass(frozen=True)
class _Run:
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
    ) -> _Written:
        """Segment a shot into a folder.

        Args:
            shot: it.
            folder: for its files.
            name: with what their names begin; "" is the shot's own.
            title: stands before what is said of how it goes.
            key: of the settings, where a run that was stopped is to be gone on with.
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
                    return _Written({}, [])
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
        return _Written(shown, [*run["shot"].get("notes", ()), *(warning["sentence"] for warning in run["warnings"])])


def _run_batch(run: _Run, shots: str, prefix: str) -> io.NodeOutput:
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
            named = partial(_name_of_files, "", prefix, run.values.get("file_names", ""), batch.folder)
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


def _name_of_files(name: str, prefix: str, template: str, folder: Path, frames: ReopenableFrames) -> str:
    """With what the names of files begin, for a job; "" keeps a sequence's own where nobody has chosen another."""
    numbering = numbering_of(frames)
    chosen = "" if prefix == DEFAULT_PREFIX and numbering.own else name
    return name_by_template(template, folder, chosen or numbering.names.title) if template.strip() else chosen


@contextmanager
def _shot(video: Input.Video | None, path: str, plate: PlateSettings) -> Iterator[StreamedShot]:
    """The shot that was connected or chosen."""
    if video is not None:
        with video_shot(video, plate) as shot:
            yield shot
    else:
        yield file_shot(input_shot_path(path), plate)


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
        self._shares[unit] = done / total
        super().update(unit, round(self._PARTS * sum(self._shares.values()) / 2), self._PARTS)
