"""Widgets of a delivery, which SaveMatte and SegmentShot share, and the engine's settings made of them."""

from __future__ import annotations

from fractions import Fraction

from comfy_api.latest import io

from ...rem_engine.run.delivery import DeliverySettings
from ..host.schema import advanced

NOTHING = "none"
_FORMATS = ("exr", "prores", "webm", "png16", "alpha")
_NTSC_TOLERANCE = 0.005  # frames a second; 23.98, 23.976 and 24000/1001 are all meant as the last


def filename_input() -> io.Input:
    return io.String.Input(
        "filename_prefix",
        default="ReferEverything/shot",
        tooltip="Folders and a name below ComfyUI's output folder. %date:yyyy-MM-dd%, %width% and the like are filled "
        "in as by Save Image. Each run gets a numbered folder of its own: nothing is overwritten.",
    )


def format_inputs() -> list[io.Input]:
    """What is written."""
    return [
        io.Combo.Input(
            "format",
            options=list(_FORMATS),
            default=_FORMATS[0],
            tooltip="exr: one multilayer file a frame, for compositing. prores: a ProRes 4444 .mov with alpha for each "
            "layer. webm: VP9 with alpha. png16: 16-bit RGBA. alpha: the alpha alone, 16-bit grey PNG.",
        ),
        io.Int.Input(
            "start", default=1001, min=0, max=9_999_999, tooltip="Number of the first frame of an image sequence."
        ),
        io.Combo.Input(
            "colour",
            options=["straight", "premultiplied"],
            default="straight",
            tooltip="straight leaves colours as they are; premultiplied multiplies those of EXR (in linear light) and "
            "ProRes by the alpha. PNG and WebM are straight always.",
        ),
    ]


def further_format_inputs() -> list[io.Input]:
    """What else is written, and its finer points; a graph may leave them out."""
    return [
        io.Combo.Input(
            "also",
            options=[NOTHING, *_FORMATS],
            default=NOTHING,
            optional=True,
            tooltip="A second format written in the same run: a ProRes to look at beside the EXR to composite, say.",
        ),
        advanced(
            io.Int.Input(
                "padding",
                default=4,
                min=1,
                max=9,
                optional=True,
                tooltip="Digits of a frame's number at least: 4 writes shot.1001.",
            )
        ),
        advanced(
            io.Combo.Input(
                "exr_type",
                options=["half", "float"],
                default="half",
                optional=True,
                tooltip="half: 16 bits, what compositing takes. float: 32 bits, twice as large.",
            )
        ),
        advanced(
            io.Combo.Input(
                "exr_compression",
                options=["zip", "zips", "piz", "dwaa", "none"],
                default="zip",
                optional=True,
                tooltip="zip, zips (a line at a time, quick to scrub) and piz (grainy plates) are lossless; dwaa is "
                "lossy in the colours, and small.",
            )
        ),
        advanced(
            io.Boolean.Input(
                "exr_linear",
                default=True,
                optional=True,
                tooltip="EXR holds scene-linear light (Rec. 709 primaries), as compositing expects, and says so in its "
                "header. Off: display sRGB values as they are.",
            )
        ),
    ]


def folder_outputs() -> list[io.Output]:
    """What a node that writes files hands on."""
    return [
        io.String.Output(display_name="folder", tooltip="Where the files are."),
        io.String.Output(display_name="files", tooltip="The files in it, a line for each file or sequence."),
    ]


def fps_input(tooltip: str) -> io.Input:
    return io.Float.Input("fps", default=24.0, min=0.01, max=1000.0, step=0.01, round=0.001, tooltip=tooltip)


def delivery_settings(
    format: str,
    start: int,
    colour: str,
    also: str,
    padding: int,
    exr_type: str,
    exr_compression: str,
    exr_linear: bool,
) -> DeliverySettings:
    """Settings of widget values.

    Raises:
        ValueError: values the engine does not take.
    """
    return DeliverySettings(
        kinds=tuple(dict.fromkeys(kind for kind in (format, also) if kind != NOTHING)),
        start=start,
        padding=padding,
        premultiplied=colour == "premultiplied",
        exr_type=exr_type,
        exr_compression=exr_compression,
        exr_linear=exr_linear,
    )


def frame_rate(fps: float) -> Fraction:
    """The exact rate that a number of a widget stands for: 23.976 is 24000/1001."""
    ntsc = Fraction(round(fps * 1.001) * 1000, 1001)
    if ntsc and not float(fps).is_integer() and abs(float(ntsc) - fps) < _NTSC_TOLERANCE:
        return ntsc
    return Fraction(fps).limit_denominator(1001)
