"""Interlaced video: which field of a frame is shown first."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import av
from av.error import BlockingIOError as NothingYet
from av.error import EOFError as AtAnEnd
from av.video.frame import VideoFrame

from .orientation import Orientation

FieldOrder = Literal["top", "bottom"]
"""The field that is shown first: "top", with a frame's uppermost row, or "bottom"."""

# AVFieldOrder names the field that is coded first, then the one shown first: TT, BB, TB, BT.
_BY_CODE: dict[int, FieldOrder] = {2: "top", 3: "bottom", 4: "bottom", 5: "top"}


def stated_order(code: int) -> FieldOrder | None:
    """The order that a header states, by FFmpeg's code; None where it says progressive, or nothing."""
    return _BY_CODE.get(code)


def order_option(order: FieldOrder) -> str:
    """FFmpeg's name of an order, for an encoder's option `field_order`."""
    return "tt" if order == "top" else "bb"


def order_of_frame(frame: VideoFrame) -> FieldOrder | None:
    """The order that a decoded frame's own flags state; None for a progressive one."""
    if not frame.interlaced_frame:
        return None
    # PyAV gives no other way to the flag of the first field than a filter that looks at it.
    graph = _graph(frame.width, frame.height, frame.format.name, "select", "eq(interlace_type,TOPFIRST)")
    graph.vpush(frame)
    try:
        graph.vpull()
    except (NothingYet, AtAnEnd):
        return "bottom"
    return "top"


class FieldMarker:
    """Marks frames that are to be encoded as interlaced."""

    def __init__(self, width: int, height: int, pix_fmt: str, order: FieldOrder) -> None:
        self._graph = _graph(width, height, pix_fmt, "setfield", "tff" if order == "top" else "bff")

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """The frame with its mark."""
        self._graph.vpush(frame)
        return self._graph.vpull()


def seen_order(order: FieldOrder | None, orientation: Orientation, height: int) -> FieldOrder | None:
    """The order of a stored picture's fields once it is turned and mirrored.

    Args:
        order: as stored.
        orientation: of the picture.
        height: as stored.

    Returns:
        None where fields run in columns then, which no file can say.
    """
    if order is None or orientation.transposed:
        return None
    if orientation.flipped and height % 2 == 0:  # the lowest row, now the uppermost, is of the other field
        return "bottom" if order == "top" else "top"
    return order


def _graph(width: int, height: int, pix_fmt: str, name: str, argument: str) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=width, height=height, format=av.VideoFormat(pix_fmt, width, height), time_base=Fraction(1, 1)
    )
    graph.link_nodes(source, graph.add(name, argument), graph.add("buffersink")).configure()
    return graph
