"""A video small enough to be segmented in seconds."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

FRAMES, SIZE = 9, (64, 96)


def disc_video() -> np.ndarray:
    """Frames uint8 [T,H,W,3] of a bright disc on a dark ground."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    frames = np.full((FRAMES, *SIZE, 3), 30, np.uint8)
    for number, frame in enumerate(frames):
        frame[np.hypot(y - 30, x - 20 - 5 * number) < 15] = (230, 60, 40)
    return frames


def write_lossless(file: Path, frames: np.ndarray) -> None:
    """A file that every host's Load Video reads to the bit: of H.264 in R, G and B the newest make 0.996 of white."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("png", rate=24)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "rgb24"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
