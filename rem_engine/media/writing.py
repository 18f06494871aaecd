"""Writing masks and overlay videos; nothing half-written ever stands under its final name."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from ..whole_files import written_whole

STILLS_FPS = Fraction(24)
"""Frame rate of an overlay over stills, which have none of their own."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_bytes(data)


def mask_png(mask: np.ndarray) -> bytes:
    """A binary mask, bool [H,W], as an 8-bit grey PNG of 0 and 255."""
    return _png(mask.astype(np.uint8) * 255)


def soft_png(soft: np.ndarray) -> bytes:
    """A soft mask, float [H,W], as a 16-bit grey PNG: round(clip(soft, 0, 1) * 65535)."""
    return _png(np.rint(soft.astype(np.float64).clip(0.0, 1.0) * 65535.0).astype(np.uint16))


def _png(pixels: np.ndarray) -> bytes:
    done, data = cv2.imencode(".png", pixels)
    if not done:
        raise RuntimeError(f"A picture of shape {list(pixels.shape)} could not be written as PNG.")
    return data.tobytes()


class VideoWriter:
    """An MP4 file of 8-bit frames, for looking at: H.264 where PyAV's FFmpeg has libx264, else MPEG-4.

    yuv420p, Rec. 709; a frame with an odd side is padded by repeating its last row or column, since yuv420p halves
    both. The file is written to the path given, and is whole after `close`.
    """

    def __init__(self, path: Path, height: int, width: int, fps: Fraction | None) -> None:
        """Args: frame size in pixels; fps None for stills (24 frames per second)."""
        # Through a Python file, so that a full disk shows as the OSError it is.
        self._file = open(path, "wb")  # noqa: SIM115
        self._container = av.open(self._file, "w", format="mp4")
        codec, options = "mpeg4", {"qscale": "3", "flags": "+qscale"}
        if "libx264" in av.codecs_available:
            codec, options = "libx264", {"crf": "18", "preset": "veryfast"}
        # MPEG-4 cannot hold a rate whose parts are above 65535.
        self._stream = self._container.add_stream(codec, rate=(fps or STILLS_FPS).limit_denominator(1001))
        self._stream.options = options
        self._stream.pix_fmt = "yuv420p"
        self._padding = ((0, height % 2), (0, width % 2), (0, 0))
        self._stream.height, self._stream.width = height + height % 2, width + width % 2
        context = self._stream.codec_context
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709

    def write(self, frame: np.ndarray) -> None:
        """Append a frame, uint8 [H,W,3]."""
        padded = np.pad(frame, self._padding, mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        """Write what the encoder still holds and the index."""
        try:
            self._container.mux(self._stream.encode())
            self._container.close()
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Let go of the file without making it whole."""
        with suppress(OSError):  # on a full disk closing still tries to write what is buffered, which nobody wants
            self._file.close()
