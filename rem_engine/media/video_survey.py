"""A video looked through once from end to end: how many frames there are, and when they are shown."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .fields import FieldOrder, order_of_frame
from .frame_times import Timing, read_timing
from .matroska import announced_bytes

# Containers whose header tells how long the shot should be, and how.
_COUNTING_CONTAINERS = ("mov",)
_TIMING_CONTAINERS = ("avi", "matroska")
# Seconds; less than that missing at the end is a matter of rounding or of another stream's last packet.
_SHORTFALL = 0.25


@dataclass(frozen=True)
class Survey:
    """What is known of a video once every frame of it has been seen.

    Attributes:
        frame_count: exact.
        timing: rate or times of the frames.
        start: when the first frame is shown by the file's own clock, by which its sound goes too, seconds.
        field_order: of the first frame that was decoded and is interlaced; None where none is.
        change: number, width and height of the first decoded frame, as stored, that is of another size than the first;
            None where none is.
        shortfall: how the file falls short of its header, for a sentence; "" where it does not.
        stamps: of each frame by the file's own clock, in ticks; that of the frame before it where there is none.
        tick: seconds of a tick.
    """

    frame_count: int
    timing: Timing
    start: Fraction
    field_order: FieldOrder | None
    change: tuple[int, int, int] | None
    shortfall: str
    stamps: array[int]
    tick: Fraction

    def shown_between(self, start: float, duration: float) -> list[int]:
        """Frames that are shown from `start` on, seconds of the file's own clock, for `duration` (0: to the end).

        As ComfyUI chooses those of a VIDEO that is trimmed, to the frame: both ends are cut down to a tick.
        """
        first, beyond = int(start / self.tick), int((start + duration) / self.tick)
        return [index for index, stamp in enumerate(self.stamps) if stamp >= first and (not duration or stamp < beyond)]


def survey(container: InputContainer, stream: VideoStream) -> Survey:
    """Look through a video that has just been opened.

    Headers are not trusted: every frame is decoded (without colour conversion), except in codecs whose every frame
    stands alone (ProRes, DNxHR, MJPEG, ...), where packets are counted.
    """
    stream.thread_type = "AUTO"
    seen, packets, end, cut_off = _Seen(), 0, 0.0, False
    for packet in container.demux():
        if packet.pts is not None and packet.time_base is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream.index != stream.index:
            continue
        if packet.size > 0:
            packets, cut_off = packets + 1, packet.is_corrupt
        if not stream.codec_context.codec.intra_only:
            seen.add_decoded(stream.decode(packet))
        elif packet.size > 0 and not packet.is_discard:
            seen.add(packet.pts, packet.duration)
    if cut_off:
        shortfall = f"within frame {packets - 1}, before the end"
    else:
        shortfall = _shortfall(container, stream, packets, end)
    if not seen.stamps:
        shortfall = shortfall or "before the first of the frames"
    tick = stream.time_base or Fraction(1, av.time_base)
    stated = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return Survey(
        len(seen.stamps),
        read_timing(seen.stamps, seen.duration, tick, stated),
        min((stamp for stamp in seen.stamps if stamp is not None), default=0) * tick,
        seen.field_order,
        seen.change,
        shortfall,
        array("q", _carried(seen.stamps)),
        tick,
    )


def _carried(stamps: Iterable[int | None]) -> Iterator[int]:
    last = 0
    for stamp in stamps:
        last = last if stamp is None else stamp
        yield last


class _Seen:
    """Time stamps of the frames so far."""

    def __init__(self) -> None:
        self.stamps: list[int | None] = []
        self.duration = 0
        self.field_order: FieldOrder | None = None
        self.change: tuple[int, int, int] | None = None
        self._size: tuple[int, int] | None = None

    def add(self, stamp: int | None, duration: int | None) -> None:
        self.stamps.append(stamp)
        self.duration = duration or 0

    def add_decoded(self, frames: Sequence[VideoFrame]) -> None:
        for frame in frames:
            size = (frame.width, frame.height)
            self._size = self._size or size
            if self.change is None and size != self._size:
                self.change = (len(self.stamps), *size)
            self.add(frame.pts, frame.duration)
            if self.field_order is None:
                self.field_order = order_of_frame(frame)


def _shortfall(container: InputContainer, stream: VideoStream, packets: int, end: float) -> str:
    kind = container.format.name
    if kind.startswith(_COUNTING_CONTAINERS) and packets < stream.frames:
        return f"after {packets} of the {stream.frames} frames"
    if kind.startswith(_TIMING_CONTAINERS):
        rate = float(stream.average_rate or Fraction(24))
        announced = max((container.duration or 0) / av.time_base, stream.frames / rate)
        if announced - end > (0.5 / rate if _is_cut(Path(container.name)) else _SHORTFALL + 2 / rate):
            return f"after {end:.2f} of the {announced:.2f} seconds"
    return ""


def _is_cut(path: Path) -> bool:
    """Whether a Matroska or AVI file is shorter than its outermost element, so that nothing is a matter of rounding."""
    with open(path, "rb") as file:
        head = file.read(1 << 10)
    announced = announced_bytes(head)
    if head[:4] == b"RIFF" and (size := int.from_bytes(head[4:8], "little")) not in (0, 0xFFFFFFFF):
        announced = 8 + size
    return announced is not None and path.stat().st_size < announced
