"""Forms of delivered EXRs, composited by formula, by OpenImageIO's oiiotool and by Blender's compositor."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from delivered import FPS, Frame, decoded, deliver, frames, oiio_pixels, openexr_channels, openexr_header
from plate_files import write_exr

from rem_engine.media import open_shot
from rem_engine.media.masks import open_masks
from rem_engine.media.shot import ShotInfo
from rem_engine.media.windows import Box, Windows

GROUND = np.array([0.1, 0.6, 0.3], np.float32)
OIIOTOOL = shutil.which("oiiotool", path=str(Path(sys.executable).parent)) or shutil.which("oiiotool")
BLENDER = importlib.util.find_spec("bpy") is not None
LIMIT = 1e-3
"""Of the mean error, as large as half precision and a reader's rounding may make it."""

# Blender's Alpha Over of the first output of an image over another; a matte beside it becomes its alpha first.
_OVER = """
import sys, bpy

front, ground, out, matte = sys.argv[1:5]
bpy.ops.wm.read_factory_settings(use_empty=True)
scene, tree = bpy.context.scene, bpy.data.node_groups.new("over", "CompositorNodeTree")
scene.compositing_node_group = tree
tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")

def image(path):
    node = tree.nodes.new("CompositorNodeImage")
    node.image = bpy.data.images.load(path)
    return node

front, ground = image(front), image(ground)
over, group = tree.nodes.new("CompositorNodeAlphaOver"), tree.nodes.new("NodeGroupOutput")
picture = front.outputs["Combined"]
if matte:
    masked = tree.nodes.new("CompositorNodeSetAlpha")  # in its mode that multiplies, Apply Mask
    tree.links.new(picture, masked.inputs["Image"])
    tree.links.new(front.outputs[matte], masked.inputs["Alpha"])
    picture = masked.outputs[0]
tree.links.new(ground.outputs[0], over.inputs["Background"])
tree.links.new(picture, over.inputs["Foreground"])
tree.links.new(over.outputs[0], group.inputs[0])
render = scene.render
render.resolution_x, render.resolution_y, render.resolution_percentage = *ground.image.size, 100
render.image_settings.file_format, render.image_settings.color_depth = "OPEN_EXR", "32"
scene.view_settings.view_transform = "Raw"
render.filepath = out
bpy.ops.render.render(write_still=True)
"""


@pytest.fixture(scope="module")
def shot() -> list[Frame]:
    return frames(1)


@pytest.fixture
def ground(tmp_path: Path, shot: list[Frame]) -> Path:
    pixels = np.broadcast_to(np.append(GROUND, 1.0), (*shot[0].alpha.shape[1:], 4)).astype(np.float32)
    return write_exr(tmp_path / "ground.exr", {"RGBA": np.ascontiguousarray(pixels)})


def delivered(out: Path, shot: list[Frame], layers: tuple[str, ...] = ("smoke",), **form: object) -> Path:
    deliver(out, shot, kinds=("exr",), layers=layers, **form)
    return out / "exr" / "shot.1001.exr"


def analytic(frame: Frame, alpha: np.ndarray) -> np.ndarray:
    """The plate's colours over the ground (Porter and Duff, 1984)."""
    alpha = alpha.astype(np.float64)[..., None]
    return frame.linear * alpha + GROUND * (1 - alpha)


def rgb(path: Path, prefix: str = "") -> np.ndarray:
    channels = openexr_channels(path)
    return np.stack([channels[f"{prefix}{name}"] for name in "RGB"], axis=-1)


def oiiotool(out: Path, *command: object) -> np.ndarray:
    # Each command ends with the ground over which it is put.
    line = [OIIOTOOL, *command, "--over", "--ch", "R,G,B", "-d", "float", "-o", out]
    subprocess.run([str(part) for part in line], check=True)
    return oiio_pixels(out)[0]


def blender(out: Path, front: Path, ground: Path, matte: str = "") -> np.ndarray:
    command = [sys.executable, "-c", _OVER, str(front), str(ground), str(out), matte]
    subprocess.run(command, check=True, capture_output=True)
    return rgb(out)


@pytest.mark.parametrize("settings", [{"exr_form": "premultiplied"}, {"premultiplied": True}])
def test_premultiplied_colours_are_over_any_ground_by_the_formula(
    tmp_path: Path, shot: list[Frame], settings: dict[str, object]
) -> None:
    path = delivered(tmp_path, shot, ("smoke", "fire"), exr_type="float", **settings)
    channels = openexr_channels(path)
    for prefix, alpha in (("", shot[0].alpha.max(axis=0)), ("smoke.", shot[0].alpha[0]), ("fire.", shot[0].alpha[1])):
        np.testing.assert_array_equal(channels[f"{prefix}A"], alpha)
        over = rgb(path, prefix) + GROUND * (1 - alpha[..., None])
        np.testing.assert_allclose(over, analytic(shot[0], alpha), atol=2e-6)


@pytest.mark.parametrize("form", ["premultiplied", "plate"])
@pytest.mark.parametrize("linear", [True, False])
def test_decontaminated_layers_are_premultiplied_in_every_form(
    tmp_path: Path, shot: list[Frame], form: str, linear: bool
) -> None:
    settings = {"exr_type": "float", "exr_linear": linear, "exr_form": form}
    path = delivered(tmp_path, shot, ("smoke", "fire"), decontaminated=True, **settings)
    for number, layer in enumerate(("smoke", "fire")):
        frame, alpha = shot[0], shot[0].alpha[number][..., None]
        # Where the plate is clipped, the layer keeps its highlights.
        seen = frame.linear.max(axis=-1) <= 1
        straight = decoded(frame.foreground[number]) if linear else frame.foreground[number]
        np.testing.assert_allclose(rgb(path, f"{layer}.")[seen], (straight * alpha)[seen], atol=2e-6)


def test_nothing_beside_the_plate_can_be_taken_for_its_alpha(tmp_path: Path, shot: list[Frame]) -> None:
    path = delivered(tmp_path, shot, ("smoke", "fire"), exr_type="float", exr_form="plate")
    assert set(openexr_channels(path)) == {"R", "G", "B", "smoke.A", "fire.A"}
    np.testing.assert_array_equal(rgb(path), shot[0].linear)
    assert "without an alpha" in str(openexr_header(path)["comments"])


def test_packed_layers_are_the_four_channels_of_a_picture(tmp_path: Path, shot: list[Frame]) -> None:
    names = ("smoke", "fire", "car", "dust", "rain")
    alpha = np.stack([shot[0].alpha[0] * weight for weight in (1.0, 0.8, 0.6, 0.4, 0.2)]).astype(np.float32)
    frame = Frame(shot[0].linear, shot[0].display, alpha, np.stack([shot[0].display] * 5))
    path = delivered(tmp_path, [frame], names, exr_form="packed", exr_compression="dwaa", exr_type="float")
    channels, header = openexr_channels(path), openexr_header(path)
    assert set(channels) == {"R", "G", "B", "A", "packed2.R"}
    assert header["rem/packed"] == "R: smoke, G: fire, B: car, A: dust, packed2.R: rain"
    box = cropped(header, alpha.max(axis=0))
    for place, matte in zip(("R", "G", "B", "A", "packed2.R"), alpha, strict=True):
        np.testing.assert_array_equal(channels[place], matte[box])  # and dwaa, which loses in R, G and B, was not taken


def test_each_layer_can_have_an_exr_of_its_own_cropped_to_what_it_holds(tmp_path: Path, shot: list[Frame]) -> None:
    deliver(tmp_path, shot, kinds=("alpha_exr",), exr_type="float")
    for layer, alpha in zip(("smoke", "fire"), shot[0].alpha, strict=True):
        path = tmp_path / layer / "alpha_exr" / "shot.1001.exr"
        channels = openexr_channels(path)
        np.testing.assert_array_equal(channels.pop("A"), alpha[cropped(openexr_header(path), alpha)])
        assert not channels


def test_an_empty_layers_exr_has_one_pixel_of_nothing(tmp_path: Path, shot: list[Frame]) -> None:
    empty = Frame(shot[0].linear, shot[0].display, np.zeros_like(shot[0].alpha), shot[0].foreground)
    for form in ({"kinds": ("alpha_exr",)}, {"kinds": ("exr",), "exr_form": "packed"}):
        deliver(tmp_path / str(len(form)), [empty], **form)
    for path in tmp_path.rglob("*.exr"):
        assert all(not channel.any() and channel.shape == (1, 1) for channel in openexr_channels(path).values())


def cropped(header: dict[str, object], alpha: np.ndarray) -> tuple[slice, slice]:
    """The pixels of a data window, which are just those that there is something of."""
    (left, top), (right, bottom) = header["dataWindow"]
    box = slice(int(top), int(bottom) + 1), slice(int(left), int(right) + 1)
    outside = alpha.copy()
    outside[box] = 0
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    assert not outside.any() and (top, bottom) == (rows[0], rows[-1]) and (left, right) == (columns[0], columns[-1])
    return box


@pytest.mark.skipif(OIIOTOOL is None, reason="oiiotool is not installed")
def test_oiiotool_composites_by_the_formula(tmp_path: Path, shot: list[Frame], ground: Path) -> None:
    expected, out = analytic(shot[0], shot[0].alpha[0]), tmp_path / "over.exr"
    path = delivered(tmp_path / "premultiplied", shot, exr_form="premultiplied")
    assert np.abs(oiiotool(out, path, "--ch", "R,G,B,A", ground) - expected).mean() <= LIMIT
    path = delivered(tmp_path / "plate", shot, exr_form="plate")
    over = oiiotool(out, path, "--ch", "R,G,B,A=smoke.A", "--premult", ground)
    assert np.abs(over - expected).mean() <= LIMIT


@pytest.mark.skipif(OIIOTOOL is None, reason="oiiotool is not installed")
def test_oiiotool_finds_mattes_where_the_plate_is(tmp_path: Path, shot: list[Frame], ground: Path) -> None:
    """Mattes alone over the plate's own file: the crop is undone by the windows."""
    plate = write_exr(tmp_path / "plate.exr", {"RGB": shot[0].linear})
    path = delivered(tmp_path, shot, exr_form="matte")
    joined = (plate, path, "--ch", "A", "--chappend", "--premult")
    over = oiiotool(tmp_path / "over.exr", *joined, ground)
    assert np.abs(over - analytic(shot[0], shot[0].alpha[0])).mean() <= LIMIT


@pytest.mark.slow
@pytest.mark.skipif(not BLENDER, reason="Blender's Python package (bpy) is not installed")
def test_blender_composites_by_the_formula(tmp_path: Path, shot: list[Frame], ground: Path) -> None:
    expected, out = analytic(shot[0], shot[0].alpha[0]), tmp_path / "over.exr"
    path = delivered(tmp_path / "premultiplied", shot, exr_form="premultiplied")
    assert np.abs(blender(out, path, ground) - expected).mean() <= LIMIT
    path = delivered(tmp_path / "plate", shot, exr_form="plate")
    assert np.abs(blender(out, path, ground, matte="smoke") - expected).mean() <= LIMIT


def test_mattes_alone_are_cropped_to_what_they_hold(tmp_path: Path, shot: list[Frame]) -> None:
    path = delivered(tmp_path, shot, ("smoke", "fire"), exr_type="float", exr_form="matte")
    header, channels = openexr_header(path), openexr_channels(path)
    assert set(channels) == {"A", "smoke.A", "fire.A"}
    rows, columns = np.nonzero(shot[0].alpha.max(axis=0))
    low, high = (np.array(corner) for corner in header["dataWindow"])
    assert (tuple(low), tuple(high)) == ((columns.min(), rows.min()), (columns.max(), rows.max()))
    assert [tuple(corner) for corner in header["displayWindow"]] == [(0, 0), (63, 47)]
    box = (slice(low[1], high[1] + 1), slice(low[0], high[0] + 1))
    np.testing.assert_array_equal(channels["smoke.A"], shot[0].alpha[0][box])
    np.testing.assert_array_equal(channels["A"], shot[0].alpha.max(axis=0)[box])
    assert header["colorInteropID"] == "data" and "chromaticities" not in header


def test_an_empty_matte_is_a_pixel_of_nothing(tmp_path: Path, shot: list[Frame]) -> None:
    empty = Frame(shot[0].linear, shot[0].display, np.zeros_like(shot[0].alpha), shot[0].foreground)
    path = delivered(tmp_path, [empty], exr_form="matte")
    assert {values.shape for values in openexr_channels(path).values()} == {(1, 1)}
    masks = open_masks(path, "smoke.A", windows=Windows(Box(0, 0, 64, 48), Box(0, 0, 64, 48)))
    np.testing.assert_array_equal(next(masks.frames()), np.zeros((48, 64)))


def test_cropped_mattes_are_read_back_in_their_place(tmp_path: Path, shot: list[Frame]) -> None:
    path, whole = delivered(tmp_path, shot, exr_type="float", exr_form="matte"), Box(0, 0, 64, 48)
    masks = open_masks(path, "smoke.A", windows=Windows(whole, whole))
    np.testing.assert_array_equal(next(masks.frames()), shot[0].alpha[0])


def test_a_crop_lies_within_the_plates_overscan(tmp_path: Path, shot: list[Frame]) -> None:
    windows = Windows(Box(-8, -4, 56, 44), Box(0, 0, 48, 40))
    path = delivered(tmp_path, shot, info=ShotInfo(48, 64, FPS, windows=windows), exr_form="matte")
    rows, columns = np.nonzero(shot[0].alpha[0])
    header = openexr_header(path)
    assert tuple(header["dataWindow"][0]) == (columns.min() - 8, rows.min() - 4)
    assert [tuple(corner) for corner in header["displayWindow"]] == [(0, 0), (47, 39)]


def test_a_matte_at_full_hd_takes_a_hundredth_of_the_plate_beside_it(tmp_path: Path) -> None:
    y, x = np.mgrid[:1080, :1920].astype(np.float32)
    alpha = np.clip(150.5 - np.hypot(y - 540, x - 900), 0, 1)[None].astype(np.float32)
    grain = np.random.default_rng(0).random((1080, 1920, 3), dtype=np.float32)
    frame = Frame(grain, grain, alpha, grain[None])
    sizes = {form: delivered(tmp_path / form, [frame], exr_form=form).stat().st_size for form in ("plate", "matte")}
    assert sizes["matte"] < 0.01 * sizes["plate"] and sizes["matte"] < 60_788


def test_a_delivered_plate_can_be_segmented_again(tmp_path: Path, shot: list[Frame]) -> None:
    path = delivered(tmp_path, shot, ("smoke", "fire"), exr_type="float", exr_form="plate")
    with open_shot(path) as again:
        np.testing.assert_array_equal(again.read_linear(0, 1)[0], shot[0].linear)


def test_saved_settings_mean_what_they_did(tmp_path: Path, shot: list[Frame]) -> None:
    """Straight leaves the plate's colours as they are, premultiplied multiplies them."""
    np.testing.assert_array_equal(rgb(delivered(tmp_path / "a", shot, exr_type="float")), shot[0].linear)
    path = delivered(tmp_path / "b", shot, exr_type="float", premultiplied=True)
    np.testing.assert_array_equal(rgb(path), shot[0].linear * shot[0].alpha[0][..., None])
    assert OpenEXR.File(str(path)).header()["comments"].startswith("Scene-linear, Rec. 709 primaries; premultiplied")
