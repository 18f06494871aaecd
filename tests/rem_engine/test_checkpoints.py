"""Weights are read whatever their wrapping, fit or are refused in a sentence, and never run code."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from rem_engine.checkpoints import check, describe, read_state_dict, split_components, to_diffusers, to_original


@pytest.fixture(scope="module")
def keymap(golden: Path) -> dict[str, dict[str, str]]:
    content = json.loads((golden / "wan" / "keymap.json").read_text())
    return {"transformer": content["transformer"], "vae": content["vae"]}


def named(names: Any) -> dict[str, torch.Tensor]:
    """A tensor for every name, told apart by its number."""
    return {name: torch.tensor(i) for i, name in enumerate(names)}


@pytest.mark.parametrize("part", ["transformer", "vae"])
def test_names_are_those_of_the_authors_both_ways(keymap: dict[str, dict[str, str]], part: str) -> None:
    diffusers, original = named(keymap[part]), named(keymap[part].values())
    assert to_original(diffusers) == original
    assert to_diffusers(original) == diffusers


@pytest.mark.parametrize("part", ["transformer", "vae"])
def test_names_already_right_stay(keymap: dict[str, dict[str, str]], part: str) -> None:
    diffusers, original = named(keymap[part]), named(keymap[part].values())
    assert to_diffusers(diffusers) == diffusers
    assert to_original(original) == original


def test_names_of_many_blocks_and_unknown_names(keymap: dict[str, dict[str, str]]) -> None:
    assert list(to_original(named(["blocks.39.attn2.to_out.0.bias"]))) == ["blocks.39.cross_attn.o.bias"]
    assert list(to_diffusers(named(["blocks.39.norm3.weight"]))) == ["blocks.39.norm2.weight"]
    assert list(to_diffusers(named(["something.else"]))) == ["something.else"]


def test_official_checkpoint_is_read_without_its_wrapping(golden: Path, keymap: dict[str, dict[str, str]]) -> None:
    parts = split_components(read_state_dict(golden / "wan" / "rem_wan.pth"))
    assert set(parts["transformer"]) == set(keymap["transformer"])
    assert set(parts["vae"]) == set(keymap["vae"])
    dtypes = {tensor.dtype for tensor in parts["transformer"].values()}
    assert dtypes == {torch.float32, torch.bfloat16}


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.dit.", "module.backbone.dit.", "model.diffusion_model."])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_prefixes_are_taken_off(tmp_path: Path, prefix: str, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    weights = {f"{prefix}blocks.0.modulation": torch.arange(3.0), f"{prefix}head.modulation": torch.zeros(2)}
    if suffix == ".pth":
        torch.save({"model_state": weights, "epoch": 3}, path)
    else:
        save_file(weights, path)
    read = read_state_dict(path)
    assert set(read) == {"blocks.0.modulation", "head.modulation"}
    assert read["blocks.0.modulation"].tolist() == [0.0, 1.0, 2.0]


def test_shards_are_put_together_through_their_index(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "model-1.safetensors")
    save_file({"b": torch.ones(1)}, tmp_path / "model-2.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}))
    for path in (index, tmp_path):
        assert {name: tensor.item() for name, tensor in read_state_dict(path).items()} == {"a": 0.0, "b": 1.0}
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model-2\.safetensors, which is missing"):
        read_state_dict(tmp_path)


class Hostile:
    """Creates a file when it is unpickled by a reader that does what it is told."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("form", ["torch.save", "plain pickle", "in the arguments"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path: Path, form: str) -> None:
    path, target = tmp_path / "hostile.pth", tmp_path / "it ran"
    if form == "plain pickle":
        path.write_bytes(pickle.dumps({"model_state": Hostile(target)}, protocol=2))
    elif form == "torch.save":
        torch.save(Hostile(target), path)
    else:
        torch.save({"model_state": {"a": torch.zeros(1)}, "args": Hostile(target)}, path)
    with pytest.raises(ValueError, match=r"hostile\.pth was not read: .*mkdir.* could run code"):
        read_state_dict(path)
    assert not target.exists()
    with contextlib.suppress(RuntimeError):  # a plain pickle fails, but only once it has run
        torch.load(path, weights_only=False)
    assert target.exists()  # the file was hostile indeed


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_damaged_files_are_told(tmp_path: Path, golden: Path, suffix: str) -> None:
    empty, text, cut = (tmp_path / f"{name}{suffix}" for name in ("empty", "text", "cut"))
    empty.write_bytes(b"")
    text.write_text("404: Not Found")
    source = golden / "wan" / ("rem_wan.pth" if suffix == ".pth" else "base/vae/diffusion_pytorch_model.safetensors")
    cut.write_bytes(source.read_bytes()[:100_000])
    for path in (empty, text, cut):
        with pytest.raises(ValueError, match=f"{path.name} is damaged or not a"):
            read_state_dict(path)


def test_files_that_hold_no_weights_are_told(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "settings.pth")
    with pytest.raises(ValueError, match="holds no weights by name"):
        read_state_dict(tmp_path / "settings.pth")
    (tmp_path / "weights.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match="not a checkpoint this reads"):
        read_state_dict(tmp_path / "weights.onnx")
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read_state_dict(tmp_path / "nothing.pth")


def test_weights_of_another_architecture_are_told_with_the_first_differences(golden: Path) -> None:
    wan = read_state_dict(golden / "wan" / "base" / "transformer")
    shapes = {name: tensor.shape for name, tensor in wan.items()}
    check(wan, shapes, "rem.pth")

    modelscope = read_state_dict(golden / "modelscope" / "rem_ms.pth")
    with pytest.raises(ValueError, match=r"rem_ms\.pth does not fit this model: it looks like a ModelScope .* UNet"):
        check(modelscope, shapes, "rem_ms.pth")

    wider = {name: tensor.new_zeros([2 * side for side in tensor.shape]) for name, tensor in wan.items()}
    with pytest.raises(
        ValueError, match=r"Wan transformer of width 512 with 2 blocks .* is \[512\] instead of \[256\]"
    ):
        check(wider, shapes, "rem.pth")

    shallow = {name: tensor for name, tensor in wan.items() if not name.startswith("blocks.1.")}
    with pytest.raises(ValueError, match=r"missing: blocks\.1\.attn1\.norm_k\.weight, .* more"):
        check(shallow, shapes, "rem.pth")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "no weights at all"),
        (["blocks.0.self_attn.q.lora_down.weight"], "a LoRA"),
        (["encoder.block.0.layer.0.SelfAttention.q.weight"], "a T5 text encoder"),
        (["decoder.norm_out.gamma"], "a Wan VAE"),
        (["decoder.head.0.gamma"], "a Wan VAE"),
        (["model.layers.0.weight"], "a model of another kind"),
    ],
)
def test_weights_are_described(names: list[str], words: str) -> None:
    assert words in describe(named(names))
