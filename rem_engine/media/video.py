"""Video files, through PyAV (FFmpeg)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..input_files import told_as_damage
from ..memory import check_fits
from .colour import video_tags
from .shot import Shot, check_frame_size

# Containers whose header tells how long the shot should be, and how.
_COUNTING_CONTAINERS = ("mov",)
_TIMING_CONTAINERS = ("avi", "matroska")
# Seconds; less than that missing at the end is a matter of rounding or of another stream's last packet.
_SHORTFALL = 0.25

# Of memory a pixel takes at least: the decoder's picture, and the frame as float32.
_BYTES = 16
_ADVICE = "the file is truncated or damaged, copy or export it again."


class VideoShot(Shot):
    """A video file, decoded forward; its first frame is decoded on opening.

    Files of up to 8 bits a channel are read as uint8, deeper ones (ProRes, DNxHR, 10-bit HEVC, ...) as float32.
    Colours go through FFmpeg's own conversion by the file's matrix and range tags; transfer functions (log, PQ, HLG)
    are left as they are.
    """

    def __init__(self, path: Path) -> None:
        """Raises ValueError for a file that is no video, holds no frame, or is too small."""
        super().__init__()
        self.name, self.files = path.stem, (path,)
        self._path = path
        self._container: InputContainer | None = None
        self._frames: Iterator[VideoFrame] = iter(())
        self._next = 0
        self._reopen()
        first = self._decode_next(0)
        self._first: VideoFrame | None = first
        with told_as_ffmpegs_damage(f"{path.name} cannot be read as a video: {_ADVICE}"):
            turned = round(first.rotation / 90) % 2 == 1
        self.height, self.width = (first.width, first.height) if turned else (first.height, first.width)
        self.pixel_aspect = 1 / self._stored_aspect if turned else self._stored_aspect
        check_frame_size(path.name, self.height, self.width)

    @cached_property
    def frame_count(self) -> int:
        """Frames in the shot, counted on first use.

        Headers are not trusted: every frame is decoded once (without colour conversion), except in codecs whose every
        frame stands alone (ProRes, DNxHR, MJPEG, ...), where packets are counted. A file that ends before its own
        header says it should is refused.
        """
        container, stream = _open(self._path)
        with container:
            with told_as_ffmpegs_damage(f"{self._path.name} cannot be decoded to its end: {_ADVICE}"):
                frames, short = _count_frames(container, stream)
            if short:
                raise ValueError(f"{self._path.name} ends {short} its header announces: {_ADVICE}")
            return frames

    def reopen(self) -> VideoShot:
        again = VideoShot(self._path)
        if "frame_count" in vars(self):  # counting decodes the whole file
            again.frame_count = self.frame_count
        return again

    def close(self) -> None:
        super().close()
        self._first = None
        self._frames = iter(())
        if self._container is not None:
            self._container.close()
            self._container = None

    def _frame(self, index: int) -> np.ndarray:
        if index == 0 and self._first is not None:
            return self._pixels(self._first, 0)
        self._first = None
        if self._container is None or index < self._next:
            self._reopen()
        while self._next < index:
            self._decode_next(index)
        return self._pixels(self._decode_next(index), index)

    def _reopen(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container, stream = _open(self._path)
        with told_as_ffmpegs_damage(f"{self._path.name} cannot be read as a video: {_ADVICE}"):
            stream.thread_type = "AUTO"
            self.fps = stream.average_rate or stream.guessed_rate
            self.timecode = _timecode(self._container)
            self._stored_aspect = stream.sample_aspect_ratio or Fraction(1)
            codec = stream.codec_context
            self.colour = video_tags(codec.color_primaries, codec.color_trc, codec.colorspace)
            self._frames = self._container.decode(stream)
        self._next = 0

    def _decode_next(self, wanted: int) -> VideoFrame:
        with told_as_ffmpegs_damage(f"{self._path.name} cannot be decoded at frame {wanted}: {_ADVICE}"):
            frame = next(self._frames)
        self._next += 1
        return frame

    def _pixels(self, frame: VideoFrame, index: int) -> np.ndarray:
        """RGB [H,W,3] of a decoded frame, upright."""
        with told_as_ffmpegs_damage(f"{self._path.name} cannot be decoded at frame {index}: {_ADVICE}"):
            # FFmpeg gives the angle by which the stored picture has to be turned counter-clockwise.
            pixels = np.ascontiguousarray(np.rot90(rgb_pixels(frame), round(frame.rotation / 90)))
        if pixels.shape[:2] != (self.height, self.width):
            raise ValueError(
                f"{self._path.name} changes size from {self.width}x{self.height} to {pixels.shape[1]}x"
                f"{pixels.shape[0]} at frame {index}: export it at one size, or cut it there."
            )
        return pixels


def _open(path: Path) -> tuple[InputContainer, VideoStream]:
    with open(path, "rb"):  # FFmpeg's own numbers do not tell a file that may not be read from a damaged one
        pass
    with told_as_ffmpegs_damage(f"{path.name} cannot be read as a video or an image: {_ADVICE}"):
        container = av.open(path, metadata_errors="replace")
    if not container.streams.video:
        container.close()
        raise ValueError(f"{path.name} holds no pictures: it is no video, or the file is truncated.")
    stream = container.streams.video[0]
    codec = stream.codec_context
    if codec is None:
        container.close()
        raise ValueError(f"{path.name} is coded in a way that this FFmpeg does not know: export it as another kind.")
    try:
        check_fits(codec.width * codec.height * _BYTES, f"The {codec.width}x{codec.height} pixels of {path.name}")
    except ValueError:
        container.close()
        raise
    return container, stream


def rgb_pixels(frame: VideoFrame) -> np.ndarray:
    """RGB [H,W,3] of a decoded frame as it is stored: uint8, or float32 0..1 above 8 bits a channel."""
    if max(component.bits for component in frame.format.components) > 8:
        return frame.to_ndarray(format="rgb48le").astype(np.float32) / 65535.0
    return frame.to_ndarray(format="rgb24")


@contextmanager
def told_as_ffmpegs_damage(sentence: str) -> Iterator[None]:
    """`told_as_damage`, with FFmpeg's errors: some are OSErrors or MemoryErrors, by numbers that a damaged file brings
    about and not the system."""
    with told_as_damage(sentence):
        try:
            yield
        except av.FFmpegError as error:
            raise ValueError(sentence) from error


def _timecode(container: InputContainer) -> str | None:
    """The file's timecode: a track of its own (QuickTime), or a tag of the picture or of the file (Matroska, MXF)."""
    for tags in (*(stream.metadata for stream in container.streams), container.metadata):
        for name, value in tags.items():
            if name.lower() == "timecode":
                return value
    return None


def _count_frames(container: InputContainer, stream: VideoStream) -> tuple[int, str]:
    """(frames, how the file falls short of its header, for a sentence; "" where it does not)."""
    stream.thread_type = "AUTO"
    packets, frames, end, cut_off = 0, 0, 0.0, False
    for packet in container.demux():
        if packet.pts is not None and packet.time_base is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream.index != stream.index:
            continue
        if packet.size > 0:
            packets, cut_off = packets + 1, packet.is_corrupt
        if not stream.codec_context.codec.intra_only:
            frames += len(packet.decode())
        elif packet.size > 0 and not packet.is_discard:
            frames += 1
    if cut_off:
        return frames, f"within frame {packets - 1}, before the end"
    kind = container.format.name
    if kind.startswith(_COUNTING_CONTAINERS) and packets < stream.frames:
        return frames, f"after {packets} of the {stream.frames} frames"
    if kind.startswith(_TIMING_CONTAINERS):
        rate = float(stream.average_rate or Fraction(24))
        announced = max((container.duration or 0) / av.time_base, stream.frames / rate)
        if announced - end > _SHORTFALL + 2 / rate:
            return frames, f"after {end:.1f} of the {announced:.1f} seconds"
    return frames, "" if frames else "before the first of the frames"
