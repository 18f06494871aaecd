"""Whole pictures and videos of each kind, to be read as plates and as masks."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import OpenImageIO as oiio
from mutations import BYTES, Mutation, jpeg_segments, mp4_boxes, png_chunks
from PIL import Image
from targets import FRAMES, GREY, HEIGHT, PICTURE, WIDTH, Target, as_masks, as_shot, write_plate


def _save(path: Path, pixels: np.ndarray, **attributes: Any) -> None:
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], attributes.pop("type", "uint8"))
    for name, value in attributes.items():
        spec.attribute(name.replace("__", ":"), value)
    writer = oiio.ImageOutput.create(str(path))
    assert writer.open(str(path), spec) and writer.write_image(pixels), writer.geterror()
    writer.close()


def _pictures(root: Path, files: Mapping[str, Mapping[str, Any]], *mutations: Mutation) -> list[Target]:
    """Pictures of this content, by name, read as a shot; and grey ones read as masks too."""
    write_plate(root)
    targets = []
    for name, attributes in files.items():
        attributes = dict(attributes)
        pixels = GREY if attributes.pop("grey", False) else PICTURE
        _save(root / name, pixels, **attributes)
        commands = [as_shot(name), *([as_masks(name)] if pixels is GREY else [])]
        targets.append(Target(name, commands, (*BYTES, *mutations)))
    return targets


def write_png(root: Path, _: Mapping[str, Path]) -> list[Target]:
    files = {"eight.png": {}, "sixteen.png": {"type": "uint16", "grey": True}}
    targets = _pictures(root, files, png_chunks, png_chunks, png_chunks)
    with Image.open(root / "eight.png") as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.quantize(16).save(root / "palette.png", exif=exif, dpi=(72, 72))
    return [*targets, Target("palette.png", [as_shot("palette.png")], (*BYTES, png_chunks, png_chunks, png_chunks))]


def write_jpeg(root: Path, _: Mapping[str, Path]) -> list[Target]:
    """And what followed it, as far as this OpenImageIO reads that."""
    known = oiio.get_string_attribute("format_list").split(",")
    targets = _pictures(root, {"mask.jpg": {"grey": True}}, jpeg_segments, jpeg_segments)
    later = [name for name, form in (("still.webp", "webp"), ("still.jxl", "jpegxl")) if form in known]
    for name in later:
        _save(root / name, PICTURE)
        targets.append(Target(name, [as_shot(name)]))
    exif = Image.Exif()
    exif[0x0112] = 8
    picture = Image.fromarray(np.round(PICTURE * 255).astype(np.uint8))
    picture.save(root / "turned.jpg", exif=exif, progressive=True)
    return [*targets, Target("turned.jpg", [as_shot("turned.jpg")], (*BYTES, jpeg_segments, jpeg_segments))]


def write_tiff(root: Path, _: Mapping[str, Path]) -> list[Target]:
    return _pictures(
        root,
        {
            "eight.tif": {"compression": "lzw"},
            "sixteen.tif": {"type": "uint16", "grey": True, "compression": "none"},
            "planar.tif": {"type": "uint16", "planarconfig": "separate", "compression": "zip"},
            "float.tif": {"type": "float", "compression": "none"},
        },
    )


def write_dpx(root: Path, _: Mapping[str, Path]) -> list[Target]:
    names = {8: "eight", 10: "ten", 12: "twelve", 16: "sixteen"}
    return _pictures(
        root,
        {
            f"{name}.dpx": {
                "type": "uint8" if bits == 8 else "uint16",
                "oiio__BitsPerSample": bits,
                "grey": bits == 16,
            }
            for bits, name in names.items()
        },
    )


def write_exr(root: Path, _: Mapping[str, Path]) -> list[Target]:
    targets = _pictures(
        root,
        {
            "zip.exr": {"type": "half", "compression": "zip"},
            "piz.exr": {"type": "float", "compression": "piz", "grey": True},
            "dwaa.exr": {"type": "half", "compression": "dwaa"},
        },
    )
    specs = []
    for name, channels in (("depth", ("Z",)), ("rgba", ("R", "G", "B"))):
        spec = oiio.ImageSpec(WIDTH, HEIGHT, len(channels), "float")
        spec.channelnames = channels
        spec.attribute("name", name)
        spec.attribute("oiio:subimagename", name)
        specs.append(spec)
    writer = oiio.ImageOutput.create(str(root / "parts.exr"))
    assert writer.open(str(root / "parts.exr"), tuple(specs))
    assert writer.write_image(PICTURE[..., :1])
    assert writer.open(str(root / "parts.exr"), specs[1], "AppendSubimage") and writer.write_image(PICTURE)
    writer.close()
    return [*targets, Target("parts.exr", [as_shot("parts.exr")])]


def _video(path: Path, codec: str, pix_fmt: str, *, grey: bool = False, sound: bool = False) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        tone = container.add_stream("aac" if path.suffix != ".webm" else "libopus", rate=48_000) if sound else None
        for number in range(FRAMES):
            pixels = np.roll(GREY if grey else PICTURE, 4 * number, axis=1)
            frame = av.VideoFrame.from_ndarray(np.round(pixels * 255).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if tone is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 6000), np.float32), format="fltp", layout="mono")
            silence.rate = 48_000
            container.mux(tone.encode(silence))
            container.mux(tone.encode())


def _videos(root: Path, files: Mapping[str, tuple], *mutations: Mutation) -> list[Target]:
    write_plate(root, FRAMES)
    targets = []
    for name, (codec, pix_fmt, grey, sound) in files.items():
        _video(root / name, codec, pix_fmt, grey=grey, sound=sound)
        commands = [as_shot(name), as_masks(name)] if grey else [as_shot(name)]
        targets.append(Target(name, commands, (*BYTES, *mutations)))
    return targets


def write_mp4(root: Path, _: Mapping[str, Path]) -> list[Target]:
    files = {"shot.mp4": ("libx264", "yuv420p", False, True), "mask.mp4": ("libx264", "yuv420p", True, False)}
    return _videos(root, files, *[mp4_boxes] * 6)


def write_mov(root: Path, _: Mapping[str, Path]) -> list[Target]:
    files = {
        "shot.mov": ("prores_ks", "yuv422p10le", False, False),
        "mask.mov": ("prores_ks", "yuva444p10le", True, False),
    }
    return _videos(root, files, *[mp4_boxes] * 6)


def write_webm(root: Path, _: Mapping[str, Path]) -> list[Target]:
    files = {
        "shot.webm": ("libvpx-vp9", "yuv420p", False, False),
        "mask.mkv": ("ffv1", "yuv420p", True, False),
    }
    return _videos(root, files)
