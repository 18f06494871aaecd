"""Shapes as Nuke reads them: a script with one Roto node.

The node's curves are written as Nuke writes them for shapes with one key (their first), a form that published scripts
show: single-precision floats as `x` and eight hexadecimal digits, y up, handles relative to their vertex. No published
script shows how several keys, and that they are linear, are written; these the node sets itself when it is created, by
Nuke's documented Python interface, once.
"""

from __future__ import annotations

import json
import re
import struct

import numpy as np

from .model import Shape, ShapeSet, inset

_ROOT_ATTRIBUTES = " ".join(
    f"{name} 0"
    for name in (
        *(f"pt{corner}{axis}" for corner in range(1, 5) for axis in "xy"),
        *(f"ptex{row}{column}" for row in range(4) for column in range(4)),
        *(f"ptof{corner}{axis}" for corner in range(1, 5) for axis in "xy"),
        "pterr",
        "ptrefset",
    )
)
_FRAME_RANGE = 4.0  # as the lifetime of a shape
# Adds the keys, all linear (the type of a key is 1 more than `InterpolationType` has it), and forgets itself.
_ON_CREATE = """\
import json, nuke
node = nuke.thisNode()
keys = json.loads('KEYS')
curves = node.knob('curves')
for shape in curves.rootLayer:
    for frame, points in keys.get(shape.name, []):
        for point, values in zip(shape, points):
            parts = (point.leftTangent, point.center, point.rightTangent)
            feathers = (point.featherLeftTangent, None, point.featherRightTangent)
            for part, feather, x, y in zip(parts, feathers, values[0::2], values[1::2]):
                part.addPositionKey(frame, (x, y))
                if feather is not None:
                    feather.addPositionKey(frame, (x, y))
    for point in shape if shape.name in keys else []:
        parts = [point.leftTangent, point.center, point.rightTangent]
        for part in parts + [point.featherLeftTangent, point.featherRightTangent]:
            for axis in (0, 1):
                curve = part.getPositionAnimCurve(axis)
                for number in range(curve.getNumberOfKeys()):
                    curve.getKey(number).interpolationType = 2
curves.changed()
node.knob('onCreate').setValue('')
"""


def nuke_script(shapes: ShapeSet) -> str:
    """The text of a script; it can be opened, and pasted.

    Nuke feathers from an outline to the outside: outlines with a feather lie half of it further in. Shapes that take
    away are laid over the others without a colour.
    """
    names = {shape.name: _name(shape.name) for shape in shapes.shapes}
    # The first in the list lies on top.
    groups = "\n".join(_group(shape, names[shape.name], shapes) for shape in reversed(shapes.shapes))
    keys = {names[shape.name]: _keys(shape, shapes) for shape in shapes.shapes if len(shape.keys) > 1}
    script = _ON_CREATE.replace("KEYS", json.dumps(keys, separators=(",", ":"))) if keys else ""
    middle = f"{_float(shapes.width / 2)} {_float(shapes.height / 2)}"
    size = f"{shapes.width} {shapes.height}"
    return (
        "set cut_paste_input [stack 0]\n"
        "push $cut_paste_input\n"
        "Roto {\n"
        " output alpha\n"
        f' format "{size} 0 0 {size} 1"\n'
        f" cliptype none\n"
        " curves {{{v x3f99999a}\n"
        "  {f 0}\n"
        "  {n\n"
        "   {layer Root\n"
        "    {f 2097152}\n"
        f"    {{t {middle}}}\n"
        f"    {{a {_ROOT_ATTRIBUTES} ptmot x40800000 ptref 0}}{chr(10) if groups else ''}{groups}}}}}}}}}\n"
        f" name {_name(shapes.layer)}\n"
        f" onCreate {{{script}}}\n"
        " selected true\n"
        "}\n"
    )


def _group(shape: Shape, name: str, shapes: ShapeSet) -> str:
    first, last = (float(shapes.numbers[place]) for place in (shape.first, shape.last))
    values = _values(shape, shapes)[0]
    places = "\n".join(f"        {{{_float(x)} {_float(y)}}}" for x, y in values.reshape(-1, 2))
    middle = " ".join(_float(place) for place in values[:, 1].mean(axis=0))
    colour = "" if shape.operation == "add" else "r 0 g 0 b 0 a 0 "
    feather = "" if not shape.feather else f"fx {_float(shape.feather)} fy {_float(shape.feather)} "
    return (
        f"    {{curvegroup {name} 512 bezier\n"
        "     {{cc\n"
        "       {f 8192}\n"
        f"       {{px {_float(first)}\n{places}}}}}     idem}}\n"
        f"     {{tx {_float(first)} {middle}}}\n"
        f"     {{a {colour}opc {_float(shape.opacity)} {feather}osw x41200000 osf 0 str 1 ltn {_float(first)} "
        f"ltm {_float(last)} ltt {_float(_FRAME_RANGE)} tt x40800000}}}}"
    )


def _keys(shape: Shape, shapes: ShapeSet) -> list[list]:
    return [
        [shapes.numbers[key], np.round(values.reshape(-1, 6), 4).tolist()]
        for key, values in zip(shape.keys, _values(shape, shapes), strict=True)
    ]


def _values(shape: Shape, shapes: ShapeSet) -> np.ndarray:
    """[K,V,3,2]: (handle in, vertex, handle out), y up, handles relative."""
    points = np.stack([inset(points, shape.feather / 2.0) for points in shape.points])
    points[..., 1] = shapes.height - points[..., 1]
    points[:, :, (0, 2)] -= points[:, :, 1:2]
    return points


def _float(value: float) -> str:
    return f"x{struct.pack('>f', value).hex()}" if value else "0"


def _name(name: str) -> str:
    """Names of nodes and shapes have letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)
