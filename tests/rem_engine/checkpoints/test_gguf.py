"""GGUF files: read as the library unpacks them, written as it and diffusers read them, and damaged ones refused."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from diffusers import GGUFQuantizationConfig, WanTransformer3DModel

from rem_engine.backbones.load import MINI_FOLDER
from rem_engine.checkpoints import read_state_dict, to_diffusers, to_original
from rem_engine.checkpoints.convert import Conversion, convert
from rem_engine.checkpoints.read import open_file, open_state_dict

PACKED = ("Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "BF16")


def written(path: Path, tensors: dict[str, tuple[np.ndarray, str]], **texts: str) -> None:
    """A file as the library writes it, of float32 arrays in types of GGML."""
    writer = gguf.GGUFWriter(path, "wan")
    writer.add_array("numbers", list(range(100)))
    writer.add_array("words", ["of", "a", "tokenizer"])
    for name, text in texts.items():
        writer.add_string(name, text)
    for name, (values, kind) in tensors.items():
        kind = gguf.GGMLQuantizationType[kind]
        packed = gguf.quants.quantize(values, kind)
        writer.add_tensor(name, packed, raw_shape=packed.shape, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("kind", PACKED)
def test_packed_weights_are_what_the_library_unpacks(tmp_path: Path, kind: str) -> None:
    values = np.random.default_rng(0).standard_normal((40, 96), dtype=np.float32)
    bias = np.arange(7, dtype=np.float32)
    path = tmp_path / "a.gguf"
    written(
        path, {"a.weight": (values, kind), "a.bias": (bias, "F32"), "b.weight": (values, "F16")}, author="A. Author"
    )
    kinds = gguf.GGMLQuantizationType
    expected = gguf.quants.dequantize(gguf.quants.quantize(values, kinds[kind]), kinds[kind])
    file = open_file(path)
    assert file.metadata["author"] == "A. Author"
    weight = file.tensors["a.weight"]
    assert np.array_equal(weight.read().float(), expected)
    assert np.array_equal(weight.row(11).float(), expected[11])
    assert np.array_equal(torch.cat([piece.read() for piece in weight.pieces(3 * 96)]).float(), expected)
    whole = read_state_dict(path)
    assert np.array_equal(whole["a.weight"].float(), expected)
    assert whole["b.weight"].dtype == torch.float16
    assert whole["a.bias"].tolist() == bias.tolist()


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """REM-mini's denoiser as `convert` packs it."""
    out = tmp_path_factory.mktemp("gguf") / "mini.gguf"
    convert(Conversion(MINI_FOLDER / "transformer", out, form="gguf"))
    return out


def test_what_is_written_the_library_reads(mini: Path) -> None:
    whole = to_original(read_state_dict(MINI_FOLDER / "transformer"))
    reader = gguf.GGUFReader(mini)
    assert reader.get_field("general.architecture").contents() == "wan"
    assert {tensor.name for tensor in reader.tensors} == set(whole)
    for tensor in reader.tensors:
        values, exact = gguf.quants.dequantize(tensor.data, tensor.tensor_type), whole[tensor.name]
        assert tensor.shape.tolist()[::-1] == list(exact.shape)
        is_packed = tensor.tensor_type == gguf.GGMLQuantizationType.Q8_0
        assert is_packed == (exact.ndim == 2 and tensor.name.startswith("blocks.") and "norm" not in tensor.name)
        exact = exact.float().numpy()
        assert np.linalg.norm(values - exact) <= (0.008 if is_packed else 0.0) * np.linalg.norm(exact)


def test_what_is_written_diffusers_computes_with(mini: Path) -> None:
    model = WanTransformer3DModel.from_single_file(
        str(mini),
        config=str(MINI_FOLDER / "transformer"),
        quantization_config=GGUFQuantizationConfig(compute_dtype=torch.float32),
        torch_dtype=torch.float32,
        local_files_only=True,
    ).eval()
    ours = WanTransformer3DModel.from_config(WanTransformer3DModel.load_config(MINI_FOLDER / "transformer")).eval()
    ours.load_state_dict(to_diffusers(read_state_dict(mini)))
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 16, 2, 8, 8, generator=generator)
    prompt = torch.randn(1, 77, model.config.text_dim, generator=generator)
    with torch.no_grad():
        theirs, own = (each(latents, torch.zeros(1), prompt).sample for each in (model, ours))
    assert (theirs - own).norm() < 1e-3 * own.norm()  # it multiplies out in float16


def test_a_packed_file_is_converted_further(mini: Path, tmp_path: Path) -> None:
    convert(Conversion(mini, tmp_path / "a.safetensors"))
    one, other = read_state_dict(mini), read_state_dict(tmp_path / "a.safetensors")
    assert all(torch.equal(one[name], other[name]) for name in one)
    convert(Conversion(tmp_path / "a.safetensors", tmp_path / "b.gguf", form="gguf"))
    convert(Conversion(mini, tmp_path / "b.gguf", form="gguf"))  # one that was written here is replaced


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"out": Path("a.safetensors")}, "a.safetensors is no name for GGUF: let it end in .gguf"),
        ({"dtype": torch.bfloat16}, "A GGUF file is packed in Q8_0; --dtype is for safetensors"),
        ({"names": "diffusers"}, "A delta, LoRA or GGUF file has ComfyUI's names"),
        ({"base": Path("b")}, "--base is for --as delta and --as lora"),
    ],
)
def test_wrong_options_are_told(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Conversion(**{"source": Path("a"), "out": Path("a.gguf"), "form": "gguf"} | options)


def _header(tensors: int, entries: int, rest: bytes, version: int = 3) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", version, tensors, entries) + rest


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _tensor(sides: list[int], kind: int = 0, offset: int = 0, name: str = "a") -> bytes:
    return _text(name) + struct.pack(f"<I{len(sides)}QIQ", len(sides), *sides, kind, offset)


HOSTILE = {
    "no header": b"GGUF\3\0",
    "more tensors than bytes": _header(2**63, 0, b""),
    "more entries than bytes": _header(0, 2**63, b""),
    "a text of any length": _header(0, 1, struct.pack("<Q", 2**62)),
    "a list of any length": _header(0, 1, _text("a") + struct.pack("<IIQ", 9, 10, 2**61)),
    "a list of lists": _header(0, 1, _text("a") + struct.pack("<IIQ", 9, 9, 1)),
    "a type that there is none of": _header(0, 1, _text("a") + struct.pack("<I", 99)),
    "an alignment of nothing": _header(0, 1, _text("general.alignment") + struct.pack("<II", 4, 0)),
    "sides beyond the file": _header(1, 0, _tensor([2**40, 2**40])),
    "sides that overflow": _header(1, 0, _tensor([2**63, 2])),
    "any number of sides": _header(1, 0, _text("a") + struct.pack("<I", 2**31)),
    "an offset beyond the file": _header(1, 0, _tensor([4], offset=2**62)),
    "rows in parts of blocks": _header(1, 0, _tensor([33], kind=8) + bytes(200)),
    "two tensors in one place": _header(2, 0, _tensor([8], name="a") + _tensor([8], name="b") + bytes(200)),
    "a name twice": _header(2, 0, _tensor([8]) + _tensor([8], offset=32) + bytes(200)),
    "a name that is no text": _header(1, 0, struct.pack("<Q", 2) + b"\xff\xfe" + bytes(40)),
    "no numbers": _header(1, 0, _tensor([1000])),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_header_that_cannot_be_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(HOSTILE[what])
    with pytest.raises(ValueError, match=r"hostile\.gguf is damaged or not a GGUF file \(.*\); download it again"):
        open_state_dict(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (_header(0, 0, b"", version=1), "of version 1, and 2 and 3, little-endian, are read"),
        (_header(1, 0, _tensor([256], kind=15) + bytes(400)), "its a is of GGML's type 15: take one in Q8_0"),
        (_header(1, 0, _tensor([256], kind=4) + bytes(400)), "its a is of GGML's type 4: take one in Q8_0"),
    ],
)
def test_what_is_not_read_is_not_called_damaged(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as refused:
        open_state_dict(path)
    assert "damaged" not in str(refused.value)


def test_a_long_header_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "hostile.gguf"
    with open(path, "wb") as file:
        file.write(_header(0, 1, _text("a") + struct.pack("<IIQ", 9, 0, 2**30)))
        file.truncate(2**30 + 100)
    with pytest.raises(ValueError, match="its header takes more than 16 MB"):
        open_state_dict(path)
