"""A prompt that was encoded once needs no text encoder again, and its rows are those of the encoder, bit by bit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from rem_engine.backbones import prompt_rows, wan
from rem_engine.backbones.load import load_backbone

PROMPT = "the smoke"


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where rows are kept, of small encoders too."""
    monkeypatch.setattr(wan, "_LARGE_ENCODER", 0)
    monkeypatch.setattr("huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept" / "refereverything" / "prompts" / "kept"


def files(kept: Path) -> list[Path]:
    return sorted(kept.glob("*"))


@pytest.mark.parametrize("memory", ["whole", "stream"])
def test_a_second_run_reads_no_text_encoder(
    tiny_wan: Path, kept: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_backbone(tiny_wan, device="cpu", memory=memory).encode_text(PROMPT)
    assert len(files(kept)) == 1
    second = load_backbone(tiny_wan, device="cpu", memory=memory)
    monkeypatch.setattr(second, "text_encoder", None)
    assert torch.equal(second.encode_text(PROMPT), first)
    assert first.shape == (77, 4096) and first[: len(PROMPT) + 1, :32].any(dim=1).all()
    monkeypatch.setattr(wan, "_LARGE_ENCODER", 2**60)
    assert torch.equal(load_backbone(tiny_wan, device="cpu").encode_text(PROMPT), first)


def test_weights_of_the_encoder_come_when_a_prompt_is_new(tiny_wan: Path) -> None:
    backbone = load_backbone(tiny_wan, device="cpu", memory="whole")
    assert all(weight.is_meta for weight in backbone.text_encoder.parameters())
    backbone.encode_text(PROMPT)
    assert not any(weight.is_meta for weight in backbone.text_encoder.parameters())
    again = load_backbone(tiny_wan, device="cpu", memory="whole")
    again.encode_text(PROMPT)
    assert all(weight.is_meta for weight in again.text_encoder.parameters())


def test_rows_are_of_the_text_the_encoder_and_the_type_of_its_numbers(
    tiny_wan: Path, kept: Path, tmp_path: Path
) -> None:
    first = load_backbone(tiny_wan, device="cpu").encode_text(PROMPT)
    assert not torch.equal(load_backbone(tiny_wan, device="cpu").encode_text("the smoker"), first)
    other = tmp_path / "other"
    shutil.copytree(tiny_wan, other)
    weights = other / "text_encoder" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(data)
    load_backbone(other, device="cpu").encode_text(PROMPT)
    load_backbone(tiny_wan, device="cpu", dtype="bfloat16").encode_text(PROMPT)
    assert len(files(kept)) == 4
    moved = tmp_path / "moved"
    shutil.copytree(tiny_wan, moved)
    load_backbone(moved, device="cpu").encode_text(PROMPT)
    assert len(files(kept)) == 4


@pytest.mark.parametrize("damage", [b"", b"x" * 40, None])
def test_a_damaged_file_is_made_anew(tiny_wan: Path, kept: Path, damage: bytes | None) -> None:
    first = load_backbone(tiny_wan, device="cpu").encode_text(PROMPT)
    (file,) = files(kept)
    whole = file.read_bytes()
    file.write_bytes(whole[:-4] + b"\xff" * 4 if damage is None else damage)  # the last number is none
    assert torch.equal(load_backbone(tiny_wan, device="cpu").encode_text(PROMPT), first)
    assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written_to_stops_nothing(
    tiny_wan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE", str(tmp_path / "file"))
    assert load_backbone(tiny_wan, device="cpu").encode_text(PROMPT).any()


def test_no_more_than_so_many_are_kept_and_the_oldest_go(
    tiny_wan: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_rows, "_KEPT", 2)
    backbone = load_backbone(tiny_wan, device="cpu")
    seen = []
    for number, prompt in enumerate(("a", "b", "c")):
        backbone.encode_text(prompt)
        (new,) = set(files(kept)) - set(seen)
        os.utime(new, (number, number))
        seen.append(new)
    assert files(kept) == sorted(seen[1:])


def test_a_prompt_that_is_too_long_is_told_of_again(tiny_wan: Path) -> None:
    for _ in range(2):
        with pytest.warns(UserWarning, match="the model reads 77; these words at its end were cut: 'flower'"):
            load_backbone(tiny_wan, device="cpu").encode_text(f"{'a' * 72} flower")


def test_an_encoder_whose_reading_was_interrupted_is_read_when_it_is_asked_again(
    tiny_wan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    backbone = load_backbone(tiny_wan, device="cpu")
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(wan, "fill", interrupted)
        with pytest.raises(KeyboardInterrupt):
            backbone.encode_text(PROMPT)
    assert backbone.encode_text(PROMPT).any()
