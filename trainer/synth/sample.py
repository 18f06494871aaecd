"""The shot the pack ships: real footage with rendered things composited in."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from rem_engine.media import open_shot
from rem_engine.pixels import to_uint8
from rem_engine.whole_files import written_whole

from .scene import Thing, render

FIRST_FRAME, FRAMES = 40, 72
HEIGHT, WIDTH = 360, 640
THINGS = [
    Thing("smoke", "right", (0.80, 0.42), 0.34, seed=5),
    Thing("star", None, (0.57, 0.26), 0.15, seed=2, colour="red", size="medium", motion="rotating"),
    Thing("circle", None, (0.50, 0.80), 0.14, seed=3, colour="orange", size="medium", motion="right"),
]
"""What `make demo` asks for: all of combinations that REM-mini was trained on."""


def sample_frames(clip: Path) -> np.ndarray:
    """uint8 [72,360,640,3]: frames of a clip with `THINGS` over them.

    Raises:
        ValueError: the clip is too short.
    """
    with open_shot(clip) as shot:
        if shot.frame_count < FIRST_FRAME + FRAMES:
            raise ValueError(f"{clip} has {shot.frame_count} frames; the sample shot needs {FIRST_FRAME + FRAMES}.")
        plate = shot.read(FIRST_FRAME, FIRST_FRAME + FRAMES)
    small = np.stack([cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for frame in plate])
    return to_uint8(render(THINGS, small.astype(np.float32) / 255).frames)


def write_sample(clip: Path, path: Path) -> None:
    """Encode `sample_frames` as H.264 at 24 frames a second."""
    import av

    with written_whole(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(24), options={"crf": "23", "preset": "veryslow"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in sample_frames(clip):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
