"""Shapes as After Effects reads them: a script that gives masks to the selected layer, with its data as JSON in it."""

from __future__ import annotations

import json

import numpy as np

from .model import Shape, ShapeSet

_SCRIPT = """\
// Gives the selected layer of the composition the masks of "$LAYER": File > Scripts > Run Script File.
// The layer is the plate, at its own size; its first frame is frame $FIRST.

(function () {
    var SHAPES = $DATA;

    var comp = app.project.activeItem;
    if (!(comp instanceof CompItem) || comp.selectedLayers.length !== 1) {
        alert("Select the layer of the plate, alone, and run the script again.");
        return;
    }
    var layer = comp.selectedLayers[0];

    function timeOf(frame) {
        return layer.startTime + (frame - SHAPES.first) / (SHAPES.fps || comp.frameRate);
    }

    function pathOf(points) {
        var path = new Shape(), vertices = [], inTangents = [], outTangents = [];
        for (var i = 0; i < points.length; i++) {
            var p = points[i];
            inTangents.push([p[0] - p[2], p[1] - p[3]]);
            vertices.push([p[2], p[3]]);
            outTangents.push([p[4] - p[2], p[5] - p[3]]);
        }
        path.vertices = vertices;
        path.inTangents = inTangents;
        path.outTangents = outTangents;
        path.closed = true;
        return path;
    }

    function hold(property, times, values) {
        property.setValuesAtTimes(times, values);
        for (var i = 1; i <= property.numKeys; i++) {
            property.setInterpolationTypeAtKey(i, KeyframeInterpolationType.HOLD, KeyframeInterpolationType.HOLD);
        }
    }

    app.beginUndoGroup("Masks of " + SHAPES.layer);
    for (var s = 0; s < SHAPES.shapes.length; s++) {
        var shape = SHAPES.shapes[s];
        var mask = layer.property("ADBE Mask Parade").addProperty("ADBE Mask Atom");
        mask.name = shape.name;
        mask.maskMode = shape.operation === "add" ? MaskMode.ADD : MaskMode.SUBTRACT;
        mask.property("ADBE Mask Feather").setValue([shape.feather, shape.feather]);
        var path = mask.property("ADBE Mask Shape"), times = [], paths = [];
        for (var k = 0; k < shape.keys.length; k++) {
            times.push(timeOf(shape.keys[k].frame));
            paths.push(pathOf(shape.keys[k].points));
        }
        path.setValuesAtTimes(times, paths);
        for (var n = 1; n <= path.numKeys; n++) {
            path.setInterpolationTypeAtKey(n, KeyframeInterpolationType.LINEAR, KeyframeInterpolationType.LINEAR);
        }
        hold(
            mask.property("ADBE Mask Opacity"),
            [timeOf(shape.first - 1), timeOf(shape.first), timeOf(shape.last + 1)],
            [0, 100 * shape.opacity, 0]
        );
    }
    app.endUndoGroup();
})();
"""


def after_effects_script(shapes: ShapeSet) -> str:
    """The text of a script, in ExtendScript. The feather of After Effects' masks lies half to either side of their
    paths, as a shape's does."""
    described = {
        "layer": shapes.layer,
        "fps": shapes.fps,
        "first": shapes.numbers[0],
        "shapes": [_described(shape, shapes.numbers) for shape in shapes.shapes],
    }
    data = json.dumps(described, separators=(",", ":")).replace("},{", "},\n{")
    return _SCRIPT.replace("$FIRST", str(shapes.numbers[0])).replace("$LAYER", shapes.layer).replace("$DATA", data)


def _described(shape: Shape, numbers: tuple[int, ...]) -> dict:
    return {
        "name": shape.name,
        "operation": shape.operation,
        "opacity": round(shape.opacity, 4),
        "feather": shape.feather,
        "first": numbers[shape.first],
        "last": numbers[shape.last],
        "keys": [
            {"frame": numbers[key], "points": np.round(points.reshape(-1, 6), 4).tolist()}
            for key, points in zip(shape.keys, shape.points, strict=True)
        ],
    }
