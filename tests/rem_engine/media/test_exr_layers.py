"""Which part, layer and view of an EXR is read; pictures of luminance and chroma."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import OpenEXR
import OpenImageIO as oiio
import pytest
from plate_files import write_exr
from red_model import deliver

from rem_engine.media import open_shot
from rem_engine.media.plate_settings import PlateSettings

HEIGHT, WIDTH = 24, 32
VALUES = {"R": 0.25, "G": 0.5, "B": 2.0, "A": 0.75, "Z": 7.0}


def channels(names: str, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Constant half channels of names such as "R G B A" or "beauty.red beauty.green beauty.blue"."""
    first = {name: name.rpartition(".")[2][0].upper() for name in names.split()}
    return {name: np.full((HEIGHT, WIDTH), scale * VALUES[letter], np.float16) for name, letter in first.items()}


def write_parts(path: Path, *parts: tuple[str, str, dict[str, np.ndarray]]) -> Path:
    """An EXR of several parts: name, view ("" for none), channels."""
    written = []
    for name, view, held in parts:
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        written.append(OpenEXR.Part(header | ({"view": view} if view else {}), held, name))
    OpenEXR.File(written).write(str(path))
    return path


def read(path: Path, layer: str = "", view: str = "") -> list[float]:
    with open_shot(path, PlateSettings(layer=layer, view=view)) as shot:
        pixels = shot.read_linear(0, 1)[0]
    assert pixels.shape == (HEIGHT, WIDTH, 3) and np.ptp(pixels, axis=(0, 1)).max() == 0
    return pixels[0, 0].tolist()


COLOUR = [0.25, 0.5, 2.0]
HALF, TWICE = [0.125, 0.25, 1.0], [0.5, 1.0, 4.0]


@pytest.mark.parametrize(
    "names",
    [
        "R G B",
        "R G B A Z",
        "r g b",
        "beauty.R beauty.G beauty.B",
        "beauty.red beauty.green beauty.blue beauty.alpha",
        "beauty.r beauty.g beauty.b depth.Z",
        "light.key.R light.key.G light.key.B",
    ],
)
def test_a_layer_of_one_part_is_found_by_every_usual_name(tmp_path: Path, names: str) -> None:
    assert read(write_exr(tmp_path / "a.exr", channels(names))) == COLOUR


def test_unnamed_channels_come_before_layers_and_a_layer_can_be_asked_for(tmp_path: Path) -> None:
    held = channels("R G B A Z") | channels("spec.R spec.G spec.B", 2) | channels("diff.red diff.green diff.blue", 0.5)
    path = write_exr(tmp_path / "a.exr", held)
    assert (read(path), read(path, "spec"), read(path, "DIFF")) == (COLOUR, TWICE, HALF)
    with pytest.raises(ValueError, match=r"a\.exr holds no picture gloss, but .*spec"):
        read(path, "gloss")


def test_a_part_of_depth_does_not_hide_the_colour(tmp_path: Path) -> None:
    parts = (("depth", "", channels("Z")), ("rgba", "", channels("R G B A")))
    assert read(write_parts(tmp_path / "a.exr", *parts)) == COLOUR
    assert read(write_parts(tmp_path / "b.exr", *reversed(parts))) == COLOUR


def test_of_several_parts_with_colour_one_is_asked_for(tmp_path: Path) -> None:
    path = write_parts(
        tmp_path / "a.exr",
        ("beauty", "", channels("R G B A")),
        ("spec", "", channels("R G B", 2)),
        ("diff", "", channels("diff.red diff.green diff.blue", 0.5)),
        ("depth", "", channels("Z")),
    )
    with pytest.raises(ValueError, match=r"a\.exr holds several pictures, beauty, spec, diff: ask for one .*--layer"):
        open_shot(path)
    assert [read(path, name) for name in ("beauty", "spec", "diff")] == [COLOUR, TWICE, HALF]


def test_views_are_the_files_first_or_what_is_asked_for(tmp_path: Path) -> None:
    in_parts = write_parts(
        tmp_path / "parts.exr",
        ("rgba.left", "left", channels("R G B")),
        ("rgba.right", "right", channels("R G B", 2)),
        ("spec.left", "left", channels("spec.R spec.G spec.B", 0.5)),
    )
    held = (
        channels("R G B") | channels("right.R right.G right.B", 2) | channels("spec.right.R spec.right.G spec.right.B")
    )
    in_one = write_exr(tmp_path / "one.exr", held, multiView=["left", "right"])
    for path in (in_parts, in_one):
        assert (read(path), read(path, view="left"), read(path, view="right")) == (COLOUR, COLOUR, TWICE)
        with pytest.raises(ValueError, match=rf"{path.name} holds no view centre, but left, right"):
            read(path, view="centre")
    assert read(in_parts, "spec") == HALF
    assert read(in_one, "spec", "right") == COLOUR


def test_what_an_exr_without_names_is_not_asked_for(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "a.exr", channels("R G B"))
    with pytest.raises(ValueError, match=r"a\.exr holds no view left, nor any other views: do not ask for one\."):
        read(path, view="left")
    with pytest.raises(ValueError, match=r"a\.exr holds no picture beauty, nor any other layers: do not ask for one\."):
        read(path, layer="beauty")


def test_a_layer_asked_of_what_has_none_is_refused(tmp_path: Path) -> None:
    oiio.ImageBuf(np.zeros((32, 32, 3), np.uint8)).write(str(tmp_path / "a.png"))
    with pytest.raises(ValueError, match=r"a\.png is no EXR, and holds no layers"):
        open_shot(tmp_path / "a.png", PlateSettings(layer="beauty"))


@pytest.mark.usefixtures("fake_model")
def test_a_run_reads_the_layer_it_is_asked_for(tmp_path: Path) -> None:
    held = channels("R G B") | channels("spec.R spec.G spec.B", 2)
    path = write_exr(tmp_path / "a.exr", held)
    assert deliver(path, tmp_path / "out", "--write", "exr", "--layer", "spec") == 0
    (file,) = (tmp_path / "out" / "exr").iterdir()
    delivered = OpenEXR.File(str(file), separate_channels=True).channels()
    assert [float(delivered[name].pixels[3, 3]) for name in "RGB"] == TWICE


@pytest.mark.usefixtures("fake_model")
def test_a_delivered_exr_says_which_view_it_is(tmp_path: Path) -> None:
    held = channels("R G B") | channels("right.R right.G right.B", 2)
    path = write_exr(tmp_path / "a.exr", held, multiView=["left", "right"])
    for given, view, values in (((), "left", COLOUR), (("--view", "right"), "right", TWICE)):
        assert deliver(path, tmp_path / view, "--write", "exr", *given) == 0
        (file,) = (tmp_path / view / "exr").iterdir()
        delivered = OpenEXR.File(str(file), separate_channels=True)
        assert delivered.header()["view"] == view and "multiView" not in delivered.header()
        assert [float(delivered.channels()[name].pixels[3, 3]) for name in "RGB"] == values


# ---- luminance and chroma


def luminance_chroma(rgb: np.ndarray, weights: tuple[float, ...]) -> dict[str, np.ndarray]:
    """Y, RY and BY of linear RGB, as the technical introduction to OpenEXR defines them."""
    luminance = rgb @ np.array(weights)
    return {"Y": luminance, "RY": (rgb[..., 0] - luminance) / luminance, "BY": (rgb[..., 2] - luminance) / luminance}


# Of Rec. 709 (ITU-R BT.709, 3.2) and Rec. 2020 (ITU-R BT.2020, table 4) primaries.
REC_709, REC_2020 = (0.2126, 0.7152, 0.0722), (0.2627, 0.6780, 0.0593)
XY_2020 = (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329)


@pytest.mark.parametrize(("weights", "header"), [(REC_709, {}), (REC_2020, {"chromaticities": XY_2020})])
def test_luminance_and_chroma_become_colour(tmp_path: Path, weights: tuple[float, ...], header: dict) -> None:
    rgb = np.random.default_rng(0).uniform(0.1, 3, (HEIGHT, WIDTH, 3))
    held = {name: values.astype(np.float32) for name, values in luminance_chroma(rgb, weights).items()}
    write_exr(tmp_path / "a.exr", held, **header)
    with open_shot(tmp_path / "a.exr") as shot:
        np.testing.assert_allclose(shot.read_linear(0, 1)[0], rgb, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("places", [0.0, 0.3, np.nan])
def test_luminance_and_chroma_of_primaries_that_are_none_are_refused(tmp_path: Path, places: float) -> None:
    held = luminance_chroma(np.full((HEIGHT, WIDTH, 3), 0.5), REC_709)
    held = {name: values.astype(np.float32) for name, values in held.items()}
    path = write_exr(tmp_path / "a.exr", held, chromaticities=(places,) * 8)
    with (
        open_shot(path, PlateSettings(plate_space="linear")) as shot,
        pytest.raises(ValueError, match=r"The chromaticities of a\.exr span no colours, .*: save it as R, G, B\."),
    ):
        shot.read(0, 1)


def write_subsampled(path: Path, held: dict[str, np.ndarray]) -> Path:
    """An uncompressed EXR of half channels, RY and BY at every other pixel and line, by the file layout."""
    names, sampling = sorted(held), {"Y": 1, "RY": 2, "BY": 2}

    def attribute(name: str, kind: str, data: bytes) -> bytes:
        return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(data)) + data

    height, width = held["Y"].shape
    listed = b"".join(f"{name}\0".encode() + struct.pack("<iB3xii", 1, 0, *[sampling[name]] * 2) for name in names)
    box = struct.pack("<4i", 0, 0, width - 1, height - 1)
    head = struct.pack("<ii", 20000630, 2) + b"".join(
        attribute(*entry)
        for entry in (
            ("channels", "chlist", listed + b"\0"),
            ("compression", "compression", b"\0"),
            ("dataWindow", "box2i", box),
            ("displayWindow", "box2i", box),
            ("lineOrder", "lineOrder", b"\0"),
            ("pixelAspectRatio", "float", struct.pack("<f", 1)),
            ("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
            ("screenWindowWidth", "float", struct.pack("<f", 1)),
        )
    )
    lines = []
    for y in range(height):
        here = [held[name][y, :: sampling[name]] for name in names if y % sampling[name] == 0]
        data = b"".join(values.astype("<f2").tobytes() for values in here)
        lines.append(struct.pack("<ii", y, len(data)) + data)
    begin = len(head) + 1 + 8 * height
    offsets = [begin + sum(map(len, lines[:y])) for y in range(height)]
    path.write_bytes(head + b"\0" + struct.pack(f"<{height}Q", *offsets) + b"".join(lines))
    return path


def test_chroma_of_half_the_size_is_brought_to_the_pictures(tmp_path: Path) -> None:
    down, across = np.mgrid[:48, :64] / 64
    rgb = np.stack([0.2 + across, 0.3 + down, 1.4 - across], axis=-1)
    path = write_subsampled(tmp_path / "a.exr", luminance_chroma(rgb, REC_709))
    with OpenEXR.File(str(path), separate_channels=True) as file:  # that it is such a file, by OpenEXR itself
        assert file.channels()["RY"].pixels.shape == (24, 32)
    with open_shot(path) as shot:
        read = shot.read_linear(0, 1)[0]
    assert read.shape == (48, 64, 3)
    np.testing.assert_allclose(read[4:-4, 4:-4], rgb[4:-4, 4:-4], rtol=0.02, atol=0.005)
    assert oiio.get_int_attribute("openexr:core") == 1  # the process's own settings are as they were
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(ValueError, match=r"a\.exr cannot be .*truncated"), open_shot(path) as shot:
        shot.read(0, 1)
