"""Damaged and foreign input through the commands: exit code 2 and one line that names the file, and nothing written.

The fuzz test (tests/fuzz) damages all of these in many ways; here each has the one that people meet.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from plate_files import write_dpx
from red_model import FRAMES, HEIGHT, WIDTH, check_refused
from safetensors.torch import save
from video_files import scene, write_video

from rem_engine.commands.cli import main

RAMP = np.tile(np.linspace(0, 1, 64, dtype=np.float32)[None, :, None], (48, 1, 3))


def truncated_dpx(folder: Path) -> Path:
    path = write_dpx(folder / "cut.dpx", 10, RAMP)
    path.write_bytes(path.read_bytes()[:-500])
    return path


def without_track(folder: Path) -> Path:
    path = write_video(folder / "lost.mp4", scene(6))
    path.write_bytes(path.read_bytes().replace(b"trak", b"tr\0k"))
    return path


def without_sizes(folder: Path) -> Path:
    """A movie whose table of the frames' sizes is zeros."""
    path = write_video(folder / "sizes.mov", scene(6), "prores_ks", "yuv422p10le")
    data = bytearray(path.read_bytes())
    place = data.index(b"stsz") + 12
    data[place:] = bytes(len(data) - place)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("damaged", [truncated_dpx, without_track, without_sizes])
@pytest.mark.usefixtures("fake_model")
def test_a_damaged_plate_is_told(
    damaged: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = damaged(tmp_path), tmp_path / "out"
    check_refused(["segment", str(path), "-p", "the red thing", "-o", str(out)], path.name, capsys)
    assert not out.exists() or not any(out.iterdir())


@pytest.mark.usefixtures("fake_model")
def test_a_prompt_that_is_no_text_is_told(shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A byte that is not UTF-8, on the command line (where Python has half a character for it) and in a file."""
    segment = ["segment", str(shot), "-o", str(tmp_path / "out")]
    check_refused([*segment, "-p", "the \udcff smoke"], "holds a byte that is not UTF-8", capsys)
    prompts = tmp_path / "prompts.txt"
    prompts.write_bytes(b"the smoke\nthe \xff fire\n")
    check_refused(
        [*segment, "--prompts", str(prompts)], f"{prompts} is no text of prompts, byte 14 is not UTF-8", capsys
    )
    prompts.write_bytes(b"the smoke\nthe \0 fire\n")
    check_refused([*segment, "--prompts", str(prompts)], "Prompt line 2", capsys)


def test_a_soft_npz_with_a_turned_byte_is_told(shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "soft.npz"
    np.savez_compressed(path, soft=np.random.default_rng(0).random((FRAMES, HEIGHT, WIDTH), np.float32))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    assert main(["matte", str(shot), "--masks", str(path), "-o", str(tmp_path / "out")]) == 2
    *bars, said = capsys.readouterr().err.splitlines()  # all is well before that byte
    assert said.startswith("error: ") and f"{path} " in said and "damaged" in said
    assert not any("error" in bar for bar in bars)


@pytest.mark.parametrize("metadata", [[], "text", 3])
def test_metadata_that_are_no_object_are_told(
    metadata: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.safetensors"
    whole = save({"patch_embedding.weight": torch.zeros(2)})
    header = json.dumps({"__metadata__": metadata, **json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])})
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + whole[-8:])
    check_refused(["convert", str(path), "-o", str(tmp_path / "o.safetensors")], "odd.safetensors is damaged", capsys)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer/tokenizer.json", "{}"),
        ("transformer/config.json", '{"_class_name": "WanTransformer3DModel", "num_layers": "two"}'),
        ("vae/config.json", '{"_class_name": "AutoencoderKLWan", "z_dim": {}}'),
        ("text_encoder/config.json", '{"d_model": []}'),
    ],
)
def test_a_model_folder_with_a_damaged_file_is_told(
    file: str, content: str, shot: Path, wan_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (wan_copy / file).write_text(content)
    arguments = ["segment", str(shot), "-p", "the red thing", "-o", str(tmp_path / "out"), "--model", str(wan_copy)]
    check_refused(arguments, str((wan_copy / file).parent), capsys)


@pytest.mark.parametrize(
    ("where", "command"),
    [
        ("transformers.AutoTokenizer.from_pretrained", "segment"),
        ("diffusers.WanTransformer3DModel.from_config", "segment"),
        ("torch.load", "convert"),
        ("rem_engine.media.stills.Still._parts", "segment"),
    ],
)
def test_full_memory_is_not_called_damage(
    where: str,
    command: str,
    shot: Path,
    wan_copy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    torch.save({"patch_embedding.weight": torch.zeros(2)}, tmp_path / "rem.pth")
    monkeypatch.setattr(where, full)
    arguments = {
        "segment": ["segment", str(shot), "-p", "the red thing", "--model", str(wan_copy), "-o", str(tmp_path / "out")],
        "convert": ["convert", str(tmp_path / "rem.pth"), "-o", str(tmp_path / "o.safetensors")],
    }
    check_refused(arguments[command], "The memory is full while", capsys)


def test_names_that_no_system_takes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = str(tmp_path / ("x" * 300))
    for arguments in (
        ["segment", given, "-p", "the red thing", "-o", str(tmp_path / "out")],
        ["segment", str(tmp_path), "-p", "the red thing", "-o", str(tmp_path / "out"), "--model", given],
        ["segment", str(tmp_path), "--prompts", given, "-o", str(tmp_path / "out")],
        ["matte", str(tmp_path), "--masks", given, "-o", str(tmp_path / "out")],
        ["convert", given, "-o", str(tmp_path / "o.safetensors")],
        ["convert", str(tmp_path / "in.safetensors"), "-o", f"{given}.safetensors"],
    ):
        check_refused(arguments, "", capsys)
