"""Widgets of a delivery, which SaveMatte and SegmentShot share, and the engine's settings made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ...rem_engine.media.timecode import exact_rate
from ...rem_engine.names import names_a_file
from ...rem_engine.run.delivery_settings import DeliverySettings
from ...rem_engine.run.naming import FIELDS, check_template, filled
from ...rem_engine.setting import settings_of
from ..host.schema import advanced
from .from_settings import engine_values, widget

DEFAULT_PREFIX = "ReferEverything/shot"
_NOTHING = "none"
_FIELDS = ("shot", "layer", "version", "frame")  # of a template: what a graph knows
_PREMULTIPLIED = "premultiplied"
_FORMATS = (
    "exr",
    "prores",
    "webm",
    "png16",
    "alpha",
    "alpha_exr",
    "cryptomatte",
    "shapes",
)  # in the order in which people want them


def filename_input(further: str = "") -> io.Input:
    return io.String.Input(
        "filename_prefix",
        default=DEFAULT_PREFIX,
        tooltip="Folders and a name below ComfyUI's output folder. %date:yyyy-MM-dd%, %width% and the like are filled "
        f"in as by Save Image. Each run gets a numbered folder of its own: nothing is overwritten.{further}",
    )


def file_names_input() -> io.Input:
    """Names of files by a template; a graph may leave it out."""
    return advanced(
        io.String.Input(
            "file_names",
            default="",
            optional=True,
            placeholder="AGM_010_{shot}_{layer}_v{version:03}.{frame}",
            tooltip="Names of the files, where a house has its own: a template in which {shot} is the name that the "
            "files would have, {layer} the layer's, {version} the number of the run's folder, and {frame} the frame's. "
            "Empty: the name at filename_prefix.",
        )
    )


def check_file_names(template: str | None) -> None:
    """Raise ValueError for a template that names no files; None is not known yet."""
    if not template or not template.strip():
        return
    if others := [field for field in FIELDS if field not in _FIELDS and f"{{{field}" in template]:
        raise ValueError(
            f"The file_names {template!r} has {{{others[0]}}}, which nothing in a graph says: write the name itself."
        )
    check_template(template.strip(), _FIELDS)
    if not names_a_file(template.strip()) or template.strip().startswith("."):
        raise ValueError(f"The file_names {template!r} cannot be the name of a file: folders go into filename_prefix.")


def name_by_template(template: str | None, folder: Path, shot: str) -> str:
    """The name of a run's files.

    Args:
        template: checked; empty, or null in a graph that was sent, for the name as it is.
        folder: of the run, or of several, with its number, as `new_output_folder` makes it.
        shot: the name that they would have.
    """
    template = (template or "").strip()
    if not template:
        return shot
    asked = {"version": str(int(folder.name.rpartition("_")[2]))} if "{version" in template else {}
    return filled(template, asked, shot)


def format_inputs() -> list[io.Input]:
    """What is written."""
    settings = settings_of(DeliverySettings)
    return [
        io.Combo.Input("format", options=list(_FORMATS), default=_FORMATS[0], tooltip=settings["kinds"].help),
        widget(settings["start"]),
        io.Combo.Input(
            "colour",
            options=["straight", _PREMULTIPLIED],
            default="straight",
            tooltip=settings["premultiplied"].help,
        ),
    ]


def further_format_inputs() -> list[io.Input]:
    """What else is written, and its finer points; a graph may leave them out."""
    settings = settings_of(DeliverySettings)
    return [
        io.Combo.Input(
            "also",
            options=[_NOTHING, *_FORMATS],
            default=_NOTHING,
            optional=True,
            tooltip="A second format written in the same run: a ProRes to look at beside the EXR to composite, say.",
        ),
        *(widget(settings[name], optional=True) for name in ("padding", "exr_type", "exr_compression", "exr_linear")),
    ]


def exr_form_input() -> io.Input:
    """What an EXR has beside the mattes; a graph may leave it out."""
    return widget(settings_of(DeliverySettings)["exr_form"], optional=True, rare=True)


def renumber_input() -> io.Input:
    """Of a node that may be given a sequence; a graph may leave it out."""
    return advanced(
        io.Boolean.Input(
            "renumber",
            default=False,
            optional=True,
            tooltip="Whether start and padding count for a sequence of frames even where they are 1001 and 4; "
            "otherwise it then keeps its own numbers.",
        )
    )


def folder_outputs() -> list[io.Output]:
    """What a node that writes files hands on."""
    return [
        io.String.Output(display_name="folder", tooltip="Where the files are."),
        io.String.Output(display_name="files", tooltip="The files in it, a line for each file or sequence."),
    ]


def fps_input(tooltip: str) -> io.Input:
    return io.Float.Input("fps", default=24.0, min=0.01, max=1000.0, step=0.01, round=0.001, tooltip=tooltip)


def rate_of(fps: float) -> Fraction:
    """The frame rate that the widget means; see `exact_rate`.

    Raises:
        ValueError: no number, which a graph that was written by hand may hold.
    """
    if not 0.0 < fps < math.inf:
        raise ValueError(f"The fps is {fps}, and a number of frames per second above 0 is expected.")
    return exact_rate(fps)


def delivery_settings(values: Mapping[str, Any]) -> DeliverySettings:
    """Settings of widget values by name; others than a delivery's are left aside.

    Raises:
        ValueError: values the engine does not take.
    """
    formats = (values["format"], values.get("also", _NOTHING))
    given = engine_values(DeliverySettings, values)
    if values.get("renumber", False):
        given |= {name: values[name] for name in ("start", "padding") if name in values}
    return DeliverySettings(
        kinds=tuple(dict.fromkeys(kind for kind in formats if kind != _NOTHING)),
        premultiplied=values["colour"] == _PREMULTIPLIED,
        **given,
    )
