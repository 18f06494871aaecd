"""SampleShot: the shot that comes with the pack."""

from __future__ import annotations

from pathlib import Path

import torch
from comfy_api.latest import InputImpl, io

from ..rem_engine.media import open_shot
from ..rem_engine.media.timecode import STILLS_FPS
from ..rem_engine.pixels import unit_values
from .host.schema import node_schema

SAMPLE = Path(__file__).parent.parent / "assets" / "sample_shot.mp4"


class SampleShot(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="SampleShot",
            display_name="Sample Shot",
            description="The shot that comes with the pack, to try things with. Load Video reads your own.",
            search_aliases=["example video", "test footage", "demo"],
            inputs=[
                io.Int.Input(
                    "frame_limit", default=0, min=0, max=100000, tooltip="How many frames, from the first on. 0: all."
                )
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The frames, RGB."),
                io.Float.Output(display_name="fps", tooltip="Frames per second, for Create Video."),
                io.Video.Output(
                    display_name="video", tooltip="The file itself, whole and unread, for Segment Shot: no frame limit."
                ),
            ],
        )

    @classmethod
    def execute(cls, frame_limit: int) -> io.NodeOutput:
        with open_shot(SAMPLE) as shot:
            count = min(frame_limit or shot.frame_count, shot.frame_count)
            frames = torch.from_numpy(unit_values(shot.read(0, count)))
            return io.NodeOutput(frames, float(shot.fps or STILLS_FPS), InputImpl.VideoFromFile(str(SAMPLE)))
