"""Shapes as Blender reads them: a Python script that makes a mask of them."""

from __future__ import annotations

import json

import numpy as np

from .model import Shape, ShapeSet, inset

# Pixels outside an outline without a feather over which Blender draws its edge.
_ANTIALIASED = 1.0

_SCRIPT = '''\
"""Makes the mask "{layer}" in Blender: run it in a text editor of it, or by `blender --python` or the module bpy."""

import json

import bpy

SHAPES = json.loads("""\\
{data}
""")


def make_mask(shapes):
    mask = bpy.data.masks.new(shapes["layer"])
    mask.frame_start, mask.frame_end = shapes["frames"]
    for shape in shapes["shapes"]:
        add_layer(mask, shape)
    insert_keys(mask, shapes["shapes"])
    return mask


def add_layer(mask, shape):
    layer = mask.layers.new(name=shape["name"])
    layer.blend = "MERGE_ADD" if shape["operation"] == "add" else "MERGE_SUBTRACT"
    layer.falloff = "LINEAR"
    for frame, alpha in ((shape["first"] - 1, 0.0), (shape["first"], shape["opacity"]), (shape["last"] + 1, 0.0)):
        layer.alpha = alpha
        layer.keyframe_insert("alpha", frame=frame)
    spline = layer.splines.new()
    spline.points.add(len(shape["keys"][0]["points"]) - len(spline.points))
    spline.use_cyclic = True
    spline.offset_mode = "SMOOTH"
    for point in spline.points:
        point.handle_left_type = point.handle_right_type = "FREE"
        point.weight = shape["feather"]


def insert_keys(mask, shapes):
    """Shape keys are inserted by an operator, which wants an image editor that shows the mask."""
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    kind, scene = area.type, window.scene
    frame = scene.frame_current
    area.type = "IMAGE_EDITOR"
    space = area.spaces.active
    space.mode, space.mask = "MASK", mask
    region = next(region for region in area.regions if region.type == "WINDOW")
    try:
        for layer, shape in zip(mask.layers, shapes):
            for key in shape["keys"]:
                scene.frame_set(key["frame"])
                for other in mask.layers:
                    for point in other.splines[0].points:
                        point.select = other == layer
                place(layer.splines[0], key["points"])
                with bpy.context.temp_override(window=window, screen=window.screen, area=area, region=region):
                    bpy.ops.mask.shape_key_insert()
    finally:
        scene.frame_set(frame)
        space.mode = "VIEW"
        area.type = kind
    for curve in curves_of(mask):
        for key in curve.keyframe_points:
            key.interpolation = "CONSTANT"


def place(spline, points):
    for point, (left_x, left_y, x, y, right_x, right_y) in zip(spline.points, points):
        point.co = x, y
        point.handle_left, point.handle_right = (left_x, left_y), (right_x, right_y)


def curves_of(mask):
    action = mask.animation_data.action if mask.animation_data else None
    if action is None:
        return []
    if hasattr(action, "fcurves"):
        return list(action.fcurves)
    bags = [bag for layer in action.layers for strip in layer.strips for bag in strip.channelbags]
    return [curve for bag in bags for curve in bag.fcurves]


make_mask(SHAPES)
'''


def blender_script(shapes: ShapeSet) -> str:
    """The text of a script. Blender feathers from an outline to the outside, and antialiases there: outlines lie half
    of that further in."""
    longest = max(shapes.width, shapes.height)
    described = {
        "layer": shapes.layer,
        "frames": [shapes.numbers[0], shapes.numbers[-1]],
        "shapes": [_described(shape, shapes, longest) for shape in shapes.shapes],
    }
    data = json.dumps(described, separators=(",", ":")).replace("},{", "},\n{")
    return _SCRIPT.replace("{layer}", shapes.layer).replace("{data}", data)


def _described(shape: Shape, shapes: ShapeSet, longest: int) -> dict:
    return {
        "name": shape.name,
        "operation": shape.operation,
        "opacity": round(shape.opacity, 4),
        "feather": round(shape.feather / longest, 7),
        "first": shapes.numbers[shape.first],
        "last": shapes.numbers[shape.last],
        "keys": [
            {
                "frame": shapes.numbers[key],
                "points": _places(inset(points, max(shape.feather, _ANTIALIASED) / 2.0), shapes, longest),
            }
            for key, points in zip(shape.keys, shape.points, strict=True)
        ],
    }


def _places(points: np.ndarray, shapes: ShapeSet, longest: int) -> list[list[float]]:
    """In units of the frame's longer side about its middle, which is (0.5, 0.5); y up."""
    about = (points - [shapes.width / 2.0, shapes.height / 2.0]) * [1.0, -1.0] / longest + 0.5
    return np.round(about.reshape(-1, 6), 7).tolist()
