"""Writing masks and overlay videos; nothing half-written ever stands under its final name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from ..pixels import to_uint16
from ..whole_files import written_whole
from .colour import REC_709
from .shot import ShotInfo
from .timecode import STILLS_FPS


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_bytes(data)


def mask_png(mask: np.ndarray) -> bytes:
    """A binary mask, bool [H,W], as an 8-bit grey PNG of 0 and 255."""
    return _png(mask.astype(np.uint8) * 255)


def soft_png(soft: np.ndarray) -> bytes:
    """A soft mask, float [H,W], as a 16-bit grey PNG; see `to_uint16`."""
    return _png(to_uint16(soft))


def ids_png(ids: np.ndarray) -> bytes:
    """An id map, uint8 [H,W], as an 8-bit grey PNG of its numbers."""
    return _png(ids)


def rgba_png(rgb: np.ndarray, alpha: np.ndarray) -> bytes:
    """Straight colour, float [H,W,3], and alpha, float [H,W], as a 16-bit RGBA PNG; see `to_uint16`."""
    return _png(to_uint16(np.dstack([rgb[..., ::-1], alpha])))  # OpenCV's order is BGRA


def _png(pixels: np.ndarray) -> bytes:
    done, data = cv2.imencode(".png", pixels)
    if not done:
        raise RuntimeError(f"A picture of shape {list(pixels.shape)} could not be written as PNG.")
    return data.tobytes()


class VideoFile:
    """A video file that grows frame by frame, written to the path given and whole after `close`."""

    def __init__(
        self,
        path: Path,
        container: str,
        codec: str,
        options: Mapping[str, str],
        pix_fmt: str,
        size: tuple[int, int],
        info: ShotInfo,
    ) -> None:
        """Open a file for writing.

        Args:
            path: where it is written.
            container, codec, options, pix_fmt: FFmpeg's names.
            size: (height, width) in pixels, as stored.
            info: of the shot: its rate (stills: 24 frames per second), timecode, shape of pixels, and colour tags; Rec.
                709 for what they leave open. The range is always limited.

        Raises:
            RuntimeError: PyAV's FFmpeg lacks the encoder.
        """
        if codec not in av.codecs_available:
            raise RuntimeError(f"This PyAV has no encoder {codec}: install the one from PyPI (pip install av).")
        # Through a Python file, so that a full disk shows as the OSError it is.
        self._file = open(path, "wb")  # noqa: SIM115
        self._container = av.open(self._file, "w", format=container)
        # MPEG-4 cannot hold a rate whose parts are above 65535.
        stream = self._container.add_stream(codec, rate=(info.fps or STILLS_FPS).limit_denominator(1001))
        if not isinstance(stream, VideoStream):
            raise RuntimeError(f"{codec} is no encoder of pictures.")
        self._stream = stream
        self._stream.options = dict(options)
        self._stream.pix_fmt = pix_fmt
        self._stream.height, self._stream.width = size
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.sample_aspect_ratio = info.pixel_aspect
        if info.timecode:
            self._stream.metadata["timecode"] = info.timecode
        colour = info.colour
        self._tags = {
            "color_primaries": colour.primaries or REC_709,
            "color_trc": colour.transfer or REC_709,
            "colorspace": colour.matrix or REC_709,
            "color_range": ColorRange.MPEG,
        }
        for name, value in self._tags.items():
            setattr(self._stream.codec_context, name, value)

    def _encode(self, picture: av.VideoFrame) -> None:
        for name, value in self._tags.items():
            setattr(picture, name, value)  # ProRes repeats the frame's own tags in each frame
        self._container.mux(self._stream.encode(picture))

    def _encode_planes(self, pix_fmt: str, planes: Sequence[np.ndarray]) -> None:
        """Append a frame whose planes [h,w] are as stored, uint8 or little-endian uint16."""
        picture = av.VideoFrame(self._stream.width, self._stream.height, pix_fmt)
        for stored, plane in zip(picture.planes, planes, strict=True):
            rows = np.frombuffer(stored, plane.dtype).reshape(stored.height, -1)
            rows[:, : plane.shape[1]] = plane
        self._encode(picture)

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


class VideoWriter(VideoFile):
    """An MP4 file of 8-bit frames, for looking at: H.264 where PyAV's FFmpeg has libx264, else MPEG-4.

    yuv420p, Rec. 709; a frame with an odd side is padded by repeating its last row or column, since yuv420p halves
    both.
    """

    def __init__(self, path: Path, height: int, width: int, fps: Fraction | None) -> None:
        """Args: frame size in pixels; fps None for stills (24 frames per second)."""
        codec, options = "mpeg4", {"qscale": "3", "flags": "+qscale"}
        if "libx264" in av.codecs_available:
            # Without the macroblock tree, which reads memory beyond the edge of small frames: the same frames then give
            # other bytes now and then.
            codec, options = "libx264", {"crf": "18", "preset": "veryfast", "x264-params": "mbtree=0"}
        self._padding = ((0, height % 2), (0, width % 2), (0, 0))
        size = (height + height % 2, width + width % 2)
        super().__init__(path, "mp4", codec, options, "yuv420p", size, ShotInfo(height, width, fps))

    def write(self, frame: np.ndarray) -> None:
        """Append a frame, uint8 [H,W,3]."""
        padded = np.pad(frame, self._padding, mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        self._encode(
            picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
        )
