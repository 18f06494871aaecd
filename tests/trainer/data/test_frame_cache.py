"""Frames of videos at the model's size are read once, and are what would be read."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.miniatures import write_folder, write_ref_ytvos
from trainer.data import folder as own_footage
from trainer.data.open import open_sources
from trainer.data.sample import BrokenSample
from trainer.settings import DataSettings

SIZE = (24, 32)


def opened(root: Path, kept: Path | None, frames: int = 3, **source: object):
    settings = {"kind": "folder", "root": root, **source}
    return open_sources(DataSettings(sources=[settings], frames=frames, batch=1), SIZE, kept)


def read(source, index: int, seed: int = 0):
    return source.read(index, 3, np.random.default_rng(seed))


def test_a_clip_of_kept_frames_is_bit_for_bit_that_of_the_files(tmp_path: Path) -> None:
    write_folder(tmp_path / "shots")
    write_ref_ytvos(tmp_path / "ytvos")
    for root, source in (("shots", {}), ("ytvos", {"kind": "ref_ytvos", "keep_frames": True})):
        plain = opened(tmp_path / root, None, **source)
        for _ in range(2):  # written, and read back
            kept = opened(tmp_path / root, tmp_path / "kept", **source)
            for index in range(len(plain)):
                for seed in range(4):
                    expected, got = read(plain, index, seed), read(kept, index, seed)
                    np.testing.assert_array_equal(got.frames, expected.frames)
                    np.testing.assert_array_equal(got.masks, expected.masks)
                    assert got.text == expected.text and got.frames.shape[1:3] == SIZE


def test_a_frame_is_decoded_once_and_anew_where_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "shots")
    decoded: list[Path] = []
    reads = own_footage._read
    monkeypatch.setattr(own_footage, "_read", lambda path: (decoded.append(path), reads(path))[1])
    first = opened(tmp_path / "shots", tmp_path / "kept")
    for seed in range(20):
        read(first, 0, seed)
    assert len(decoded) == len(set(decoded)) > 3
    again = opened(tmp_path / "shots", tmp_path / "kept")
    for seed in range(20):
        read(again, 0, seed)
    assert len(decoded) == len(set(decoded))
    changed = decoded[0]
    before = np.asarray(Image.open(changed).convert("RGB"))
    Image.fromarray(255 - before).save(changed)
    plain = opened(tmp_path / "shots", None)
    for seed in range(20):
        np.testing.assert_array_equal(read(again, 0, seed).frames, read(plain, 0, seed).frames)


def test_published_datasets_and_clips_that_are_kept_encoded_keep_no_frames(tmp_path: Path) -> None:
    write_ref_ytvos(tmp_path / "ytvos")
    read(opened(tmp_path / "ytvos", tmp_path / "kept", kind="ref_ytvos"), 0)
    write_folder(tmp_path / "shots")
    read(opened(tmp_path / "shots", tmp_path / "kept", frames=201), 0)
    read(opened(tmp_path / "shots", tmp_path / "kept", keep_frames=False), 0)
    read(opened(tmp_path / "shots", tmp_path / "kept", augment={"flip": True}), 0)
    assert not (tmp_path / "kept").exists()


def test_what_is_damaged_in_the_cache_is_made_anew_and_faults_of_files_are_told(tmp_path: Path) -> None:
    write_folder(tmp_path / "shots")
    source, plain = opened(tmp_path / "shots", tmp_path / "kept"), opened(tmp_path / "shots", None)
    read(source, 0)
    for path in (tmp_path / "kept").rglob("*.npz"):
        path.write_bytes(path.read_bytes()[:50])
    np.testing.assert_array_equal(read(source, 0).frames, read(plain, 0).frames)
    for path in sorted((tmp_path / "shots").rglob("frames/*")):
        path.write_bytes(b"")
    with pytest.raises(BrokenSample, match="frames"):
        read(source, 0)


@pytest.mark.thorough
def test_clips_of_4k_exr_frames_are_read_many_times_faster(tmp_path: Path) -> None:
    import OpenEXR

    rng = np.random.default_rng(0)
    shot = tmp_path / "shots" / "sh010"
    (shot / "frames").mkdir(parents=True)
    (shot / "masks" / "smoke").mkdir(parents=True)
    pixels = np.clip(rng.normal(0.3, 0.1, (2160, 3840, 3)), 0, 1).astype(np.float16)
    for t in range(4):
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, {"RGB": pixels}).write(str(shot / "frames" / f"plate.{t:04d}.exr"))
        mask = np.zeros((2160, 3840), np.uint8)
        mask[: 500 + t] = 255
        Image.fromarray(mask).save(shot / "masks" / "smoke" / f"plate.{t:04d}.png")
    (shot / "prompts.txt").write_text("smoke: the smoke\n")
    plain, kept = opened(tmp_path / "shots", None), opened(tmp_path / "shots", tmp_path / "kept")
    first = read(kept, 0)
    for seed in range(8):
        read(kept, 0, seed)  # all four frames
    seconds = []
    for source in (plain, kept):
        began = time.perf_counter()
        clip = read(source, 0)
        seconds.append(time.perf_counter() - began)
        np.testing.assert_array_equal(clip.frames, first.frames)
    print(f"3 frames of 3840x2160: {seconds[0]:.2f} s, kept {seconds[1]:.4f} s")
    assert seconds[1] < seconds[0] / 10
