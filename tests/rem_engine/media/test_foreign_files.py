"""A whole file of a kind that is no plate here is told apart from a damaged one, with what to do."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from rem_engine.media import open_shot
from rem_engine.media.masks import open_masks
from trainer.data.files import read_frame
from trainer.data.sample import BrokenSample

ZIP = b"PK\x03\x04" + bytes(22) + struct.pack("<HH", 8, 0) + b"mimetype"
FILES = {
    "drawing.svg": (b'<?xml version="1.0"?>\n<svg width="64" height="64"></svg>', "an SVG drawing"),
    "drawing.xml.svg": (b"<svg></svg>", "an SVG drawing"),
    "sheet.pdf": (b"%PDF-1.7\n%%EOF", "a PDF document"),
    "sheet.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%EOF", "a PostScript document"),
    "layers.xcf": (b"gimp xcf v011\0" + bytes(99), "a GIMP document"),
    "layers.kra": (ZIP + b"application/x-krita" + bytes(99), "a Krita document"),
    "photo.heic": (struct.pack(">I", 24) + b"ftypheic" + bytes(99), "a HEIF or AVIF picture"),
    "photo.jpg": (struct.pack(">I", 24) + b"ftypheic" + bytes(99), "a HEIF or AVIF picture"),
    "photo.CR3": (struct.pack(">I", 24) + b"ftypcrx " + bytes(99), "a camera's raw file"),
    "photo.jxr": (b"II\xbc\x01" + bytes(99), "a JPEG XR picture"),
    "frame.ari": (b"ARRI" + bytes(99), "a frame of ARRIRAW"),
    "clip.r3d": (struct.pack(">I", 64) + b"RED2" + bytes(99), "a clip of REDCODE RAW"),
    "clip.braw": (struct.pack(">I", 8) + b"wide" + bytes(99), "a clip of Blackmagic RAW"),
    "frames.zip": (b"PK\x03\x04" + bytes(99), "a ZIP archive"),
    "cloud.vdb": (b"\x20BDV" + bytes(99), "an OpenVDB volume"),
    "clip.mov": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "the note that Git LFS leaves"),
    "clip.mp4": (b"<!DOCTYPE html><html></html>", "a web page"),
    "notes.txt": (b"Shot at noon.\n", "no kind of video or image that is read here"),
    "script.nk": (b"Root {\n}\n", "no kind of video or image that is read here"),
}


@pytest.mark.parametrize("open_file", [open_shot, open_masks], ids=["shot", "masks"])
@pytest.mark.parametrize("name", FILES)
def test_other_kinds_are_named(tmp_path: Path, name: str, open_file: object) -> None:
    content, what = FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is {what}.*not supported: ") as refused:
        open_file(path)  # type: ignore[operator]
    assert "damaged" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["clip.mov", "clip.mxf", "still.png", "still.exr", "still.jpg", "still.tif"])
def test_files_that_should_have_opened_are_called_damaged(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(100))
    with pytest.raises(ValueError, match=f"{name} cannot be read as .* damaged"):
        open_shot(tmp_path / name)


def test_a_codec_that_ffmpeg_lacks_is_told(tmp_path: Path) -> None:
    path = tmp_path / "clip.mov"
    with av.open(path, "w") as container:
        stream = container.add_stream("prores_ks", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv422p10le"
        frame = VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    content = path.read_bytes()
    tag = stream.codec_context.codec_tag.encode()
    assert content.count(tag) == 1
    path.write_bytes(content.replace(tag, b"brst"))  # Blackmagic RAW's
    with pytest.raises(ValueError, match=r"clip\.mov is coded in a way .* not supported: transcode it to ProRes"):
        open_shot(path)
    path.rename(tmp_path / "clip.braw")
    with pytest.raises(ValueError, match=r"clip\.braw is a clip of Blackmagic RAW, which is not supported"):
        open_shot(tmp_path / "clip.braw")


def test_a_frame_to_train_on_of_another_kind_is_told(tmp_path: Path) -> None:
    for name, (content, what) in (("00000.jpg", FILES["photo.heic"]), ("00001.jpg", FILES["clip.mp4"])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BrokenSample, match=f"cannot be used: {name} is {what}, which is not supported"):
            read_frame(tmp_path / name)
    (tmp_path / "00002.jpg").write_bytes(b"\xff\xd8" + bytes(50))
    with pytest.raises(BrokenSample, match="truncated or damaged"):
        read_frame(tmp_path / "00002.jpg")
