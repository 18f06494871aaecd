"""Shapes of rendered shots: how well they give the mattes back, with how many keys and vertices.

    python benchmarks/shapes.py --blender    # the table, with J of what Blender draws
    python benchmarks/shapes.py --picture docs/images/roto-shapes.jpg

Each shot has 60 frames of 640x360, textured things over a textured ground, and mattes that are exact: things are drawn
in their own coordinates, and move with their texture, so that it is known where each point of an outline goes. J is of
mattes and drawn shapes at one half, the mean over the frames that show anything, and the least of them; slide, pixels
by which vertices have moved, on the mean, on the thing they stand on since their shape's first frame.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from rem_engine.matte.motion import Picture, motions_between
from rem_engine.metrics import region_similarity
from rem_engine.shapes import ShapeMaker, ShapeSet, ShapeSettings, rasterised
from rem_engine.shapes.blender import blender_script
from rem_engine.shapes.model import outline

HEIGHT, WIDTH, FRAMES = 360, 640, 60
_FINE = 8  # places a pixel and side by which edges are antialiased


@dataclass(frozen=True)
class Thing:
    """Something textured.

    Attributes:
        inside: whether its own places [...,2] lie within it, at time t.
        to_own: places in the frame [...,2] (x, y) at time t -> its own.
        seed, colour: of its texture.
    """

    inside: Callable[[np.ndarray, float], np.ndarray]
    to_own: Callable[[np.ndarray, float], np.ndarray]
    seed: int
    colour: tuple[float, float, float]


def star(radius: float, inner: float, points: int = 5) -> Callable[[np.ndarray, float], np.ndarray]:
    """A star about its own middle."""
    angles = np.arange(2 * points) * np.pi / points
    radii = np.where(np.arange(2 * points) % 2 == 0, radius, inner)
    corners = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)

    def inside(own: np.ndarray, t: float) -> np.ndarray:
        x, y = own[..., 0], own[..., 1]
        crossed = np.zeros(x.shape, bool)
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0)):
            between = (y0 > y) != (y1 > y)
            crossed ^= between & (x < x0 + (y - y0) / (y1 - y0 if y1 != y0 else 1.0) * (x1 - x0))
        return crossed

    return inside


def disc(radius: float) -> Callable[[np.ndarray, float], np.ndarray]:
    return lambda own, t: np.hypot(own[..., 0], own[..., 1]) < radius


def rigid(start: tuple[float, float], speed: tuple[float, float], turn: float = 0.0):
    """Moves and turns, pixels and radians a frame."""

    def to_own(places: np.ndarray, t: float) -> np.ndarray:
        x, y = (places[..., axis] - start[axis] - speed[axis] * t for axis in (0, 1))
        cosine, sine = np.cos(turn * t), np.sin(turn * t)
        return np.stack([cosine * x + sine * y, -sine * x + cosine * y], axis=-1)

    return to_own


def wobbling(centre: tuple[float, float], radius: float):
    """Breathes in two and three lobes, its texture with it: places of a disc, moved along the radius."""

    def to_own(places: np.ndarray, t: float) -> np.ndarray:
        x, y = places[..., 0] - centre[0] - 20 * np.sin(t / 15), places[..., 1] - centre[1]
        angle = np.arctan2(y, x)
        stretch = 1 + 0.18 * np.sin(2 * angle + t / 9) + 0.12 * np.sin(3 * angle - t / 7)
        return np.stack([x / stretch, y / stretch], axis=-1)

    return to_own


SHOTS = {
    "star": (Thing(star(110, 48), rigid((230, 180), (3.0, 0.4), 0.045), 1, (0.75, 0.4, 0.3)),),
    "blob": (Thing(disc(90), wobbling((320, 180), 90), 2, (0.3, 0.6, 0.7)),),
    "crossing": (
        Thing(disc(60), rigid((120, 170), (7.0, 0.0)), 3, (0.7, 0.6, 0.3)),
        Thing(star(80, 50, 4), rigid((520, 190), (-7.0, 0.0), 0.02), 4, (0.4, 0.3, 0.7)),
    ),
    "leaving": (Thing(star(90, 60, 6), rigid((420, 180), (6.0, 1.0), -0.03), 5, (0.3, 0.7, 0.4)),),
}


def texture(seed: int, colour: tuple[float, float, float]) -> np.ndarray:
    """float32 [1024,1024,3] that tiles."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((1024, 1024, 3), np.float32)
    for sigma, share in ((1.5, 0.06), (4.0, 0.08), (12.0, 0.1)):
        noise = cv2.GaussianBlur(rng.standard_normal((1024, 1024, 3)).astype(np.float32), (0, 0), sigma)
        picture += share * noise / noise.std()
    return (picture + np.float32(colour)).clip(0.02, 0.98)


def rendered(things: tuple[Thing, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(plate [H,W,3], matte [H,W]) of each frame, float32 in 0..1; later things are in front."""
    middles = np.stack(np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5), axis=-1)
    ground, textures = texture(99, (0.45, 0.45, 0.42)), [texture(thing.seed, thing.colour) for thing in things]
    for t in range(FRAMES):
        plate = _painted(ground, middles - np.array([0.7 * t, 0.2 * t]))
        for thing, painted in zip(things, textures, strict=True):
            alpha = covered((thing,), t)[..., None]
            plate = plate * (1 - alpha) + alpha * _painted(painted, thing.to_own(middles, t))
        yield plate.astype(np.float32), covered(things, t)


def covered(things: tuple[Thing, ...], t: float) -> np.ndarray:
    """float32 [H,W]: how much of each pixel lies within any of the things."""

    def inside(places: np.ndarray) -> np.ndarray:
        return np.logical_or.reduce([thing.inside(thing.to_own(places, t), t) for thing in things])

    corners = inside(np.stack(np.meshgrid(np.arange(WIDTH + 1.0), np.arange(HEIGHT + 1.0)), axis=-1))
    around = np.stack([corners[:-1, :-1], corners[:-1, 1:], corners[1:, :-1], corners[1:, 1:]])
    matte = around.all(axis=0).astype(np.float32)
    rows, columns = np.nonzero(around.any(axis=0) & ~around.all(axis=0))
    parts = (np.arange(_FINE) + 0.5) / _FINE
    x, y = columns[:, None, None] + parts[None, None, :], rows[:, None, None] + parts[None, :, None]
    fine = np.stack(np.broadcast_arrays(x, y), axis=-1)
    matte[rows, columns] = inside(fine).mean(axis=(1, 2))
    return matte


def _painted(picture: np.ndarray, own: np.ndarray) -> np.ndarray:
    return cv2.remap(picture, (own % 1024).astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shots", nargs="*", default=list(SHOTS), help="of star, blob, crossing, leaving (all)")
    parser.add_argument("--blender", action="store_true", help="have Blender (bpy) draw its masks, too")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="draw star and blob with their shapes, and no table"
    )
    options = parser.parse_args()
    if options.picture:
        cv2.imwrite(str(options.picture), _picture(), [cv2.IMWRITE_JPEG_QUALITY, 88])
        return
    print(
        "shot     tolerance  keys  of frames  vertices  shapes       J  least J  slide" + "  Blender" * options.blender
    )
    for name in options.shots:
        frames = list(rendered(SHOTS[name]))
        began = time.process_time()
        found = made(name, frames, SETTINGS.values())
        took = time.process_time() - began
        for what, shapes in zip(SETTINGS, found, strict=True):
            j = similarities([rasterised(shapes, index) for index in range(len(frames))], frames)
            length = sum(shape.last - shape.first + 1 for shape in shapes.shapes)
            print(
                f"{name:9}{what:9}{shapes.key_count:6}{length:11}{max(shape.vertices for shape in shapes.shapes):10}"
                f"{len(shapes.shapes):8}{np.mean(j):8.4f}{min(j):9.3f}{slide(shapes, SHOTS[name]):7.2f}"
                + (f"{np.mean(similarities(by_blender(shapes), frames)):9.4f}" if options.blender else "")
            )
        print(f"{name}: {took:.0f} s of processor time for all of them")


SETTINGS = {
    "1 pixel": ShapeSettings(),
    "1.5": ShapeSettings(shape_tolerance=1.5),
    "every": ShapeSettings(shape_keys="every"),
}


def made(name: str, frames: list[tuple[np.ndarray, np.ndarray]], settings: Iterable[ShapeSettings]) -> list[ShapeSet]:
    """Shapes of a shot by each of the settings."""
    makers, before = [ShapeMaker(name, own) for own in settings], None
    for index, (plate, matte) in enumerate(frames):
        picture = Picture.of(plate)
        motion = motions_between(before, picture)[0] if before else None
        for maker in makers:
            maker.add(index, matte, motion)
        before = picture
    return [maker.finish(24.0, tuple(range(1001, 1001 + len(frames)))) for maker in makers]


_RENDER = """
import runpy, sys
import bpy

script, out, width, height, first, last = sys.argv[1:]
runpy.run_path(script)
scene, tree = bpy.context.scene, bpy.data.node_groups.new("masks", "CompositorNodeTree")
scene.compositing_node_group = tree
tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
node, group = tree.nodes.new("CompositorNodeMask"), tree.nodes.new("NodeGroupOutput")
node.mask = bpy.data.masks[-1]
tree.links.new(node.outputs["Mask"], group.inputs[0])
scene.render.engine = "BLENDER_WORKBENCH"
scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = int(width), int(height), 100
scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "OPEN_EXR", "BW"
for frame in range(int(first), int(last) + 1):
    scene.frame_set(frame)
    scene.render.filepath = f"{out}/{frame}.exr"
    bpy.ops.render.render(write_still=True)
"""


def by_blender(shapes: ShapeSet) -> list[np.ndarray]:
    """What Blender draws of its masks, in a process of its own."""
    import OpenEXR

    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "masks.py")
        script.write_text(blender_script(shapes), "utf-8")
        ends = (shapes.numbers[0], shapes.numbers[-1])
        command = [sys.executable, "-c", _RENDER, script, folder, shapes.width, shapes.height, *ends]
        subprocess.run([str(word) for word in command], check=True, capture_output=True)
        files = [OpenEXR.File(f"{folder}/{number}.exr") for number in shapes.numbers]
        return [next(iter(file.channels().values())).pixels for file in files]


def _picture() -> np.ndarray:
    """Frames 0, 20 and 40 of star and blob, uint8 [h,w,3] (BGR): outlines, vertices and handles over the plate."""
    rows = []
    for name in ("star", "blob"):
        frames = list(rendered(SHOTS[name]))
        (shapes,) = made(name, frames, [ShapeSettings()])
        rows.append(np.concatenate([_drawn(frames[index][0], shapes, index) for index in (0, 20, 40)], axis=1))
    return np.concatenate(rows)


def _drawn(plate: np.ndarray, shapes: ShapeSet, index: int) -> np.ndarray:
    size, dark, light = (WIDTH * 3 // 4, HEIGHT * 3 // 4), (40, 40, 40), (255, 255, 255)
    picture = cv2.resize(
        np.ascontiguousarray((plate[..., ::-1] * 200).astype(np.uint8)), size, interpolation=cv2.INTER_AREA
    )
    for shape in shapes.shapes:
        points = shape.at(index)
        if points is None:
            continue
        cv2.polylines(picture, [_fixed(outline(points))], True, (60, 220, 255), 2, cv2.LINE_AA, 4)
        for arriving, vertex, leaving in points:
            cv2.polylines(picture, [_fixed(np.array([arriving, vertex, leaving]))], False, light, 1, cv2.LINE_AA, 4)
            cv2.circle(picture, tuple(int(v) for v in _fixed(vertex)), 64, light, -1, cv2.LINE_AA, 4)
            cv2.circle(picture, tuple(int(v) for v in _fixed(vertex)), 64, dark, 1, cv2.LINE_AA, 4)
        key = " (key)" if index in shape.keys else ""
        text = (
            f"frame {shapes.numbers[index]}{key}: {shape.vertices} vertices, {len(shape.keys)} keys of {FRAMES} frames"
        )
        cv2.putText(picture, text, (12, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.5, light, 1, cv2.LINE_AA)
    return picture


def _fixed(places: np.ndarray) -> np.ndarray:
    """As OpenCV draws parts of pixels."""
    return np.round((places * 0.75 - 0.5) * 16.0).astype(np.int32)


def similarities(drawn: list[np.ndarray], frames: list[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """J of each frame that shows anything."""
    return [
        float(region_similarity(found > 0.5, matte > 0.5))
        for found, (_, matte) in zip(drawn, frames, strict=True)
        if (matte > 0.5).any()
    ]


def slide(shapes: ShapeSet, things: tuple[Thing, ...]) -> float:
    """Pixels of the thing's own that vertices have moved by since their shape began, the mean; of one thing alone."""
    if len(things) > 1:
        return float("nan")
    found = []
    for shape in shapes.shapes:
        own = [things[0].to_own(shape.at(t)[:, 1], t) for t in range(shape.first, shape.last + 1)]
        found.append(np.linalg.norm(np.stack(own) - own[0], axis=-1).mean())
    return float(np.mean(found))


if __name__ == "__main__":
    main()
