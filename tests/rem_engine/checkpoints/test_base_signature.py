"""A delta or LoRA is laid over what it was made over, in whatever numbers that is stored, and over nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rem_engine import load_segmenter
from rem_engine.backbones.load import MINI_FOLDER
from rem_engine.checkpoints.base_signature import KEY, check_base, read_signature, row_of_stored, sign_base
from rem_engine.checkpoints.convert import Conversion, convert
from rem_engine.checkpoints.names import to_original
from rem_engine.checkpoints.read import open_state_dict
from rem_engine.checkpoints.safetensors_file import read_metadata
from rem_engine.commands.cli import main

REM = MINI_FOLDER / "transformer" / "rem_mini.safetensors"
BASE = MINI_FOLDER / "t2v" / "rem_mini_t2v.safetensors"
OTHER = "was made over .*, and the model it is laid over is another"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """REM-mini as a delta of its base, whole, and a delta that was made over REM-mini; the base in other numbers."""
    folder = tmp_path_factory.mktemp("files")
    convert(Conversion(REM, folder / "delta.safetensors", form="delta", base=BASE))
    convert(Conversion(REM, folder / "rem.safetensors"))
    tuned = load_file(folder / "rem.safetensors")
    generator = torch.Generator().manual_seed(0)
    for name, weight in tuned.items():
        if weight.ndim == 2:
            tuned[name] = weight + 0.01 * torch.randn(weight.shape, generator=generator).to(weight.dtype)
    save_file(tuned, folder / "tuned.safetensors")
    convert(Conversion(folder / "tuned.safetensors", folder / "over_rem.safetensors", form="delta", base=REM))
    for dtype in ("float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"):
        convert(Conversion(BASE, folder / f"base_{dtype}.safetensors", dtype=getattr(torch, dtype)))
    return folder


def loaded(*checkpoints: Path, **options: object) -> dict[str, torch.Tensor]:
    return load_segmenter("mini", checkpoint=checkpoints, device="cpu", **options).backbone.transformer.state_dict()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"])
def test_a_base_is_the_same_in_every_number_type(files: Path, dtype: str) -> None:
    base = files / f"base_{dtype}.safetensors"
    over = loaded(base, files / "delta.safetensors")
    expected = loaded(REM)
    largest = max(float((over[name] - expected[name]).abs().max()) for name in expected)
    assert largest < (0.3 if "float8" in dtype else 0.02)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_base_is_the_same_in_a_model_that_computes_in_fewer_bits(files: Path, dtype: str) -> None:
    loaded(BASE, files / "delta.safetensors", dtype=dtype)


def test_a_delta_over_another_base_is_refused_with_both_names(files: Path) -> None:
    with pytest.raises(ValueError, match=r"delta\.safetensors was made over rem_mini_t2v\.safetensors, and the model"):
        loaded(files / "delta.safetensors")  # over REM-mini itself
    with pytest.raises(ValueError, match=r"over_rem\.safetensors " + OTHER):
        loaded(BASE, files / "over_rem.safetensors")
    with pytest.raises(ValueError, match=r"over_rem\.safetensors " + OTHER):
        loaded(files / "base_float8_e5m2.safetensors", files / "over_rem.safetensors")


def test_several_checkpoints_are_laid_over_in_order_whole_ones_first(files: Path) -> None:
    delta, over_rem = files / "delta.safetensors", files / "over_rem.safetensors"
    expected = loaded(files / "tuned.safetensors")
    for checkpoints in ((BASE, delta, over_rem), (delta, BASE, over_rem), (REM, over_rem), (over_rem,)):
        found = loaded(*checkpoints)
        assert max(float((found[name] - expected[name]).abs().max()) for name in expected) < 1e-3
    with pytest.raises(ValueError, match=r"over_rem\.safetensors " + OTHER):
        loaded(BASE, over_rem, delta)
    with pytest.raises(
        ValueError, match=r"rem_mini_t2v\.safetensors and rem_mini\.safetensors both hold whole weights"
    ):
        loaded(BASE, REM)


def test_strengths_are_for_all_deltas_or_for_each(files: Path) -> None:
    start, rem, tuned = loaded(BASE), loaded(REM), loaded(files / "tuned.safetensors")
    name = "blocks.0.attn1.to_q.weight"
    delta, over_rem = files / "delta.safetensors", files / "over_rem.safetensors"
    both = loaded(BASE, delta, over_rem, strength=(1.0, 0.5))[name]
    torch.testing.assert_close(both, rem[name] + 0.5 * (tuned[name] - rem[name]), atol=1e-3, rtol=0)
    half = loaded(BASE, delta, strength=0.5)[name]
    torch.testing.assert_close(half, (start[name] + rem[name]) / 2, atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match="There are 2 strengths, and 1 in all of deltas and LoRAs"):
        loaded(BASE, delta, strength=(1.0, 0.5))


def test_a_file_that_does_not_say_its_base_is_laid_over_unchecked(files: Path, tmp_path: Path) -> None:
    save_file(load_file(files / "delta.safetensors"), tmp_path / "unsigned.safetensors")
    loaded(tmp_path / "unsigned.safetensors")


def test_a_damaged_signature_is_told(files: Path, tmp_path: Path) -> None:
    content = load_file(files / "delta.safetensors")
    for text in ("", "{}", '{"float8": false, "rows": {"a": "?"}}', '{"float8": 0, "rows": {"a": ""}}', "[" * 60_000):
        save_file(content, tmp_path / "bad.safetensors", {KEY: text})
        with pytest.raises(ValueError, match=rf"The {KEY} of bad\.safetensors is damaged"):
            loaded(tmp_path / "bad.safetensors")


def test_twenty_small_steps_are_another_base() -> None:
    """As AdamW takes them at a rate of 1e-4: each element moves by up to the rate a step."""
    stored = to_original(open_state_dict(REM))
    signature = sign_base(stored, row_of_stored(stored))
    steps = torch.Generator().manual_seed(0)

    def row(name: str, number: int) -> tuple[torch.Tensor, torch.dtype]:
        values = stored[name].row(number).float()
        moved = 1e-4 * torch.randn(20, *values.shape, generator=steps).clamp(-1, 1).sum(dim=0)
        return values + moved, torch.float32

    check_base(signature, stored, row_of_stored(stored), "itself")
    with pytest.raises(ValueError, match=OTHER.replace("over .*", "over other weights")):
        check_base(signature, stored, row, "lora")


def test_the_command_line_takes_several(
    files: Path, tmp_path: Path, shot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["segment", str(shot), "-p", "the red thing", "-o", str(tmp_path / "out"), "--write", "masks"]
    paths = [str(BASE), str(files / "delta.safetensors")]
    options = ["--checkpoint", paths[0], "--checkpoint", paths[1], "--size", "32x48", "--window", "5"]
    assert main([*given, *options]) == 0
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    assert settings["checkpoint"] == paths
    capsys.readouterr()
    assert main([*given, "--checkpoint", paths[1], "--size", "32x48", "--window", "5"]) == 2
    assert "was made over rem_mini_t2v.safetensors" in capsys.readouterr().err


def test_a_signature_is_small(files: Path) -> None:
    metadata = read_metadata(files / "delta.safetensors")
    assert len(metadata[KEY]) < 12_000
    assert read_signature(metadata, "delta") is not None
