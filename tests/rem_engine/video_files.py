"""Videos as files, written by PyAV, and read back by its own decoder."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags

from rem_engine.pixels import to_uint8

MILLISECOND = Fraction(1, 1000)


def scene(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    """uint8 [T,H,W,3] that no turn and no mirror leaves as it is: red to the right, green downwards, blue with time."""
    y, x = np.mgrid[:height, :width]
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[..., 0], frames[..., 1] = 220 * x / width, 220 * y / height
    frames[..., 2] = np.linspace(20, 220, count)[:, None, None]
    return frames


def write_video(
    path: Path,
    frames: np.ndarray,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: Fraction | int = 24,
    *,
    stamps: Sequence[int] | None = None,
    tick: Fraction = MILLISECOND,
    fields: str = "",
    aspect: Fraction = Fraction(1),
    options: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    form: str | None = None,
) -> Path:
    """Frames uint8 [T,H,W,3] as a video.

    Args:
        stamps: of the frames, in ticks; None: at the rate.
        fields: "tff" or "bff" for interlaced frames.
        aspect: width of a pixel over its height.
        options: of the encoder.
        tags: of the stream.
        form: of the container, where the name does not say it.
    """
    count, height, width = frames.shape[:3]
    with av.open(path, "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate, options=dict(options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.sample_aspect_ratio = aspect
        stream.metadata.update(tags or {})
        tick = tick if stamps else 1 / Fraction(rate)
        stream.codec_context.time_base = tick
        if stamps:
            stream.codec_context.flags |= Flags.frame_duration
        mark = None
        if fields:
            stream.options = {**stream.options, "field_order": {"tff": "tt", "bff": "bb"}[fields]}
            mark = av.filter.Graph()
            source = mark.add_buffer(
                width=width, height=height, format=av.VideoFormat(pix_fmt, width, height), time_base=tick
            )
            mark.link_nodes(source, mark.add("setfield", fields), mark.add("buffersink")).configure()
        for index in range(count):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frames[index]), format="rgb24")
            picture = picture.reformat(format=pix_fmt)
            picture.pts, picture.time_base = index, tick
            if stamps:
                following = min(index + 1, count - 1)
                picture.pts, picture.duration = stamps[index], stamps[following] - stamps[following - 1]
            if mark is not None:
                mark.vpush(picture)
                picture = mark.vpull()
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def turn(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Give an MP4 the display matrix {a b 0, c d 0, 0 0 1} (ISO/IEC 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    header = data.find(b"tkhd")
    assert data[header + 4] == 0  # version 0: the matrix lies 44 bytes into the box
    one = 1 << 16
    data[header + 44 : header + 80] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def decoded(path: Path, stream: int = 0) -> list[av.VideoFrame]:
    """The frames of a stream of pictures as PyAV gives them."""
    with av.open(path) as container:
        return list(container.decode(video=stream))


def rgb(path: Path, stream: int = 0) -> np.ndarray:
    """uint8 [T,H,W,3] as stored, by FFmpeg's conversion to floats, which makes 65280/65535 of white."""
    frames = np.stack([frame.to_ndarray(format="gbrpf32le") for frame in decoded(path, stream)])
    return to_uint8(frames * np.float32(65535 / 65280))


def assert_shown(frames: np.ndarray, expected: object) -> None:
    """Frames as they were read, equal to 8-bit ones but for rounding, of chroma between its samples too."""
    difference = np.abs(to_uint8(frames).astype(int) - np.asarray(expected))
    assert difference.mean() < 1


def shown_at(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds from the first."""
    stamps = [frame.pts * frame.time_base for frame in decoded(path)]
    return [stamp - stamps[0] for stamp in stamps]


def first_field(frame: av.VideoFrame) -> str:
    """Which field of a decoded frame comes first, "" for a progressive one: by what FFmpeg's filter `fieldorder`
    leaves as it is, since it moves rows by one where the order is another."""
    if not frame.interlaced_frame:
        return ""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(source, graph.add("fieldorder", "tff"), graph.add("buffersink")).configure()
    graph.vpush(frame)
    kept = bytes(graph.vpull().planes[0]) == bytes(frame.planes[0])
    return "top" if kept else "bottom"
