"""A whole file of a form that is not read is told apart from a damaged one, with what to do."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rem_engine.checkpoints import read_state_dict


def refusal(path: Path) -> str:
    with pytest.raises(ValueError, match=r".") as refused:
        read_state_dict(path)
    text = str(refused.value)
    assert "damaged" not in text
    assert "\n" not in text
    assert path.name in text
    return text


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors"])
def test_gguf_under_another_name_is_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"wan{suffix}"
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 0))
    assert "is a GGUF file under another name, which is not supported: rename it to end in .gguf" in refusal(path)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("m.onnx", b"\x08\x07", "is an ONNX model, which is not supported"),
        ("m.msgpack", b"\x81\xa1a\x01", "is Flax weights, which is not supported: convert them with diffusers"),
        ("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(64), "is an HDF5 file"),
        ("m.pb", b"\x08\x01", "is a TensorFlow graph"),
        ("m.ckpt", bytes(40) + bytes.fromhex("57fb808b247547db"), "is a TensorFlow checkpoint"),
        ("m.ckpt.index", bytes(40) + bytes.fromhex("57fb808b247547db"), "is a TensorFlow checkpoint"),
        ("m.npy", b"\x93NUMPY\x01\x00", "is a NumPy array"),
        ("m.pth.gz", b"\x1f\x8b\x08", "is a gzip archive, which is not supported: unpack it"),
        ("m.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("m.pth", b"\n<!DOCTYPE HTML><html></html>", "is a web page, which is not supported: download the file itself"),
        ("pytorch_model.bin.index.json", b'{"weight_map": {}}', "is the index of PyTorch files"),
    ],
)
def test_other_forms_are_told(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert sentence in refusal(tmp_path / name)


@pytest.mark.filterwarnings("ignore")
def test_programs_and_archives_are_told(tmp_path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "script.pth")
    assert "a TorchScript program, which is not supported: save its state_dict()" in refusal(tmp_path / "script.pth")
    np.savez(tmp_path / "arrays.npz", a=np.zeros(2))
    assert "an archive of NumPy arrays" in refusal(tmp_path / "arrays.npz")
    torch.save({"a": torch.zeros(2)}, tmp_path / "rem.pth")
    with zipfile.ZipFile(tmp_path / "rem.zip", "w") as archive:
        archive.write(tmp_path / "rem.pth", "rem.pth")
    assert "a ZIP archive, which is not supported: unpack it" in refusal(tmp_path / "rem.zip")


def test_a_wrong_name_is_told(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "rem.pth")
    assert "under another name, which is not supported: rename it to end in .safetensors" in refusal(
        tmp_path / "rem.pth"
    )
    torch.save({"a": torch.zeros(2)}, tmp_path / "rem.safetensors")
    assert "under another name, which is not supported: rename it to end in .pth" in refusal(
        tmp_path / "rem.safetensors"
    )


def test_folders_in_parts_are_told(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "__0_0.distcp").write_bytes(b"")
    assert "dcp_to_torch" in refusal(shards)
    zero = tmp_path / "zero"
    (zero / "global_step7").mkdir(parents=True)
    (zero / "global_step7" / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(b"")
    assert "zero_to_fp32.py" in refusal(zero)


@pytest.mark.parametrize(
    "name", ["weight.absmax", "weight.quant_state.bitsandbytes__nf4", "qweight", "weight_scale_2", "wscales"]
)
def test_quantised_weights_are_told(tmp_path: Path, name: str) -> None:
    save_file({f"blocks.0.ffn.0.{name}": torch.zeros(2)}, tmp_path / "four.safetensors")
    assert "quantised in a form this does not read" in refusal(tmp_path / "four.safetensors")


def test_numbers_of_other_types_are_told(tmp_path: Path) -> None:
    text = json.dumps({"a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}).encode()
    (tmp_path / "four.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(2))
    assert "not supported, its a is of type F4" in refusal(tmp_path / "four.safetensors")
