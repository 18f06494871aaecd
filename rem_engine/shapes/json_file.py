"""The file format of shapes: one JSON, of which docs/roto-shapes.md gives the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..input_files import NotJson, load_json
from .model import Shape, ShapeSet

FORMAT, VERSION = "rem-shapes", 1
# Places in files: a hundredth of a thousandth of a pixel is far below what rounding of pixels leaves.
_DECIMALS = 4


def shapes_json(shapes: ShapeSet) -> str:
    """The text of a file."""
    described = described_shapes(shapes)
    head = json.dumps({**described, "shapes": []}, indent=1, ensure_ascii=False)
    lines = [json.dumps(shape, ensure_ascii=False, separators=(",", ":")) for shape in described["shapes"]]
    bodies = ",\n".join(f"  {line}" for line in lines)
    return head.replace('"shapes": []', f'"shapes": [\n{bodies}\n ]' if bodies else '"shapes": []') + "\n"


def described_shapes(shapes: ShapeSet) -> dict[str, Any]:
    """What a file says."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "layer": shapes.layer,
        "width": shapes.width,
        "height": shapes.height,
        "fps": shapes.fps,
        "frames": list(shapes.numbers),
        "soft": shapes.soft,
        "shapes": [_described(shape, shapes.numbers) for shape in shapes.shapes],
    }


def read_shapes(path: Path | str) -> ShapeSet:
    """Shapes of a file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is none, or damaged.
    """
    try:
        content = load_json(Path(path))
    except NotJson as error:
        raise ValueError(f"{path} is not JSON: a file of shapes is expected, as --write shapes makes them.") from error
    try:
        if content["format"] != FORMAT or content["version"] != VERSION:
            raise ValueError("another format")
        numbers = tuple(_whole(number) for number in content["frames"])
        if list(numbers) != sorted(set(numbers)):
            raise ValueError("frames out of order")
        shapes = tuple(_shape(one, numbers) for one in content["shapes"])
        width, height, fps = _whole(content["width"]), _whole(content["height"]), content["fps"]
        if min(width, height) < 1 or not (fps is None or (isinstance(fps, (int, float)) and 0 < fps < 1e6)):
            raise ValueError("no frame")
        return ShapeSet(str(content["layer"]), width, height, fps, numbers, bool(content["soft"]), shapes)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise ValueError(
            f"{path} holds no shapes that can be read ({error}): a file that --write shapes made is expected."
        ) from error


def _described(shape: Shape, numbers: tuple[int, ...]) -> dict[str, Any]:
    return {
        "name": shape.name,
        "operation": shape.operation,
        "level": round(shape.level, 4),
        "opacity": round(shape.opacity, 4),
        "feather": shape.feather,
        "first": numbers[shape.first],
        "last": numbers[shape.last],
        "miss": round(shape.miss, 3),
        "keys": [
            {"frame": numbers[key], "points": np.round(points.reshape(-1, 6), _DECIMALS).tolist()}
            for key, points in zip(shape.keys, shape.points, strict=True)
        ],
    }


def _shape(described: dict[str, Any], numbers: tuple[int, ...]) -> Shape:
    places = {number: place for place, number in enumerate(numbers)}
    keys = tuple(places[key["frame"]] for key in described["keys"])
    first, last = places[described["first"]], places[described["last"]]
    points = np.array([key["points"] for key in described["keys"]], np.float64)
    if points.ndim != 3 or points.shape[1] < 2 or points.shape[2] != 6 or not np.isfinite(points).all():
        raise ValueError("points that are none")
    if not keys or list(keys) != sorted(set(keys)) or (keys[0], keys[-1]) != (first, last):
        raise ValueError("keys that do not go from the first to the last frame")
    if described["operation"] not in ("add", "subtract"):
        raise ValueError("an operation that is none")
    level, opacity, feather, miss = (float(described[name]) for name in ("level", "opacity", "feather", "miss"))
    if not (0 <= level <= 1 and 0 <= opacity <= 1 and 0 <= feather < 1e6):
        raise ValueError("a value out of range")
    points = points.reshape(len(keys), -1, 3, 2)
    return Shape(
        str(described["name"]), described["operation"], level, opacity, feather, first, last, keys, points, miss
    )


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("a number that is not whole")
    return value
