"""A PNG that is cut short or damaged gets one sentence, and nothing from libpng beside it."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from rem_engine.media import open_shot
from rem_engine.media.png_check import check_png

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 64, 3), np.uint8)


def read(path: Path) -> None:
    with open_shot(path) as shot:
        shot.read(0, 1)


@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_whole_pictures_of_every_kind_pass(mode: str, pixels: bool, tmp_path: Path) -> None:
    path, text = tmp_path / "p.png", PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 1000)
    picture = Image.fromarray(PICTURE[..., 0].astype(np.uint16)) if mode == "I;16" else Image.fromarray(PICTURE)
    (picture if mode == "I;16" else picture.convert(mode)).save(path, pnginfo=text)
    check_png(path, pixels)


def test_wherever_it_is_cut_or_a_bit_turns_nothing_but_the_sentence_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.png"
    Image.fromarray(PICTURE).save(path)
    whole, draw = path.read_bytes(), random.Random(0)
    damaged = [whole[:end] for end in (9, 20, 33, 40, 60, len(whole) // 2, len(whole) - 20, len(whole) - 1)]
    for _ in range(60):
        data = bytearray(whole)
        data[draw.randrange(8, len(data))] ^= 1 << draw.randrange(8)
        damaged.append(bytes(data))
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"^p\.png cannot be (read as an image|decoded): the file is truncated"):
            read(path)
    assert capfd.readouterr() == ("", "")


def test_chunks_that_readers_may_leave_out_may_be_wrong(tmp_path: Path) -> None:
    path, text = tmp_path / "p.png", PngImagePlugin.PngInfo()
    text.add_text("Comment", "as written")
    Image.fromarray(PICTURE).save(path, pnginfo=text)
    path.write_bytes(path.read_bytes().replace(b"as written", b"as changed"))
    read(path)
