"""Writing masks and overlay videos; nothing half-written ever stands under its final name."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import av
import cv2
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from ..pixels import to_uint16
from ..whole_files import written_whole
from .colour import REC_709, ColourTags
from .fields import FieldMarker, order_option
from .made_by import png_texts
from .plate_space import SRGB_TRANSFER
from .shot import ShotInfo
from .sound import SoundForm, SoundWriter
from .timecode import STILLS_FPS

# MPEG-4 cannot hold a rate whose parts are above 65535, nor a finer tick; containers have 32 bits for either.
_FINEST_RATE = 1001
_FINEST_TICKS = {"mpeg4": Fraction(1, 60000)}
_FINEST_TICK = Fraction(1, 10_000_000)

_AFTER_HEADER = 33  # bytes of a PNG's signature and of its chunk IHDR
_RELATIVE = 1  # of rendering intents: relative colorimetric, which leaves colours as they are
_NONE: Mapping[str, str] = MappingProxyType({})


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_bytes(data)


def mask_png(mask: np.ndarray, texts: Mapping[str, str] = _NONE) -> bytes:
    """A binary mask, bool [H,W], as an 8-bit grey PNG of 0 and 255 with named texts."""
    return _png(mask.astype(np.uint8) * 255, texts)


def soft_png(soft: np.ndarray, texts: Mapping[str, str] = _NONE) -> bytes:
    """A soft mask, float [H,W], as a 16-bit grey PNG with named texts; see `to_uint16`."""
    return _png(to_uint16(soft), texts)


def ids_png(ids: np.ndarray, texts: Mapping[str, str] = _NONE) -> bytes:
    """An id map, uint8 [H,W], as an 8-bit grey PNG of its numbers with named texts."""
    return _png(ids, texts)


def rgba_png(rgb: np.ndarray, alpha: np.ndarray, tags: ColourTags | None, texts: Mapping[str, str] = _NONE) -> bytes:
    """Straight colour, float [H,W,3], and alpha, float [H,W], as a 16-bit RGBA PNG; see `to_uint16`.

    Codes of H.273 are stated in a chunk: sRGB, or cICP (PNG, third edition, 11.3.2.6) for all others.
    """
    pixels = np.empty((*alpha.shape, 4), np.uint16)
    for place, channel in enumerate((rgb[..., 2], rgb[..., 1], rgb[..., 0], alpha)):  # OpenCV's order is BGRA
        pixels[..., place] = to_uint16(channel)
    png = _png(pixels, texts)
    if tags is None:
        return png
    codes = (tags.primaries or REC_709, tags.transfer or REC_709)
    if codes == (REC_709, SRGB_TRANSFER):
        return _with_chunk(png, b"sRGB", bytes([_RELATIVE]))
    return _with_chunk(png, b"cICP", bytes([*codes, 0, 1]))  # R'G'B', full range


def _with_chunk(png: bytes, name: bytes, content: bytes) -> bytes:
    """A PNG with a chunk before its pixels."""
    chunk = len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")
    return png[:_AFTER_HEADER] + chunk + png[_AFTER_HEADER:]


def _png(pixels: np.ndarray, texts: Mapping[str, str]) -> bytes:
    done, data = cv2.imencode(".png", pixels)
    if not done:
        raise RuntimeError(f"A picture of shape {list(pixels.shape)} could not be written as PNG.")
    png = data.tobytes()
    for name, content in reversed(png_texts(texts)):
        png = _with_chunk(png, name, content)
    return png


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
        sound: SoundForm | None = None,
        texts: Mapping[str, str] = _NONE,
    ) -> None:
        """Open a file for writing.

        Args:
            path: where it is written.
            container, codec, options, pix_fmt: FFmpeg's names.
            size: (height, width) in pixels, as stored.
            info: of the shot: its rate (stills: 24 frames per second) or the time of each frame, order of fields,
                timecode, shape of pixels, and the codes of its pictures. The range is always limited.
            sound: how that of the shot is stored; None for a file without.
            texts: tags of the file.

        Raises:
            RuntimeError: PyAV's FFmpeg lacks the encoder.
        """
        if codec not in av.codecs_available:
            raise RuntimeError(f"This PyAV has no encoder {codec}: install the one from PyPI (pip install av).")
        # Through a Python file, so that a full disk shows as the OSError it is.
        self._file = open(path, "wb")  # noqa: SIM115
        # QuickTime and MPEG-4 have places for a few names; the others go where all are kept.
        kept = {"movflags": "use_metadata_tags"} if container in ("mov", "mp4") else {}
        self._container = av.open(self._file, "w", format=container, options=kept)
        self._container.metadata.update({**info.tags, **texts})
        rate = (info.fps or STILLS_FPS).limit_denominator(_FINEST_RATE)
        stream = self._container.add_stream(codec, rate=rate)
        if not isinstance(stream, VideoStream):
            raise RuntimeError(f"{codec} is no encoder of pictures.")
        self._stream = stream
        self._stream.options = dict(options)
        self._stream.pix_fmt = pix_fmt
        self._stream.height, self._stream.width = size
        # By slices where the encoder has them: each thread with a frame of its own takes as much memory again.
        self._stream.thread_type = "SLICE" if codec == "prores_ks" else "AUTO"
        self._stream.codec_context.sample_aspect_ratio = info.pixel_aspect
        self._frames, self._times = 0, info.times
        self._tick = 1 / rate
        if info.times is not None:
            self._tick = max(info.times.tick, _FINEST_TICKS.get(codec, _FINEST_TICK))
            self._stream.codec_context.time_base = self._tick
            self._stream.codec_context.flags |= Flags.frame_duration
        self._mark: FieldMarker | None = None
        if info.field_order is not None:
            self._stream.options = {**self._stream.options, "field_order": order_option(info.field_order)}
            self._stream.codec_context.flags |= Flags.interlaced_dct
            self._mark = FieldMarker(size[1], size[0], pix_fmt, info.field_order)
        if info.timecode:
            self._stream.metadata["timecode"] = info.timecode
            if reel := info.tags.get("reel_name"):  # QuickTime has it beside the timecode
                self._stream.metadata["reel_name"] = reel
        colour = info.picture_tags
        self._tags = {
            "color_primaries": colour.primaries,
            "color_trc": colour.transfer,
            "colorspace": colour.matrix,
            "color_range": ColorRange.MPEG,
        }
        for name, value in self._tags.items():
            setattr(self._stream.codec_context, name, value)
        self._sound: SoundWriter | None = None
        if info.sound is not None and sound is not None:
            self._sound = SoundWriter(self._container, info.sound, sound)

    def _encode(self, picture: av.VideoFrame) -> None:
        if self._mark is not None:
            picture = self._mark(picture)
        for name, value in self._tags.items():
            setattr(picture, name, value)  # ProRes repeats the frame's own tags in each frame
        index, self._frames = self._frames, self._frames + 1
        picture.pts, picture.time_base, end = index, self._tick, (index + 1) * self._tick
        if self._times is not None:
            start, end = self._times[index], self._times[index] + self._times.duration(index)
            picture.pts = round(start / self._tick)
            picture.duration = round(end / self._tick) - picture.pts
        self._container.mux(self._stream.encode(picture))
        if self._sound is not None:
            self._sound.write_until(end)

    def _encode_planes(self, pix_fmt: str, planes: Sequence[np.ndarray]) -> None:
        """Append a frame whose planes [h,w] are as stored, uint8 or little-endian uint16."""
        self._encode_bands(pix_fmt, [(0, planes)])

    def _encode_bands(self, pix_fmt: str, bands: Iterable[tuple[int, Sequence[np.ndarray]]]) -> None:
        """Append a frame of which rows come one band after another: the first row of each, and its planes."""
        picture = av.VideoFrame(self._stream.width, self._stream.height, pix_fmt)
        for top, planes in bands:
            for stored, plane in zip(picture.planes, planes, strict=True):
                rows = np.frombuffer(stored, plane.dtype).reshape(stored.height, -1)
                rows[top : top + plane.shape[0], : plane.shape[1]] = plane
        self._encode(picture)

    def close(self) -> None:
        """Write what the encoder still holds and the index."""
        try:
            self._container.mux(self._stream.encode())
            if self._sound is not None:
                self._sound.close()
            self._container.close()
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Let go of the file without making it whole."""
        if self._sound is not None:
            self._sound.abandon()
        with suppress(OSError):  # on a full disk closing still tries to write what is buffered, which nobody wants
            self._file.close()


class VideoWriter(VideoFile):
    """An MP4 file of 8-bit frames, for looking at: H.264 where PyAV's FFmpeg has libx264, else MPEG-4.

    yuv420p, by the matrix that is the default for its size; a frame with an odd side is padded by repeating its last
    row or column, since yuv420p halves both. With the shot's sound, in mono or stereo.
    """

    def __init__(self, path: Path, info: ShotInfo, texts: Mapping[str, str] = _NONE) -> None:
        """Args: where it is written; what is known of the shot: its size, times, shape of pixels and sound; tags."""
        codec, options = "mpeg4", {"qscale": "3", "flags": "+qscale"}
        if "libx264" in av.codecs_available:
            # Without the macroblock tree, which reads memory beyond the edge of small frames: the same frames then give
            # other bytes now and then.
            codec, options = "libx264", {"crf": "18", "preset": "veryfast", "x264-params": "mbtree=0"}
        height, width = info.height, info.width
        self._padding = ((0, height % 2), (0, width % 2), (0, 0))
        size = (height + height % 2, width + width % 2)
        info = ShotInfo(height, width, info.fps, pixel_aspect=info.pixel_aspect, times=info.times, sound=info.sound)
        super().__init__(path, "mp4", codec, options, "yuv420p", size, info, "aac", texts)

    def write(self, frame: np.ndarray) -> None:
        """Append a frame, uint8 [H,W,3]."""
        padded = np.pad(frame, self._padding, mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        matrix = self._tags["colorspace"]
        self._encode(picture.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=ColorRange.MPEG))
