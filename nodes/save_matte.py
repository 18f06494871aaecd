"""SaveMatte: pictures and the alphas of their layers to files that compositing takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..rem_engine.matte import Frame
from ..rem_engine.media.made_by import MadeBy
from ..rem_engine.media.numbering import counted
from ..rem_engine.media.shot import ShotInfo
from ..rem_engine.run.picture_job import pictures_to_files
from ..rem_engine.run.pipeline import PlateReader
from .host.inputs import IMAGE_COLOURS, as_frames
from .host.layers import as_foregrounds, as_layers, check_layer_names, foregrounds_of, layer_names, masks_of
from .host.named_masks import growing_masks, names_of_masks
from .host.outputs import (
    GRAPH_OF_A_NODE,
    check_prefix,
    graph_of,
    lay_beside,
    new_output_folder,
    removed_if_empty,
    written_output,
)
from .host.previews import PreviewFrames, over_checker
from .host.schema import NodeProgress, check_connected, node_schema, strip_preview
from .widgets.checks import first_mistake
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
    name_by_template,
    rate_of,
)


class SaveMatte(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="SaveMatte",
            display_name="Save Matte",
            description="Writes pictures and the alphas of one or more layers for compositing: multilayer EXR, ProRes "
            "4444 or WebM with alpha, 16-bit PNG.",
            search_aliases=["exr", "prores", "openexr", "multilayer", "save alpha", "write", "webm", "png16", "export"],
            inputs=[
                io.Image.Input("image", tooltip="The shot, straight colours in 0..1; an alpha it has is left aside."),
                io.Mask.Input(
                    "mask",
                    tooltip="The alpha, a mask a frame. Several layers follow one another, as Segment Video with "
                    "prompt -1 and Mask to Alpha give them.",
                ),
                filename_input(),
                *format_inputs(),
                fps_input("Frames per second of a video; an EXR notes it too."),
                io.Image.Input(
                    "foreground",
                    optional=True,
                    tooltip="Colours of the layers without the ground, a picture a mask: the rgba of Mask to Alpha "
                    "with decontaminate and colour straight. Not connected: the shot's.",
                ),
                *(
                    io.Mask.Input(f"mask_{number}", optional=True, tooltip="Further layers, after those above.")
                    for number in (2, 3, 4)
                ),
                *further_format_inputs(),
                io.String.Input(
                    "names",
                    default="",
                    multiline=True,
                    optional=True,
                    placeholder="smoke\nfire",
                    tooltip="A name for each layer, one a line, in the order of the masks: an EXR's channels are "
                    "smoke.A, fire.A, ... Segment Video's 'layer names' fits here. Empty: those that masks of Segment "
                    "Video and Mask to Alpha bring along, or matte, matte_2, ...",
                ),
                exr_form_input(),
                growing_masks(),
                file_names_input(),
            ],
            outputs=folder_outputs(),
            hidden=[*GRAPH_OF_A_NODE],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(
        cls,
        filename_prefix: str | None = None,
        names: str | None = None,
        masks: object = None,  # the host hands on what grows, asked for or not
        file_names: str | None = None,
    ) -> bool | str:
        return first_mistake(
            lambda: check_prefix(filename_prefix),
            lambda: check_layer_names(names or ""),
            lambda: check_file_names(file_names),
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        mask: Tensor,
        filename_prefix: str,
        fps: float,
        foreground: Tensor | None = None,
        mask_2: Tensor | None = None,
        mask_3: Tensor | None = None,
        mask_4: Tensor | None = None,
        names: str = "",
        masks: Mapping[str, Tensor] | None = None,
        file_names: str | None = "",
        **delivery: Any,
    ) -> io.NodeOutput:
        check_connected(image=image, mask=mask)
        check_file_names(file_names)
        settings = delivery_settings(delivery)
        frames = as_frames(image)
        sockets = {"mask": mask, "mask_2": mask_2, "mask_3": mask_3, "mask_4": mask_4, **(masks or {})}
        connected = {socket: given for socket, given in sockets.items() if given is not None}
        layers = [layer for socket, given in connected.items() for layer in as_layers(frames, given, socket)]
        known = names_of_masks(list(connected.values()), len(layers))
        named = layer_names(names, len(layers)) if names.strip() else known
        colours = None if foreground is None else as_foregrounds(frames, foreground, len(layers))
        info = ShotInfo(frames.height, frames.width, rate_of(fps), colour=IMAGE_COLOURS)
        folder, name = new_output_folder(filename_prefix, frames.height, frames.width)
        with removed_if_empty(folder):
            numbering, preview = counted(name, frames.frame_count), PreviewFrames()
            names_of_files = name_by_template(file_names, folder, name)
            numbering = numbering.delivered(name=names_of_files, start=settings.start, digits=settings.padding)
            plates = PlateReader(frames, (), settings, shown=True)

            def pictures() -> Iterator[Frame]:
                for index in range(frames.frame_count):
                    parts = plates.read(index)
                    alpha = masks_of(layers, index)
                    straight = None if colours is None else foregrounds_of(colours, index, frames.frame_count)
                    preview.add(index, partial(over_checker, parts["plate"], alpha))
                    yield Frame(index, alpha, **parts, alpha=alpha, foreground=straight)

            graph = graph_of(cls)
            run = pictures_to_files(
                pictures(),
                folder,
                numbering,
                named,
                info,
                settings,
                made_by=MadeBy(graph=graph),
                progress=NodeProgress(cls, frames.frame_count),
            )
            shown = strip_preview(preview.frames(), cls).as_dict()
            lay_beside(folder, shown, graph)
        return written_output(folder, shown, cls, [warning["sentence"] for warning in run["warnings"]])
