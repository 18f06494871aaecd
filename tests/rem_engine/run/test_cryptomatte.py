"""Cryptomattes, read back by cryptomatte-api and by Blender, and hashes as others have published them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from delivered import Frame, deliver, frames, openexr_channels, openexr_header

from rem_engine.media.cryptomatte import MOST_RANKS, cryptomatte_channels, name_hash, name_id, shared_coverage
from rem_engine.media.exr_writing import matte_box
from rem_engine.media.windows import Box

READER = importlib.util.find_spec("cryptomatte_api") is not None
BLENDER = importlib.util.find_spec("bpy") is not None
LETTERS = ("rök", "煙.01", "Πυρ-2")

_PICK = """
import sys, bpy

path, out, name, width, height = sys.argv[1:6]
bpy.ops.wm.read_factory_settings(use_empty=True)
scene, tree = bpy.context.scene, bpy.data.node_groups.new("pick", "CompositorNodeTree")
scene.compositing_node_group = tree
tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
node, group = tree.nodes.new("CompositorNodeCryptomatteV2"), tree.nodes.new("NodeGroupOutput")
node.source, node.image = "IMAGE", bpy.data.images.load(path)
node.layer_name = "CryptoObject"
node.matte_id = name
tree.links.new(node.outputs["Matte"], group.inputs[0])
render = scene.render
render.resolution_x, render.resolution_y, render.resolution_percentage = int(width), int(height), 100
render.image_settings.file_format, render.image_settings.color_depth = "OPEN_EXR", "32"
scene.view_settings.view_transform = "Raw"
render.filepath = out
bpy.ops.render.render(write_still=True)
"""


@pytest.fixture(scope="module")
def shot() -> list[Frame]:
    """Of three layers that do not overlap, in values that half precision has."""
    (frame,) = frames(1)
    smoke, fire = frame.alpha
    third = np.zeros_like(smoke)
    third[2:7, 3:20] = 0.375
    alpha = np.stack([smoke * (fire == 0), fire, third * (fire == 0) * (smoke == 0)]).astype(np.float16)
    return [Frame(frame.linear, frame.display, alpha.astype(np.float32), np.stack([frame.display] * 3))]


def written(out: Path, shot: list[Frame], layers: tuple[str, ...] = LETTERS, **form: object) -> Path:
    deliver(out, shot, kinds=("cryptomatte",), layers=layers, **form)
    return out / "cryptomatte" / "shot.1001.exr"


@pytest.mark.parametrize(
    ("name", "hashed"),
    [
        # Of MurmurHash3_x86_32 with seed 0, and the two names of the specification's sample picture.
        ("", 0), ("hello", 0x248BFA47), ("hello, world", 0x149BBB7F),
        ("The quick brown fox jumps over the lazy dog", 0x2E4FF723), ("bunny", 0x13851A76), ("default", 0x42C9679F),
    ],
)  # fmt: skip
def test_names_are_hashed_as_others_hash_them(name: str, hashed: int) -> None:
    assert name_hash(name) == hashed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hello", 6.0705627102400005616e-17),
        ("cube", -4.08461912519e15),
        ("sphere", 2.79018604383e15),
        ("mädchen", 6.2361298e25),
    ],
)
def test_a_hash_as_a_float_is_that_of_the_specifications_own_tests(name: str, value: float) -> None:
    assert name_id(name) == pytest.approx(value, rel=1e-7)


def test_no_name_becomes_a_denormal_an_infinity_or_no_number() -> None:
    names = [f"layer{number}" for number in range(20000)]
    odd = [name for name in names if name_hash(name) >> 23 & 0xFF in (0, 255)]
    assert odd  # there are some to look at
    for name in odd:
        value = name_id(name)
        assert np.isfinite(value) and abs(value) >= np.finfo(np.float32).tiny
        assert value.view(np.uint32) ^ name_hash(name) == 1 << 23


def test_the_header_has_the_metadata_of_the_specification(tmp_path: Path, shot: list[Frame]) -> None:
    header = openexr_header(written(tmp_path, shot, exr_compression="dwaa"))
    said = {name: value for name, value in header.items() if name.startswith("cryptomatte/")}
    key = f"cryptomatte/{name_hash('CryptoObject'):08x}"[:19]
    assert {name.rpartition("/")[0] for name in said} == {key}
    assert said[f"{key}/name"] == "CryptoObject"
    assert (said[f"{key}/hash"], said[f"{key}/conversion"]) == ("MurmurHash3_32", "uint32_to_float32")
    manifest = json.loads(str(said[f"{key}/manifest"]))
    assert manifest == {name: f"{int(name_id(name).view(np.uint32)):08x}" for name in LETTERS}
    assert "DWA" not in str(header["compression"])  # which would change names


def test_ranks_fall_and_shares_come_to_no_more_than_one(tmp_path: Path) -> None:
    (frame,) = frames(1)  # its layers overlap
    channels = openexr_channels(written(tmp_path, [frame], ("smoke", "fire")))
    assert set(channels) == {f"CryptoObject00.{letter}" for letter in "RGBA"}
    assert all(channel.dtype == np.float32 for channel in channels.values())
    first, second = channels["CryptoObject00.G"], channels["CryptoObject00.A"]
    assert (first >= second).all() and (second > 0).any()
    together, asked = first + second, frame.alpha.sum(axis=0)
    np.testing.assert_allclose(together[asked > 1], 1.0, atol=2e-7)
    np.testing.assert_allclose(together, np.minimum(asked, 1.0), atol=2e-7)
    assert (channels["CryptoObject00.R"][first == 0] == 0).all()  # nothing has no name


def test_of_very_many_layers_the_weakest_of_a_pixel_are_left_out() -> None:
    mattes = np.linspace(0.01, 0.04, MOST_RANKS + 3, dtype=np.float32)[:, None, None]
    channels = cryptomatte_channels([f"layer{number}" for number in range(len(mattes))], mattes)
    assert len(channels) == 2 * MOST_RANKS
    kept = [
        channels[f"CryptoObject{level:02d}.{letter}"].values.item()
        for level in range(MOST_RANKS // 2)
        for letter in "GA"
    ]
    np.testing.assert_array_equal(kept, shared_coverage(mattes)[::-1, 0, 0][:MOST_RANKS])


@pytest.mark.skipif(not READER, reason="cryptomatte-api is not installed")
def test_cryptomatte_api_reads_every_layer_without_an_error(tmp_path: Path, shot: list[Frame]) -> None:
    from cryptomatte_api import Cryptomatte

    (read,) = Cryptomatte.load(str(written(tmp_path, shot)))
    masks = read.masks()
    assert set(masks) == set(LETTERS)
    for layer, alpha in zip(LETTERS, shot[0].alpha, strict=True):
        np.testing.assert_array_equal(masks[layer], alpha)


@pytest.mark.slow
@pytest.mark.skipif(not BLENDER, reason="bpy is not installed")
@pytest.mark.parametrize("place", [0, 1])
def test_blenders_cryptomatte_node_picks_a_layer_without_an_error(
    tmp_path: Path, shot: list[Frame], place: int
) -> None:
    path, out = written(tmp_path, shot), tmp_path / "picked.exr"
    height, width = shot[0].display.shape[:2]
    command = [sys.executable, "-c", _PICK, str(path), str(out), LETTERS[place], str(width), str(height)]
    subprocess.run(command, check=True, capture_output=True)
    picked = openexr_channels(out)["R"].astype(np.float16)
    np.testing.assert_array_equal(picked, shot[0].alpha[place].astype(np.float16))


def test_two_names_of_one_hash_are_refused(tmp_path: Path, shot: list[Frame]) -> None:
    alike = ("car30104", "x", "car129990")  # both 0xe1353e80, by mmh3
    with pytest.raises(ValueError, match="The names car30104 and car129990 have one and the same number"):
        written(tmp_path, shot, alike)
    deliver(tmp_path, shot, kinds=("alpha",), layers=alike)


def test_an_empty_layer_is_in_the_manifest_and_nowhere_in_the_picture(tmp_path: Path, shot: list[Frame]) -> None:
    empty = [Frame(shot[0].linear, shot[0].display, np.zeros_like(shot[0].alpha), shot[0].foreground)]
    path = written(tmp_path, empty)
    assert all(not channel.any() for channel in openexr_channels(path).values())
    assert any("rök" in str(value) for name, value in openexr_header(path).items() if name.endswith("/manifest"))


def test_tails_of_masks_are_in_no_pixel_and_in_no_window() -> None:
    """A model's masks are 1e-8 and the like nearly everywhere, which no picker is to find and no window to hold."""
    matte = np.full((1, 6, 8), 1e-8, np.float32)
    matte[0, 2, 3:5] = 0.5, 1e-3
    ids = cryptomatte_channels(["star"], matte)["CryptoObject00.R"].values
    assert np.argwhere(ids != 0).tolist() == [[2, 3], [2, 4]]
    assert matte_box(matte) == Box(3, 2, 5, 3)
