"""What programs read of shapes' files is what the shapes are: each by a reader of its own."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import struct
import subprocess
import sys
import types
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest
from drawn_shots import HEIGHT, WIDTH, circle, matte_of, shapes_of, similarity, turning_star

from rem_engine.shapes import ShapeSet, ShapeSettings, rasterised, read_shapes, shapes_json
from rem_engine.shapes.after_effects import after_effects_script
from rem_engine.shapes.blender import blender_script
from rem_engine.shapes.model import inset, outline
from rem_engine.shapes.nuke import nuke_script
from rem_engine.shapes.silhouette import silhouette_file

BLENDER = importlib.util.find_spec("bpy") is not None
NODE = shutil.which("node")


@pytest.fixture(scope="module")
def star() -> tuple[list[np.ndarray], ShapeSet]:
    """A star that turns, from frame 1001 on."""
    return turning_star(12)


@pytest.fixture(scope="module")
def ring() -> tuple[list[np.ndarray], ShapeSet]:
    """A ring, which is there in the last two of three frames."""
    matte = matte_of(circle((80, 60), 50), holes=[circle((80, 60), 30)])
    mattes = [np.zeros_like(matte), matte, matte]
    return mattes, shapes_of(mattes)


def drawn(points: np.ndarray) -> np.ndarray:
    """A mask of points [V,3,2] by OpenCV's polygons, each segment's curve by De Casteljau's rule."""
    polygon = []
    for (_, start, leaving), (arriving, end, _) in zip(points, np.roll(points, -1, axis=0), strict=True):
        for t in np.arange(16) / 16:
            line = [start, leaving, arriving, end]
            while len(line) > 1:
                line = [(1 - t) * a + t * b for a, b in zip(line, line[1:])]
            polygon.append(line[0])
    return matte_of(np.array(polygon))


def test_a_file_of_shapes_is_as_documented_and_read_back(star: tuple, tmp_path: Path) -> None:
    _, shapes = star
    (tmp_path / "s.json").write_text(shapes_json(shapes), "utf-8")
    content = json.loads((tmp_path / "s.json").read_text("utf-8"))
    assert {name: content[name] for name in ("format", "version", "layer", "width", "height", "fps", "soft")} == {
        "format": "rem-shapes",
        "version": 1,
        "layer": "car",
        "width": WIDTH,
        "height": HEIGHT,
        "fps": 24.0,
        "soft": False,
    }
    assert content["frames"] == [*range(1001, 1013)]
    (told,) = content["shapes"]
    assert (told["first"], told["last"], told["operation"], told["opacity"]) == (1001, 1012, "add", 1.0)
    assert all(len(point) == 6 for key in told["keys"] for point in key["points"])
    (back,) = read_shapes(tmp_path / "s.json").shapes
    assert (back.keys, back.first, back.last) == (shapes.shapes[0].keys, 0, 11)
    assert np.abs(back.points - shapes.shapes[0].points).max() < 1e-4


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"rem-shapes"', '"masks"'),
        ('"version": 1', '"version": 2'),
        ('"frame":1001', '"frame":1500'),
        ('"operation":"add"', '"operation":"cut"'),
        ('"opacity":1.0', '"opacity":7'),
        ('"shapes": [', '"shapes": [3,'),
        ('"width": 160', '"width": "160"'),
        ("{", "("),
    ],
)
def test_a_file_that_holds_no_shapes_is_refused_in_a_sentence(star: tuple, tmp_path: Path, old: str, new: str) -> None:
    text = shapes_json(star[1])
    assert old in text
    (tmp_path / "s.json").write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ValueError, match=r"s\.json (holds no shapes that can be read|is not JSON).*expected"):
        read_shapes(tmp_path / "s.json")


def braces(text: str) -> list[Any]:
    """A text of words and braces as nested lists."""
    stack: list[list[Any]] = [[]]
    for word in re.findall(r'"[^"]*"|[{}]|[^\s{}]+', text):
        if word == "{":
            stack.append([])
        elif word == "}":
            inner = stack.pop()
            stack[-1].append(inner)
        else:
            stack[-1].append(word)
    assert len(stack) == 1
    return stack[0]


def number(word: str) -> float:
    return struct.unpack(">f", bytes.fromhex(word[1:]))[0] if word.startswith("x") else float(word)


def groups_of(script: str) -> dict[str, dict[str, Any]]:
    """Shapes of a Nuke script by name, as a reader of published scripts understands them."""
    body = braces(script[: script.index(" onCreate ")] + "}")
    node = body[body.index("Roto") + 1]
    assert node[node.index("output") + 1] == "alpha"
    ((version, flags, nodes),) = node[node.index("curves") + 1]
    assert (version, flags, nodes[0]) == (["v", "x3f99999a"], ["f", "0"], "n")
    root = nodes[1]
    assert root[:2] == ["layer", "Root"]
    found = {}
    for word, name, _, kind, curves, pivot, attributes in root[5:]:
        assert (word, kind, pivot[0], attributes[0]) == ("curvegroup", "bezier", "tx", "a")
        (mark, curve_flags, (packed, frame, *places)), feather = curves
        assert (mark, curve_flags, packed, feather) == ("cc", ["f", "8192"], "px", "idem")
        values = np.array([[number(x), number(y)] for x, y in places]).reshape(-1, 3, 2)
        named = dict(zip(attributes[1::2], map(number, attributes[2::2]), strict=True))
        found[name] = {"frame": number(frame), "points": values, **named}
    return found


class FakeCurve:
    """An animation curve as Nuke's Python interface has it: keys with times, values and types of interpolation."""

    def __init__(self) -> None:
        self.keys: list[types.SimpleNamespace] = []

    def getNumberOfKeys(self) -> int:
        return len(self.keys)

    def getKey(self, place: int) -> types.SimpleNamespace:
        return self.keys[place]

    def at(self, time: float) -> float:
        assert all(key.interpolationType == 2 for key in self.keys)  # linear
        return float(np.interp(time, [key.time for key in self.keys], [key.value for key in self.keys]))


class FakePoint:
    def __init__(self) -> None:
        self.curves = (FakeCurve(), FakeCurve())

    def addPositionKey(self, time: float, place: tuple[float, float]) -> None:
        for curve, value in zip(self.curves, place, strict=True):
            curve.keys.append(types.SimpleNamespace(time=time, value=value, interpolationType=256))

    def getPositionAnimCurve(self, axis: int) -> FakeCurve:
        return self.curves[axis]


class FakeShape(list):
    PARTS = ("leftTangent", "center", "rightTangent", "featherLeftTangent", "featherRightTangent")

    def __init__(self, name: str, count: int) -> None:
        parts = [{part: FakePoint() for part in self.PARTS} for _ in range(count)]
        super().__init__(types.SimpleNamespace(**made) for made in parts)
        self.name = name


def created(script: str, groups: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> list[FakeShape]:
    """Runs what a node runs when it is created, over a stand-in for Nuke's interface."""
    code = script[script.index(" onCreate {") + len(" onCreate {") : script.index("}\n selected true")]
    shapes = [FakeShape(name, len(told["points"])) for name, told in groups.items()]
    set_values: dict[str, Any] = {}
    knobs = {
        "curves": types.SimpleNamespace(rootLayer=shapes, changed=lambda: set_values.update(changed=True)),
        "onCreate": types.SimpleNamespace(setValue=lambda value: set_values.update(onCreate=value)),
    }
    nuke = types.SimpleNamespace(thisNode=lambda: types.SimpleNamespace(knob=knobs.__getitem__))
    monkeypatch.setitem(sys.modules, "nuke", nuke)
    exec(compile(code, "onCreate", "exec"), {})
    assert set_values == {"changed": True, "onCreate": ""}
    return shapes


def test_nuke_has_each_shape_at_each_frame(star: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    mattes, shapes = star
    script = nuke_script(shapes)
    assert script.count("{") == script.count("}")
    groups = groups_of(script)
    (told,) = groups.values()
    assert (told["frame"], told["ltn"], told["ltm"], told["ltt"], told["opc"]) == (1001, 1001, 1012, 4, 1)
    (made,) = created(script, groups, monkeypatch)
    for index in range(12):
        points = np.array(
            [
                [
                    [getattr(point, part).curves[axis].at(1001 + index) for axis in (0, 1)]
                    for part in FakeShape.PARTS[:3]
                ]
                for point in made
            ]
        )
        if index == 0:
            assert np.abs(points - told["points"]).max() < 1e-3
        points[:, (0, 2)] += points[:, 1:2]  # handles are relative
        points[..., 1] = HEIGHT - points[..., 1]  # y is up
        assert similarity(drawn(points), rasterised(shapes, index)) > 0.99
        assert similarity(drawn(points), mattes[index]) > 0.93


def test_nuke_cuts_holes_by_shapes_without_a_colour_above_the_others(ring: tuple) -> None:
    groups = groups_of(nuke_script(ring[1]))
    (hole, rim) = groups.values()  # the first is the topmost
    assert (hole["r"], hole["a"], "r" in rim) == (0.0, 0.0, False)
    assert (rim["ltn"], rim["ltm"]) == (1002, 1003)


def test_silhouette_has_each_shape_at_each_frame(star: tuple) -> None:
    mattes, shapes = star
    root = ET.fromstring(silhouette_file(shapes))
    assert (root.tag, root.get("width"), root.get("height")) == ("Silhouette", "160", "120")
    (made,) = root.findall("Layer/Properties/Property[@id='objects']/Object")
    assert (made.get("type"), made.get("shape_type")) == ("Shape", "Bezier")
    keys = made.findall("Properties/Property[@id='path']/Key")
    assert {key.get("interp") for key in keys} == {"linear"}
    times = [int(key.get("frame", "")) + 1001 for key in keys]
    values = []
    for key in keys:
        path = key.find("Path")
        assert path is not None
        assert path.attrib == {"closed": "True", "type": "Bezier"}
        rows = [re.findall(r"-?[\d.]+", point.text or "") for point in path]
        values.append(np.array(rows, float).reshape(-1, 3, 2) * HEIGHT + [WIDTH / 2, HEIGHT / 2])
    for index in range(12):
        flat = np.stack(values).reshape(len(keys), -1)
        now = np.array([np.interp(1001 + index, times, column) for column in flat.T]).reshape(-1, 3, 2)
        vertices_between = now[:, (1, 0, 2)]  # in a file the vertex comes first
        assert similarity(drawn(vertices_between), mattes[index]) > 0.93
        assert similarity(drawn(vertices_between), rasterised(shapes, index)) > 0.99


def test_silhouette_shows_shapes_while_they_are_there(ring: tuple) -> None:
    root = ET.fromstring(silhouette_file(ring[1]))
    objects = root.findall(".//Object")
    modes = [one.find("Properties/Property[@id='mode']/Value") for one in objects]
    assert [mode.text for mode in modes if mode is not None] == ["Add", "Subtract"]
    keys = objects[0].findall("Properties/Property[@id='opacity']/Key")
    told = [(int(key.get("frame", "")), key.get("interp"), float(key.text or "")) for key in keys]
    assert told == [(0, "hold", 0.0), (1, "hold", 100.0), (3, "hold", 0.0)]


_AFTER_EFFECTS = """
var fs = require("fs"), vm = require("vm"), made = [];
function property() {
    var p = {keys: [], numKeys: 0, value: null, kinds: []};
    p.setValue = function (v) { p.value = v; };
    p.setValuesAtTimes = function (ts, vs) {
        for (var i = 0; i < ts.length; i++) p.keys.push([ts[i], vs[i]]);
        p.numKeys = ts.length;
    };
    p.setInterpolationTypeAtKey = function (i, a, b) { p.kinds[i - 1] = [a, b]; };
    return p;
}
function mask() {
    var parts = {};
    var m = {parts: parts, property: function (n) { return parts[n] || (parts[n] = property()); }};
    made.push(m);
    return m;
}
function CompItem() {}
var comp = new CompItem();
comp.frameRate = 24;
comp.selectedLayers = [{startTime: 2, property: function () { return {addProperty: mask}; }}];
var world = {
    app: {project: {activeItem: comp}, beginUndoGroup: function () {}, endUndoGroup: function () {}},
    CompItem: CompItem, Shape: function () {}, MaskMode: {ADD: "add", SUBTRACT: "subtract"},
    KeyframeInterpolationType: {LINEAR: "linear", HOLD: "hold"}, alert: function (t) { throw new Error(t); }
};
vm.runInNewContext(fs.readFileSync(process.argv[1], "utf8"), world);
console.log(JSON.stringify(made));
"""


@pytest.mark.skipif(NODE is None, reason="node runs After Effects' scripts here, and is not installed")
def test_after_effects_is_given_masks_with_linear_keys(star: tuple, tmp_path: Path) -> None:
    mattes, shapes = star
    (tmp_path / "s.jsx").write_text(after_effects_script(shapes), "utf-8")
    ran = subprocess.run(
        [str(NODE), "-e", _AFTER_EFFECTS, str(tmp_path / "s.jsx")], capture_output=True, text=True, check=True
    )
    (made,) = json.loads(ran.stdout)
    assert (made["name"], made["maskMode"]) == ("car_001", "add")
    path, opacity = made["parts"]["ADBE Mask Shape"], made["parts"]["ADBE Mask Opacity"]
    assert {tuple(kinds) for kinds in path["kinds"]} == {("linear", "linear")}
    assert opacity["keys"] == [[2 - 1 / 24, 0], [2, 100], [2.5, 0]]
    assert {tuple(kinds) for kinds in opacity["kinds"]} == {("hold", "hold")}
    times = [2 + key / 24 for key in shapes.shapes[0].keys]
    assert np.allclose([time for time, _ in path["keys"]], times)
    for (_, told), key in zip(path["keys"], shapes.shapes[0].keys, strict=True):
        vertices = np.array(told["vertices"])
        points = np.stack([told["inTangents"] + vertices, vertices, told["outTangents"] + vertices], axis=1)
        assert told["closed"] is True
        assert similarity(drawn(points), mattes[key]) > 0.93
        assert np.abs(points - shapes.shapes[0].at(key)).max() < 1e-3


_RENDER = """
import runpy, sys
import bpy

script, out, width, height, *frames = sys.argv[1:]
runpy.run_path(script)
scene, tree = bpy.context.scene, bpy.data.node_groups.new("masks", "CompositorNodeTree")
scene.compositing_node_group = tree
tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
node, group = tree.nodes.new("CompositorNodeMask"), tree.nodes.new("NodeGroupOutput")
node.mask = bpy.data.masks[-1]
tree.links.new(node.outputs["Mask"], group.inputs[0])
render = scene.render
render.engine = "BLENDER_WORKBENCH"
render.resolution_x, render.resolution_y, render.resolution_percentage = int(width), int(height), 100
render.image_settings.file_format, render.image_settings.color_mode = "OPEN_EXR", "BW"
for frame in frames:
    scene.frame_set(int(frame))
    render.filepath = f"{out}/{frame}.exr"
    bpy.ops.render.render(write_still=True)
"""


def blender_mattes(shapes: ShapeSet, numbers: list[int], tmp_path: Path) -> list[np.ndarray]:
    """What Blender, in a process of its own, makes of the masks of a script."""
    import OpenEXR

    (tmp_path / "masks.py").write_text(blender_script(shapes), "utf-8")
    command = [sys.executable, "-c", _RENDER, tmp_path / "masks.py", tmp_path, shapes.width, shapes.height, *numbers]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=300)
    files = [OpenEXR.File(str(tmp_path / f"{number}.exr")) for number in numbers]
    return [next(iter(file.channels().values())).pixels for file in files]


@pytest.mark.slow
@pytest.mark.skipif(not BLENDER, reason="Blender's module bpy is not installed")
def test_blender_draws_each_shape_at_each_frame(star: tuple, tmp_path: Path) -> None:
    mattes, shapes = star
    for number, found in zip((1001, 1004, 1009, 1012), blender_mattes(shapes, [1001, 1004, 1009, 1012], tmp_path)):
        assert similarity(found, rasterised(shapes, number - 1001)) > 0.97
        assert similarity(found, mattes[number - 1001]) > 0.93


@pytest.mark.slow
@pytest.mark.skipif(not BLENDER, reason="Blender's module bpy is not installed")
def test_blender_draws_holes_lifetimes_and_feathers(ring: tuple, tmp_path: Path) -> None:
    mattes, shapes = ring
    nothing, there = blender_mattes(shapes, [1001, 1002], tmp_path)
    assert nothing.max() == 0.0
    assert similarity(there, mattes[1]) > 0.97
    radii = np.hypot(*np.meshgrid(np.arange(WIDTH) + 0.5 - 80.0, np.arange(HEIGHT) + 0.5 - 60.0))
    soft = np.clip((35.0 - radii) / 10.0 + 0.5, 0.0, 1.0).astype(np.float32)
    (found,) = blender_mattes(shapes_of([soft] * 2), [1001], tmp_path)
    assert np.abs(found - soft).mean() < 0.01
    smoke = np.exp(-np.square(radii / 28.0)).astype(np.float32)
    layered = shapes_of([smoke] * 2, ShapeSettings(shape_edges="soft"))
    (found,) = blender_mattes(layered, [1001], tmp_path)
    assert np.abs(found - smoke).mean() < 0.03


def test_an_outline_is_set_in_by_a_distance() -> None:
    points = np.repeat(circle((80, 60), 30)[::20][:, None], 3, axis=1)
    smaller = inset(points, 2.0)
    assert np.hypot(*(smaller[:, 1] - [80, 60]).T) == pytest.approx(np.full(20, 28.0), abs=0.1)
    box = np.repeat(np.array([[10.0, 10.0], [50.0, 10.0], [50.0, 40.0], [10.0, 40.0]])[:, None], 3, axis=1)
    for turned in (box, box[::-1]):  # whichever way it runs
        area = cv2.contourArea(outline(inset(turned, 3.0)).astype(np.float32))
        assert area == pytest.approx(34 * 24, rel=0.01)
