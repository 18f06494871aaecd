"""Widgets of the matte stage, which MaskToAlpha and SegmentShot share, and the engine's settings made of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from comfy_api.latest import io

from ...rem_engine.matte import MatteSettings
from ..host.schema import advanced

NEUTRAL: dict[str, Any] = asdict(MatteSettings()) | {"black": 0.0, "white": 1.0, "threshold": 0.0, "refine": 0}
"""Widget values that leave a mask as it is."""

_LARGEST_AREA = 10_000_000

_WIDGETS: dict[str, tuple[type[io.Input], dict[str, Any]]] = {
    "black": (
        io.Float.Input,
        {"min": 0.0, "max": 1.0, "step": 0.01, "tooltip": "Values up to this become transparent."},
    ),
    "white": (
        io.Float.Input,
        {"min": 0.0, "max": 1.0, "step": 0.01, "tooltip": "Values from this on become opaque."},
    ),
    "gamma": (
        io.Float.Input,
        {
            "min": 0.05,
            "max": 20.0,
            "step": 0.05,
            "tooltip": "Above 1 makes the half-transparent part more opaque, below 1 more transparent.",
        },
    ),
    "threshold": (
        io.Float.Input,
        {
            "min": 0.0,
            "max": 0.99,
            "step": 0.01,
            "tooltip": "Puts an edge at this value, for solid things. 0 is off and keeps the mask's own softness, as "
            "smoke, fire and hair want it.",
        },
    ),
    "knee": (
        io.Float.Input,
        {
            "min": 0.0,
            "max": 1.0,
            "step": 0.01,
            "tooltip": "Softness of the threshold: half the width of its ramp, in mask values. 0 cuts hard.",
        },
    ),
    "fill_holes": (
        io.Int.Input,
        {"min": 0, "max": _LARGEST_AREA, "tooltip": "Fills holes of fewer pixels than this. 0: none."},
    ),
    "remove_islands": (
        io.Int.Input,
        {"min": 0, "max": _LARGEST_AREA, "tooltip": "Removes specks of fewer pixels than this. 0: none."},
    ),
    "grow": (
        io.Int.Input,
        {
            "min": -256,
            "max": 256,
            "tooltip": "Moves the edge outwards by that many pixels; below 0, inwards.",
        },
    ),
    "feather": (
        io.Float.Input,
        {
            "min": 0.0,
            "max": 256.0,
            "step": 0.5,
            "tooltip": "Softens the edge over about that many pixels to either side.",
        },
    ),
    "refine": (
        io.Int.Input,
        {
            "min": 0,
            "max": 128,
            "tooltip": "Brings edges to those of the picture, at its own resolution, within that many pixels (a guided "
            "filter). 0 is off; 12 suits masks of a model that saw the shot smaller.",
        },
    ),
    "refine_detail": (
        io.Float.Input,
        {
            "min": 0.001,
            "max": 1.0,
            "step": 0.005,
            "round": 0.001,
            "tooltip": "What refine takes for an edge: contrast of the picture, 0..1. Larger passes over grain.",
        },
    ),
    "smooth": (
        io.Int.Input,
        {
            "min": 0,
            "max": 8,
            "tooltip": "Quiets flicker: averages over that many frames to either side, along the motion of the "
            "picture and never across a cut. 0 is off; 2 is a good start.",
        },
    ),
    "decontaminate": (
        io.Boolean.Input,
        {
            "tooltip": "Gives edges and haze the colour they have without the ground behind them. Takes a second or "
            "two a frame at 1920x1080.",
        },
    ),
    "invert": (io.Boolean.Input, {"tooltip": "Keeps the rest of the picture instead."}),
}


def matte_input(name: str, default: Any, *, optional: bool = False, rare: bool = False) -> io.Input:
    """The widget of a field of `MatteSettings`.

    Args:
        name: of the field.
        default: its value on a new node.
        optional: graphs saved before the widget was there may leave it out.
        rare: folded away under "advanced inputs".
    """
    kind, options = _WIDGETS[name]
    widget = kind(name, default=default, optional=optional, **options)
    return advanced(widget) if rare else widget


def matte_settings(**values: Any) -> MatteSettings:
    """Settings of widget values by name, the others neutral.

    Raises:
        ValueError: values that do not go together.
    """
    values = NEUTRAL | values
    return MatteSettings(**(values | {"threshold": values["threshold"] or None}))
