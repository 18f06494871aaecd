"""Shapes as Silhouette reads them: its file of shapes, .fxs, in XML.

Its structure is that of published files and exporters: `Silhouette > Layer > Properties > Property id="objects" >
Object type="Shape"`, keys under `Property id="path"`; places are measured from the middle of the frame, in heights of
it, y down; frames are counted from the session's first.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np

from .model import Shape, ShapeSet

_MODES = {"add": "Add", "subtract": "Subtract"}


def silhouette_file(shapes: ShapeSet) -> str:
    """The text of a file. A feather is not in it: no published file has one."""
    first, last = shapes.numbers[0], shapes.numbers[-1]
    root = ET.Element("Silhouette", {
        "width": str(shapes.width),
        "height": str(shapes.height),
        "pixelAspect": "1",
        "workRangeStart": str(first),
        "workRangeEnd": str(last),
        "sessionStartFrame": str(first),
    })  # fmt: skip
    layer = ET.SubElement(root, "Layer", {"type": "Layer", "label": shapes.layer, "expanded": "True"})
    properties = ET.SubElement(layer, "Properties")
    _constant(properties, "invert", "false")
    _constant(properties, "mode", "Add")
    objects = ET.SubElement(properties, "Property", {"id": "objects", "constant": "True", "expanded": "True"})
    for shape in shapes.shapes:
        _add(objects, shape, shapes)
    ET.indent(root)
    return f"<!-- Silhouette Shape File -->\n{ET.tostring(root, encoding='unicode')}\n"


def _add(objects: ET.Element, shape: Shape, shapes: ShapeSet) -> None:
    labels = {"type": "Shape", "label": shape.name, "shape_type": "Bezier", "hidden": "False", "locked": "False"}
    properties = ET.SubElement(ET.SubElement(objects, "Object", labels), "Properties")
    opacity = ET.SubElement(properties, "Property", {"id": "opacity"})
    first, last = (shapes.numbers[place] - shapes.numbers[0] for place in (shape.first, shape.last))
    for at, value in ((first - 1, 0.0), (first, 100.0 * shape.opacity), (last + 1, 0.0)):
        ET.SubElement(opacity, "Key", {"frame": str(at), "interp": "hold"}).text = f"{value:f}"
    _constant(properties, "motionBlur", "false")
    _constant(properties, "mode", _MODES[shape.operation])
    _constant(properties, "invert", "false")
    path = ET.SubElement(properties, "Property", {"id": "path"})
    middle = np.array([shapes.width / 2, shapes.height / 2])
    for key, points in zip(shape.keys, shape.points, strict=True):
        frame = str(shapes.numbers[key] - shapes.numbers[0])
        keyed = ET.SubElement(path, "Key", {"frame": frame, "interp": "linear"})
        drawn = ET.SubElement(keyed, "Path", {"closed": "True", "type": "Bezier"})
        for arriving, vertex, leaving in (points - middle) / shapes.height:
            places = ",".join(f"({x:f},{y:f})" for x, y in (vertex, arriving, leaving))
            ET.SubElement(drawn, "Point").text = places


def _constant(properties: ET.Element, name: str, value: str) -> None:
    ET.SubElement(ET.SubElement(properties, "Property", {"constant": "True", "id": name}), "Value").text = value
