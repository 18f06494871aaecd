"""The matte of a mask's pictures is found where it is stored, as other readers see it, or asked for."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import OpenImageIO as oiio
import pytest
from PIL import Image

from rem_engine.media.masks import open_masks
from rem_engine.media.windows import Box, Windows

HEIGHT, WIDTH = 48, 64
X = np.tile(np.arange(WIDTH), (HEIGHT, 1))
SOFT = np.clip((X - 16) * 10, 0, 255).astype(np.uint8)  # black at the left, a ramp, white at the right
HARD = np.where(X < 32, 255, 0).astype(np.uint8)
WHITE, BLACK = np.full_like(SOFT, 255), np.zeros_like(SOFT)
NOISE = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
WEBP = {"lossless": True, "exact": True}
EXR_HEADER = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}


def rgba(colour: np.ndarray | Sequence[int], alpha: np.ndarray) -> np.ndarray:
    planes = np.broadcast_to(colour if np.ndim(colour) != 2 else np.asarray(colour)[..., None], (HEIGHT, WIDTH, 3))
    return np.dstack([planes, alpha]).astype(np.uint8)


def save(folder: Path, pictures: Sequence[np.ndarray], suffix: str = ".png", **options: object) -> Path:
    folder.mkdir(exist_ok=True)
    for number, picture in enumerate(pictures, 1001):
        Image.fromarray(picture).save(folder / f"m.{number}{suffix}", **options)
    return folder


def save_exr(folder: Path, pictures: Sequence[dict[str, np.ndarray]]) -> Path:
    folder.mkdir(exist_ok=True)
    for number, channels in enumerate(pictures, 1001):
        channels = {name: np.ascontiguousarray(values, np.float32) for name, values in channels.items()}
        OpenEXR.File(EXR_HEADER, channels).write(str(folder / f"m.{number}.exr"))
    return folder


def read(path: Path, asked: str = "") -> np.ndarray:
    return np.stack(list(open_masks(path, asked).frames()))


def refused(path: Path, asked: str = "") -> str:
    with pytest.raises(ValueError) as caught:
        read(path, asked)
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


# ---- of colour and alpha the one that varies


COLOURS = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "red": (200, 0, 0),
    "white where it is seen": np.where(SOFT[..., None] > 0, 255, 0).repeat(3, axis=2),
    "white, premultiplied": SOFT,
    "red, premultiplied": np.rint(SOFT[..., None] / 255 * [200, 30, 0]),
    "the matte too": SOFT,
}


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_where_the_colour_is_a_single_one_the_alpha_is_the_matte(tmp_path: Path, colour: str, suffix: str) -> None:
    folder = save(tmp_path / "m", [rgba(COLOURS[colour], SOFT)] * 2, suffix, **WEBP if suffix == ".webp" else {})
    stored = np.asarray(Image.open(folder / f"m.1001{suffix}").convert("RGBA"))[..., 3]
    np.testing.assert_array_equal(stored, SOFT)
    np.testing.assert_array_equal(np.rint(read(folder) * 255), [stored, stored])


@pytest.mark.parametrize("alpha", [255, 128, 0])
def test_where_the_alpha_is_of_one_value_the_colour_is_the_matte(tmp_path: Path, alpha: int) -> None:
    folder = save(tmp_path / "m", [rgba(SOFT, np.full_like(SOFT, alpha))])
    np.testing.assert_array_equal(np.rint(read(folder)[0] * 255), SOFT)


def test_grey_with_alpha(tmp_path: Path) -> None:
    alpha = save(tmp_path / "alpha", [np.dstack([WHITE, SOFT])])
    grey = save(tmp_path / "grey", [np.dstack([SOFT, WHITE])])
    assert Image.open(alpha / "m.1001.png").mode == "LA"
    for folder in (alpha, grey):
        np.testing.assert_array_equal(np.rint(read(folder)[0] * 255), SOFT)


def test_sixteen_bits_of_colour_and_alpha_are_kept(tmp_path: Path) -> None:
    matte = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "m.png"), np.dstack([np.full((HEIGHT, WIDTH, 3), 65535, np.uint16), matte]))
    np.testing.assert_array_equal(np.rint(read(tmp_path / "m.png")[0] * 65535), matte)


def test_where_both_vary_the_channel_is_asked_for(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", [rgba(NOISE, SOFT)])
    assert "m.1001.png both the colour and the alpha vary" in (sentence := refused(folder))
    assert "write it behind the path, as in PATH:A or PATH:luma" in sentence
    for asked, expected in (("A", SOFT), ("a", SOFT), ("R", NOISE[..., 0]), ("B", NOISE[..., 2])):
        np.testing.assert_array_equal(np.rint(read(folder, asked)[0] * 255), expected)
    luma = NOISE / 255 @ [0.2126, 0.7152, 0.0722]  # ITU-R BT.709
    np.testing.assert_allclose(read(folder, "luma")[0], luma, atol=1e-6)
    assert "no channels Z, of R, G, B, A" in refused(folder, "Z")


@pytest.mark.parametrize("asked", ["", "A"])
def test_an_empty_first_frame_decides_nothing(tmp_path: Path, asked: str) -> None:
    """Whatever stands in the colour or the alpha of frames without a matte."""
    for colour in (0, 255):
        pictures = [rgba((colour,) * 3, BLACK)] * 2 + [rgba((colour,) * 3, SOFT), rgba((colour,) * 3, WHITE)]
        folder = save(tmp_path / f"alpha{colour}", pictures)
        np.testing.assert_array_equal(np.rint(read(folder, asked) * 255), [BLACK, BLACK, SOFT, WHITE])
    opaque = [rgba(BLACK, WHITE), rgba(SOFT, WHITE), rgba(WHITE, WHITE)]
    if not asked:
        np.testing.assert_array_equal(np.rint(read(save(tmp_path / "rgb", opaque)) * 255), [BLACK, SOFT, WHITE])
    full = [rgba(BLACK, WHITE), rgba(BLACK, SOFT)]
    np.testing.assert_array_equal(np.rint(read(save(tmp_path / "full", full), asked) * 255), [WHITE, SOFT])


def test_a_sequence_in_which_nothing_varies_is_what_is_seen_of_it(tmp_path: Path) -> None:
    for name, colour, alpha, expected in (
        ("opaque white", 255, 255, 1),
        ("opaque black", 0, 255, 0),
        ("white, nothing seen", 255, 0, 0),
        ("nothing", 0, 0, 0),
    ):
        folder = save(tmp_path / name, [rgba((colour,) * 3, np.full_like(SOFT, alpha))] * 2)
        assert (read(folder) == expected).all(), name


def test_another_matte_later_in_the_sequence_is_told_at_its_frame(tmp_path: Path) -> None:
    alpha_first = save(tmp_path / "alpha", [rgba(WHITE, SOFT), rgba(WHITE, HARD), rgba(NOISE, HARD)])
    assert "up to m.1003.png both the colour and the alpha vary" in refused(alpha_first)
    colour_first = save(tmp_path / "colour", [rgba(SOFT, WHITE), rgba(WHITE, SOFT)])
    assert "up to m.1002.png both the colour and the alpha vary" in refused(colour_first)
    without = save(tmp_path / "without", [rgba(WHITE, SOFT)])
    Image.fromarray(SOFT).save(without / "m.1002.png")
    assert "m.1002.png has no alpha, which is the matte in others" in refused(without)


# ---- EXR


def test_an_exr_is_read_where_its_matte_is(tmp_path: Path) -> None:
    soft = SOFT.astype(np.float32) / 255
    one = np.ones_like(soft)
    grey = dict.fromkeys("RGB", soft)
    kinds: dict[str, dict[str, np.ndarray]] = {
        "A alone": {"A": soft},
        "Y alone": {"Y": soft},
        "R alone": {"R": soft},
        "any channel alone": {"matte": soft},
        "RGB, A = 1": grey | {"A": one},
        "RGB and A alike": grey | {"A": soft},
        "white RGB": dict.fromkeys("RGB", one) | {"A": soft},
        "one layer": {"roto.a": soft},
        "Nuke's names": {f"roto.{name}": soft for name in ("red", "green", "blue")} | {"roto.alpha": one},
        "depth beside": {"A": soft, "Z": one * 7},
    }
    for name, channels in kinds.items():
        np.testing.assert_array_equal(read(save_exr(tmp_path / name, [channels]))[0], soft, err_msg=name)


def test_a_channel_of_an_exr_is_asked_for_by_its_name(tmp_path: Path) -> None:
    soft, ramp = SOFT.astype(np.float32) / 255, X.astype(np.float32) / WIDTH
    beauty = {name: NOISE[..., place] / 255 for place, name in enumerate("RGB")}
    folder = save_exr(tmp_path / "m", [beauty | {"smoke.A": soft, "fire.A": ramp}])
    sentence = refused(folder)
    assert "m.1001.exr is a picture in colour" in sentence and "fire.A, smoke.A" in sentence
    np.testing.assert_array_equal(read(folder, "smoke.A")[0], soft)
    np.testing.assert_array_equal(read(folder, "fire.a")[0], ramp)
    assert "holds 2 channels A, of" in refused(folder, "A")
    layers = save_exr(tmp_path / "layers", [{"smoke.A": soft, "fire.A": ramp}])
    assert "holds no mask by its channels, fire.A, smoke.A: name the one" in refused(layers)


def test_luminance_and_chroma_are_a_picture_in_colour(tmp_path: Path) -> None:
    soft = SOFT.astype(np.float32) / 255
    folder = save_exr(tmp_path / "m", [{"Y": soft, "RY": soft, "BY": soft}])
    assert "m.1001.exr holds luminance and chroma, a picture in colour" in refused(folder)
    np.testing.assert_array_equal(read(folder, "Y")[0], soft)


def test_a_mask_in_another_part_than_the_first(tmp_path: Path) -> None:
    soft = SOFT.astype(np.float32) / 255
    parts = [
        OpenEXR.Part(dict(EXR_HEADER), {name: values}, part)
        for part, name, values in (("depth", "Z", soft * 9), ("roto", "A", soft))
    ]
    OpenEXR.File(parts).write(str(tmp_path / "m.exr"))
    np.testing.assert_array_equal(read(tmp_path / "m.exr")[0], soft)


@pytest.mark.parametrize("masks", ["of the display", "of the whole", "of a part", "no EXR"])
def test_masks_lie_where_the_windows_of_the_plate_are(tmp_path: Path, masks: str) -> None:
    """A plate with 8 pixels of overscan to all sides; the thing is at x 10 to 29, y 12 to 21 of the display."""
    path, edge = tmp_path / "m.exr", 8
    whole = np.zeros((HEIGHT + 2 * edge, WIDTH + 2 * edge), np.float32)
    whole[12 + edge : 22 + edge, 10 + edge : 30 + edge] = 1.0
    display = whole[edge:-edge, edge:-edge]
    stored, left, top = {
        "of the display": (display, 0, 0),
        "of the whole": (whole, -edge, -edge),
        "of a part": (np.ones((10, 20), np.float32), 10, 12),
        "no EXR": (display, 0, 0),
    }[masks]
    window = (np.int32([left, top]), np.int32([left + stored.shape[1] - 1, top + stored.shape[0] - 1]))
    seen = (np.int32([0, 0]), np.int32([WIDTH - 1, HEIGHT - 1]))
    if masks == "no EXR":
        path = save(tmp_path / "png", [np.rint(display * 255).astype(np.uint8)])
    else:
        header = EXR_HEADER | {"dataWindow": window, "displayWindow": seen}
        OpenEXR.File(header, {"A": np.ascontiguousarray(stored)}).write(str(path))
    shown = Box(0, 0, WIDTH, HEIGHT)
    overscan = Windows(Box(-edge, -edge, WIDTH + edge, HEIGHT + edge), shown)
    for windows, expected in ((overscan, whole), (Windows(shown, shown), display)):
        np.testing.assert_array_equal(next(open_masks(path, windows=windows).frames()), expected)


# ---- video


def write_video(path: Path, codec: str, pix_fmt: str, pictures: Sequence[np.ndarray], **options: str) -> Path:
    """RGBA or grey pictures as a video of any pixel format."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24, options=options)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, pix_fmt
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="rgba" if picture.ndim == 3 else "gray")
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
        container.mux(stream.encode())
    return path


def decoded_alpha(path: Path, decoder: str | None = None) -> np.ndarray:
    """By FFmpeg's own decoder, or by another one."""
    with av.open(str(path)) as container:
        if decoder is None:
            frames = list(container.decode(video=0))
        else:
            context = av.CodecContext.create(decoder, "r")
            frames = [frame for packet in container.demux(video=0) for frame in context.decode(packet)]
        return np.stack([frame.to_ndarray(format="rgba")[..., 3] / 255 for frame in frames])


VIDEOS = {
    "prores": ("m.mov", "prores_ks", "yuva444p10le", None),
    "animation": ("m.mov", "qtrle", "argb", None),
    "png": ("m.mov", "png", "rgba", None),
    "ffv1": ("m.mkv", "ffv1", "bgra", None),
    "vp9": ("m.webm", "libvpx-vp9", "yuva420p", "libvpx-vp9"),
}


@pytest.mark.parametrize("kind", VIDEOS)
def test_the_alpha_of_a_video_is_its_matte(tmp_path: Path, kind: str) -> None:
    name, codec, pix_fmt, decoder = VIDEOS[kind]
    frames = [BLACK, SOFT, HARD, WHITE]
    path = write_video(tmp_path / name, codec, pix_fmt, [rgba(WHITE, alpha) for alpha in frames])
    found = read(path)
    assert len(found) == len(frames)
    np.testing.assert_allclose(found, decoded_alpha(path, decoder), atol=1 / 255)
    np.testing.assert_allclose(found, np.stack(frames) / 255, atol=2e-3 if kind != "vp9" else 0.2)
    assert (found[3] == 1).all() and (found[0] == 0).all()


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_an_animation_of_masks(tmp_path: Path, suffix: str) -> None:
    frames = [BLACK, SOFT, HARD]
    for name, pictures in (("alpha", [rgba(WHITE, mask) for mask in frames]), ("grey", frames)):
        first, *rest = (Image.fromarray(picture) for picture in pictures)
        path = tmp_path / f"{name}{suffix}"
        first.save(path, save_all=True, append_images=rest, duration=40, **WEBP if suffix == ".webp" else {})
        np.testing.assert_array_equal(np.rint(read(path) * 255), frames)


def test_colour_of_a_video_with_an_alpha_of_one_value(tmp_path: Path) -> None:
    path = write_video(tmp_path / "m.mov", "prores_ks", "yuva444p10le", [rgba(BLACK, WHITE), rgba(SOFT, WHITE)])
    found = read(path)
    np.testing.assert_allclose(found, np.stack([BLACK, SOFT]) / 255, atol=0.01)
    assert (found[1] == 1).any() and (found[1] == 0).any()  # not nearly


def test_black_and_white_of_a_limited_range_are_0_and_1(tmp_path: Path) -> None:
    path = write_video(tmp_path / "m.mp4", "libx264", "yuv420p", [HARD] * 3, crf="1")
    with av.open(str(path)) as container:
        luma = next(container.decode(video=0)).to_ndarray(format="yuv420p")[:HEIGHT]
    assert (luma.min(), luma.max()) == (16, 235)
    np.testing.assert_array_equal(read(path)[1], HARD / 255)


# ---- what the numbers mean


def test_0_and_1_of_integers_are_black_and_white_and_that_is_said(tmp_path: Path) -> None:
    ones = (HARD // 255).astype(np.uint8)
    eight = save(tmp_path / "eight", [BLACK, ones, ones])  # an empty frame first
    sixteen = tmp_path / "sixteen"
    sixteen.mkdir()
    cv2.imwrite(str(sixteen / "m.1001.png"), ones.astype(np.uint16))
    alpha = save(tmp_path / "alpha", [rgba(WHITE, ones)])
    for folder in (eight, sixteen, alpha):
        np.testing.assert_array_equal(read(folder)[-1], HARD / 255)
        assert "hold only 0 and 1, which are taken for black and white." in open_masks(folder).note()
    one_bit = save(tmp_path / "one_bit", [HARD > 0])
    for folder in (one_bit, save(tmp_path / "full", [HARD])):
        np.testing.assert_array_equal(read(folder)[0], HARD / 255)
        assert open_masks(folder).note() == ""


def test_a_single_1_in_a_frame_of_shades_is_a_shade(tmp_path: Path) -> None:
    faint = BLACK.copy()
    faint[5, 7] = 1
    found = read(save(tmp_path / "m", [BLACK, faint, SOFT, faint]))
    assert found[1, 5, 7] == found[3, 5, 7] == np.float32(1 / 255)


LABELS = {
    "0 and 2": np.where(X < 32, 2, 0),
    "three objects": X // 16,
    "three objects and a void": np.where(X > 60, 255, X // 16),
    "of many numbers": np.where(X < 32, 0, np.where(X < 48, 38, 75)),
}


@pytest.mark.parametrize("labels", LABELS)
def test_numbers_of_objects_are_refused_with_what_was_seen(tmp_path: Path, labels: str) -> None:
    values = LABELS[labels].astype(np.uint8)
    folder = save(tmp_path / "m", [BLACK, values, values])
    seen = ", ".join(map(str, np.unique(values)))
    assert f"hold the values {seen} of 0 to 255, which are numbers of objects" in refused(folder)
    np.testing.assert_array_equal(np.rint(read(folder, "luma")[1] * 255), values)  # vouched for


def test_values_of_fewer_bits_in_a_file_of_more_are_refused(tmp_path: Path) -> None:
    for white in (255, 1023, 4095):
        ramp = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).clip(0, white)
        cv2.imwrite(str(tmp_path / f"{white}.png"), np.maximum(ramp, WHITE * (X > 40) / 255 * white).astype(np.uint16))
        assert f"up to {white} of 0 to 65535" in refused(tmp_path / f"{white}.png")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_palette_of_greys_is_a_mask_and_one_of_colours_is_none(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "grey").mkdir()
    (tmp_path / "davis").mkdir()
    for folder, palette in (("grey", [0, 0, 0, 255, 255, 255]), ("davis", [0, 0, 0, 128, 0, 0])):
        picture = Image.fromarray((HARD // 255).astype(np.uint8), "P")
        picture.putpalette(palette)
        picture.save(tmp_path / folder / f"m.1001{suffix}")
    # Pillow writes a TIFF's white as 65280 of 65535.
    np.testing.assert_allclose(read(tmp_path / "grey")[0], HARD / 255, atol=0.004)
    assert f"m.1001{suffix} holds the colours of a palette" in refused(tmp_path / "davis")


def test_a_jpeg_mask_may_be_noisy(tmp_path: Path) -> None:
    """At 70 the first is of 1 and 255 alone, which are no numbers of objects in a JPEG."""
    folder = save(tmp_path / "m", [HARD, np.roll(HARD, 5, axis=1)], ".jpg", quality=70)
    found = read(folder)
    for number, picture in enumerate(found, 1001):
        np.testing.assert_allclose(picture * 255, np.asarray(Image.open(folder / f"m.{number}.jpg")), atol=2)
    assert len(np.unique(found[1])) > 4


@pytest.mark.parametrize(("values", "said"), [((0, 255), "0 to 255"), ((-1, 1), "-1 to 1"), ((0, 2), "0 to 2")])
def test_floats_of_another_range_are_refused(tmp_path: Path, values: tuple[int, int], said: str) -> None:
    low, high = values
    folder = save_exr(tmp_path / "m", [{"Y": np.where(X < 32, high, low)}])
    assert f"m.1001.exr must lie in 0..1, but values {said} were found" in refused(folder)


def test_overshoot_of_floats_is_clipped(tmp_path: Path) -> None:
    found = read(save_exr(tmp_path / "m", [{"Y": np.where(X < 32, 1.05, -0.02)}]))
    np.testing.assert_array_equal(found[0], HARD / 255)


# ---- bounds


@pytest.mark.parametrize("kind", ["shades", "0 and 1"])
def test_memory_does_not_grow_with_the_number_of_masks(tmp_path: Path, kind: str) -> None:
    """Also where the whole sequence is looked at before it is known what its values mean."""
    values = SOFT if kind == "shades" else (HARD // 255).astype(np.uint8)

    def peak(count: int) -> int:
        folder = save(tmp_path / f"{count}", [rgba(WHITE, values)] * count)
        tracemalloc.start()
        for mask in open_masks(folder).frames():
            assert mask.shape == (HEIGHT, WIDTH)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(2)
    assert peak(60) < peak(6) + 150_000  # of names; 54 masks are 663,552 bytes


def test_masks_of_different_sizes_are_told(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", [SOFT])
    Image.fromarray(SOFT[:32]).save(folder / "m.1002.png")
    assert "m.1001.png and m.1002.png differ in size, 64x48 and 64x32" in refused(folder)


def test_the_matte_is_the_alpha_as_openimageio_stores_it(tmp_path: Path) -> None:
    """A TIFF whose alpha is premultiplied (associated)."""
    buffer = oiio.ImageBuf(oiio.ImageSpec(WIDTH, HEIGHT, 4, "uint8"))
    buffer.set_pixels(oiio.ROI(), rgba(SOFT, SOFT))
    buffer.write(str(tmp_path / "m.tif"))
    np.testing.assert_array_equal(np.rint(read(tmp_path / "m.tif")[0] * 255), SOFT)


def test_masks_of_an_array_can_be_written_to(tmp_path: Path) -> None:
    """Of others PyTorch warns, once a process, who makes tensors of them."""
    stored = np.random.default_rng(1).random((2, 24, 32), np.float32)
    np.savez(tmp_path / "soft.npz", soft=stored)
    masks = list(open_masks(tmp_path / "soft.npz").frames())
    np.testing.assert_array_equal(masks, stored)
    assert all(mask.flags.writeable for mask in masks)
