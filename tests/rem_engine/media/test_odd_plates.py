"""A folder of odd pictures, each read by us and by a second reader, or refused in one sentence; the table in
docs/plates.md lists the same files."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import OpenEXR
import OpenImageIO as oiio
import pytest
from PIL import Image
from plate_files import write_dpx, write_exr

from rem_engine.media import open_shot
from rem_engine.media.plate_settings import PlateSettings

DOCUMENT = Path(__file__).parents[3] / "docs" / "plates.md"
HEIGHT, WIDTH = 24, 40
DRAWN = np.random.default_rng(7).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
DEEP = np.random.default_rng(8).integers(0, 65536, (HEIGHT, WIDTH, 3), np.uint16)
LIGHT = np.random.default_rng(9).uniform(-0.5, 4, (HEIGHT, WIDTH, 3)).astype(np.float16)
SMOOTH = np.linspace(20, 230, HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3).astype(np.uint8)
ALPHA = np.full((HEIGHT, WIDTH), 100, np.uint8)
GREY = np.repeat(DRAWN[..., :1], 3, axis=2)
# EXIF 2.3, tag 274, and ST 268-1, table 1: how an upright picture is stored, by its orientation.
STORED_EXIF: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: upright.swapaxes(0, 1),
    6: np.rot90,
    7: lambda upright: np.rot90(upright, 2).swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
OIIO_TYPES = {"uint8": "uint8", "uint16": "uint16", "uint32": "uint", "float16": "half", "float32": "float"}
STORED_DPX = {1: 2, 2: 4, 3: 3, 4: 5, 5: 6, 6: 8, 7: 7}  # DPX's numbers in those of EXIF


def pillow(pixels: np.ndarray, **options: Any) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(pixels).save(path, **options)


def converted(pixels: np.ndarray, mode: str, **options: Any) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(pixels).convert(mode).save(path, **options)


def with_exif(pixels: np.ndarray, orientation: int, **options: Any) -> Callable[[Path], None]:
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.ascontiguousarray(STORED_EXIF[orientation](pixels))
    return lambda path: Image.fromarray(stored).save(path, exif=exif, **options)


def by_oiio(pixels: np.ndarray, tile: int = 0, **attributes: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], OIIO_TYPES[str(pixels.dtype)])
        spec.tile_width = spec.tile_height = tile
        for name, value in attributes.items():
            spec.attribute(name.replace("__", ":"), value)
        writer = oiio.ImageOutput.create(str(path))
        assert writer.open(str(path), spec) and writer.write_image(np.ascontiguousarray(pixels)), writer.geterror()
        writer.close()

    return write


def dpx(bits: int, orientation: int = 0, stored: np.ndarray = DEEP, **attributes: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        pixels = stored.astype(np.float32) / 65535
        if orientation:
            pixels = np.ascontiguousarray(STORED_EXIF[STORED_DPX[orientation]](pixels))
        write_dpx(path, bits, pixels, **{name.replace("__", ":"): value for name, value in attributes.items()})
        data = bytearray(path.read_bytes())
        struct.pack_into("<H" if data[:4] == b"XPDS" else ">H", data, 768, orientation)
        path.write_bytes(data)

    return write


def white_is_zero(pixels: np.ndarray) -> Callable[[Path], None]:
    """A grey TIFF whose photometric interpretation, tag 262, is changed from 1 to 0."""

    def write(path: Path) -> None:
        by_oiio(pixels, compression="none")(path)
        entry = struct.pack("<HHIH", 262, 3, 1, 1)
        data = path.read_bytes()
        assert data.count(entry) == 1
        path.write_bytes(data.replace(entry, struct.pack("<HHIH", 262, 3, 1, 0)))

    return write


def turned_in_tiff(mode: str, orientation: int, **options: Any) -> Callable[[Path], None]:
    stored = Image.fromarray(np.ascontiguousarray(STORED_EXIF[orientation](SMOOTH))).convert(mode)
    return lambda path: stored.save(path, tiffinfo={274: orientation}, **options)


def exr(channels: dict[str, np.ndarray], **header: Any) -> Callable[[Path], None]:
    return lambda path: write_exr(path, channels, **header) and None


def exr_parts(*parts: tuple[str, dict[str, np.ndarray]]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File([OpenEXR.Part(dict(header), held, name) for name, held in parts]).write(str(path))

    return write


def channels_of(prefix: str = "") -> dict[str, np.ndarray]:
    return {f"{prefix}{name}": LIGHT[..., place].copy() for place, name in enumerate("RGB")}


def deep_exr(path: Path) -> None:
    spec = oiio.ImageSpec(WIDTH, HEIGHT, 3, "half")
    spec.deep = True
    samples = oiio.DeepData()
    samples.init(WIDTH * HEIGHT, 3, ("half",) * 3, spec.channelnames)
    writer = oiio.ImageOutput.create(str(path))
    assert writer.open(str(path), spec) and writer.write_deep_image(samples)
    writer.close()


def first_bytes(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data + bytes(200)) and None


# ---- second readers: what each makes of a file, display-referred in 0..1 or, of EXR, as stored


def in_pillow(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.float32) / 255


def in_openexr(path: Path) -> np.ndarray:
    channels = OpenEXR.File(str(path), separate_channels=True).channels()
    return np.stack([channels[name].pixels for name in "RGB"], axis=-1).astype(np.float32)


def in_ffmpeg(path: Path) -> np.ndarray:
    with av.open(str(path), format=f"{path.suffix[1:]}_pipe") as container:
        frame = next(container.decode(video=0))
        if frame.format.name == "rgb24":
            return frame.to_ndarray() / np.float32(255)
        return frame.to_ndarray(format="rgb48le") / np.float32(65535)


def written(pixels: np.ndarray) -> Callable[[Path], np.ndarray]:
    """Where there is no second reader: what went in."""
    largest = {"uint8": 255, "uint16": 65535}.get(str(pixels.dtype), 1)
    return lambda path: pixels.astype(np.float32) / largest


STEP = 1 / 255
READ: dict[str, tuple[Callable[[Path], None], Callable[[Path], np.ndarray], float]] = {
    # Name, how it is written, the second reader, the largest difference.
    "scanlines.exr": (exr({**channels_of(), "A": LIGHT[..., 0].copy()}), in_openexr, 0),
    "tiles.exr": (by_oiio(LIGHT, tile=16, compression="zip"), in_openexr, 0),
    "float.exr": (exr({"RGB": LIGHT.astype(np.float32)}), written(LIGHT), 0),
    "luma.exr": (exr({"Y": LIGHT[..., 0].copy()}), written(np.repeat(LIGHT[..., :1], 3, axis=2)), 0),
    "nuke_layer.exr": (
        exr({f"beauty.{name}": LIGHT[..., place].copy() for place, name in enumerate(("red", "green", "blue"))}),
        written(LIGHT),
        0,
    ),
    "depth_first.exr": (
        exr_parts(("depth", {"Z": np.ones((HEIGHT, WIDTH), np.float32)}), ("rgba", channels_of())),
        written(LIGHT),
        0,
    ),
    "filled.dpx": (dpx(10), in_ffmpeg, 1.01 / 1023),
    "packed.dpx": (dpx(10, dpx__Packing="Packed"), written(DEEP), 1.01 / 1023),
    "bits8.dpx": (dpx(8), in_ffmpeg, 1.01 / 255),
    "bits12.dpx": (dpx(12), in_ffmpeg, 1.01 / 4095),
    "bits16.dpx": (dpx(16), in_ffmpeg, 1e-6),
    "luma.dpx": (by_oiio(DEEP[..., :1]), written(np.repeat(DEEP[..., :1], 3, axis=2)), 1e-6),
    "rgba.dpx": (by_oiio(np.dstack([DEEP, DEEP[..., 0]])), written(DEEP), 1e-6),
    **{f"turned{number}.dpx": (dpx(10, number), written(DEEP), 1.01 / 1023) for number in STORED_DPX},
    "rgb8.tif": (pillow(DRAWN, compression="tiff_lzw"), in_pillow, 0),
    "planar16.tif": (by_oiio(DEEP, planarconfig="separate", compression="zip"), written(DEEP), 1e-7),
    "tiles16.tif": (by_oiio(DEEP, tile=16), written(DEEP), 1e-7),
    "float.tif": (by_oiio(LIGHT.astype(np.float32)), written(LIGHT.clip(0, 1)), 0),
    "big.tif": (pillow(DRAWN, big_tiff=True), in_pillow, 0),
    "palette.tif": (lambda path: Image.fromarray(DRAWN).quantize(64).save(path), in_pillow, 1.01 * STEP),
    "cmyk.tif": (converted(DRAWN, "CMYK"), in_pillow, 1.01 * STEP),
    "bilevel.tif": (converted(DRAWN, "1"), in_pillow, 0),
    "straight.tif": (pillow(np.dstack([DRAWN, ALPHA])), written(DRAWN), 0),
    **{
        f"turned{number}.tif": (by_oiio(STORED_EXIF[number](DEEP), Orientation=number), written(DEEP), 1e-7)
        for number in STORED_EXIF
    },
    "white_is_zero8.tif": (white_is_zero(DRAWN[..., :1]), written(255 - GREY), 0),
    "white_is_zero16.tif": (
        white_is_zero(DEEP[..., :1]),
        written(65535 - np.repeat(DEEP[..., :1], 3, axis=2)),
        1e-7,
    ),
    "ycc.tif": (converted(SMOOTH, "YCbCr"), in_pillow, 1.01 * STEP),
    **{
        f"turned_ycc{number}.tif": (turned_in_tiff("YCbCr", number), written(SMOOTH), 8.01 * STEP)
        for number in STORED_EXIF
    },
    **{
        f"turned_grey{number}.tif": (
            turned_in_tiff("L", number, compression="jpeg", quality=95),
            written(np.asarray(Image.fromarray(SMOOTH).convert("L").convert("RGB"))),
            3.01 * STEP,
        )
        for number in STORED_EXIF
    },
    "rgb8.png": (pillow(DRAWN), in_pillow, 0),
    "rgb16.png": (by_oiio(DEEP), written(DEEP), 1e-7),
    "grey.png": (converted(DRAWN, "L"), in_pillow, 0),
    "palette.png": (lambda path: Image.fromarray(DRAWN).quantize(64).save(path, transparency=3), in_pillow, 0),
    "straight.png": (pillow(np.dstack([DRAWN, ALPHA])), written(DRAWN), 0),
    "turned6.png": (with_exif(DRAWN, 6), written(DRAWN), 0),
    "photo.jpg": (pillow(SMOOTH, quality=95), in_pillow, 2.01 * STEP),
    "progressive.jpg": (pillow(SMOOTH, quality=95, progressive=True), in_pillow, 2.01 * STEP),
    "cmyk.jpg": (converted(SMOOTH, "CMYK", quality=95), in_pillow, 2.01 * STEP),
    "grey.jpg": (converted(SMOOTH, "L", quality=95), in_pillow, 2.01 * STEP),
    **{
        f"turned{number}.jpg": (with_exif(SMOOTH, number, quality=100, subsampling=0), written(SMOOTH), 3.01 * STEP)
        for number in STORED_EXIF
    },
    "jpeg_inside.png": (pillow(SMOOTH, format="JPEG", quality=95), in_pillow, 2.01 * STEP),
    "lossless.webp": (pillow(DRAWN, lossless=True), in_pillow, 0),
    "lossy.webp": (pillow(SMOOTH, quality=90), in_pillow, 0),
    "straight.webp": (pillow(np.dstack([DRAWN, ALPHA]), lossless=True, exact=True), written(DRAWN), 0),
    "turned6.webp": (with_exif(DRAWN, 6, lossless=True), written(DRAWN), 0),
    "rgb8.jxl": (by_oiio(DRAWN, compression="jpegxl:100"), written(DRAWN), 0),
    "rgb16.jxl": (by_oiio(DEEP, compression="jpegxl:100"), written(DEEP), 1e-6),
}
REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "deep.exr": (deep_exr, "holds deep data: flatten it"),
    "depth.exr": (exr({"Z": np.ones((HEIGHT, WIDTH), np.float32)}), "holds no flat RGB picture but the channels Z"),
    "channels.exr": (
        exr(channels_of() | {f"a{number}.Z": np.zeros((HEIGHT, WIDTH), np.float16) for number in range(1100)}),
        "holds more than 1024 channels, which is not supported: leave out the others",
    ),
    "two_pictures.exr": (
        exr_parts(("beauty", channels_of()), ("spec", channels_of())),
        "holds several pictures, beauty, spec: ask for one of them with --layer",
    ),
    "side12.dpx": (dpx(12, 5, DEEP[:21, :31]), "is a packed DPX stored on its side, which is not supported: turn it"),
    "lab.tif": (converted(DRAWN, "LAB"), "which is not supported: save RGB"),
    "integers32.tif": (by_oiio(DEEP.astype(np.uint32)), "holds 32-bit uint values, which are not supported: save it"),
    "phone.heic": (
        first_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        "HEIF or AVIF .* not supported: convert",
    ),
    "still.avif": (
        first_bytes(b"\0\0\0\x18ftypavif\0\0\0\0mif1avif"),
        "HEIF or AVIF .* not supported: convert",
    ),
    "camera.dng": (by_oiio(DRAWN), "raw file, which is not supported: develop it to 16-bit TIFF or EXR"),
    "text.png": (first_bytes(b"hello"), "cannot be read as an image"),
}


ANIMATED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("animated.webp", {"lossless": True, "exact": True}),
    ("opaque.webp", {"lossless": True}),
    ("animated.png", {}),
)


def test_the_documents_table_lists_these_files_and_no_others() -> None:
    page = DOCUMENT.read_text("utf-8").partition("## Frame numbers")[0]
    listed = set(re.findall(r"`([\w*]+\.(?:exr|dpx|tif|png|jpg|webp|jxl|heic|avif|dng))`", page))
    made = {*READ, *REFUSED, *(name for name, _ in ANIMATED)}
    patterns = {re.sub(r"\d+(?=\.)", "*", name) for name in made}
    assert listed <= made | patterns
    assert [name for name in made if name not in listed and re.sub(r"\d+(?=\.)", "*", name) not in listed] == []


@pytest.mark.parametrize("name", READ)
def test_what_is_read_is_what_a_second_reader_reads(tmp_path: Path, name: str) -> None:
    write, second, largest = READ[name]
    path = tmp_path / name
    write(path)
    with open_shot(path) as shot:
        read = shot.read_linear(0, 1)[0] if name.endswith(".exr") else shot.read(0, 1)[0]
    values = read / np.float32(255) if read.dtype == np.uint8 else read
    expected = second(path)
    assert values.shape == expected.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(values, expected, rtol=0, atol=largest + 1e-7)


def foreign(name: str, write: Callable[[Path], None], folder: Path) -> Path:
    """A file under a suffix that no writer of ours has."""
    path = folder / name
    if path.suffix == ".dng":
        write(folder / "a.tif")
        return (folder / "a.tif").rename(path)
    write(path)
    return path


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    write, sentence = REFUSED[name]
    path = foreign(name, write, tmp_path)
    with pytest.raises(ValueError, match=rf"{re.escape(name)} .*{sentence}") as refused, open_shot(path) as shot:
        shot.read(0, 1)
    told = str(refused.value)
    assert told.endswith(".") and "\n" not in told
    assert ("damaged" in told) == (name == "text.png")


@pytest.mark.parametrize("name", [name for name in READ if not name.startswith("turned")])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
def test_what_is_cut_short_is_refused_as_damaged(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    READ[name][0](path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with (
        pytest.raises(ValueError, match=rf"{re.escape(name)} cannot be .*truncated or damaged.*\.$"),
        open_shot(path) as shot,
    ):
        shot.read(0, 1)


# ---- animations


def moving(count: int = 5) -> list[Image.Image]:
    frames = []
    for number in range(count):
        pixels = np.dstack([DRAWN, ALPHA])
        pixels[4:12, 6 * number : 6 * number + 8] = (255, 40, 10, 255)
        frames.append(Image.fromarray(pixels))
    return frames


@pytest.mark.parametrize(("name", "options"), [*ANIMATED, ("lossy.webp", {"quality": 80})])
def test_an_animation_is_a_shot_of_its_frames(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    frames = moving() if name.startswith("animated") else [frame.convert("RGB") for frame in moving()]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=40, **options)
    with open_shot(tmp_path / name) as shot:
        assert (shot.frame_count, shot.height, shot.width, shot.info.fps) == (5, HEIGHT, WIDTH, 25)
        assert shot.numbering.numbers == (1001, 1002, 1003, 1004, 1005)
        read = np.concatenate([shot.read(2, 5), shot.read(0, 2)])[[3, 4, 0, 1, 2]]
        with shot.reopen() as again:
            np.testing.assert_array_equal(again.read(3, 4)[0], read[3])
    if "quality" in options:
        with Image.open(tmp_path / name) as image:
            for index in range(5):
                image.seek(index)
                np.testing.assert_array_equal(read[index], np.asarray(image.convert("RGB")))
    else:
        for index, frame in enumerate(frames):
            np.testing.assert_array_equal(read[index], np.asarray(frame)[..., :3])


def test_an_animation_of_uneven_frames_keeps_their_times(tmp_path: Path) -> None:
    frames = moving()
    frames[0].save(
        tmp_path / "a.webp", save_all=True, append_images=frames[1:], duration=[40, 40, 200, 40, 100], lossless=True
    )
    with open_shot(tmp_path / "a.webp") as shot:
        assert [round(float(shot.info.times[index]), 3) for index in range(5)] == [0, 0.04, 0.08, 0.28, 0.32]
        third = shot.read(2, 3)
    with open_shot(tmp_path / "a.webp", PlateSettings(frames="1002-1004")) as shot:
        assert (shot.frame_count, shot.numbering.numbers) == (3, (1002, 1003, 1004))
        assert [round(float(shot.info.times[index]), 3) for index in range(3)] == [0, 0.04, 0.24]
        np.testing.assert_array_equal(shot.read(1, 2), third)


@pytest.mark.parametrize("name", ["animated.webp", "animated.png"])
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_an_animation_cut_short_is_refused(tmp_path: Path, name: str, share: float) -> None:
    frames = moving()
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match=rf"{re.escape(name)} cannot be .*truncated or damaged"):
        open_shot(tmp_path / name)


def test_an_animation_among_frames_is_said(tmp_path: Path) -> None:
    frames = moving()
    for number in (1, 2):
        frames[0].save(tmp_path / f"a.{number}.webp", save_all=True, append_images=frames[1:], lossless=True)
    with pytest.raises(ValueError, match=r"a\.1\.webp is an animation of several frames: give it alone"):
        open_shot(tmp_path)
