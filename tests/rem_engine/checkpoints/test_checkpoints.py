"""Weights are read whatever their wrapping, fit or are refused in a sentence, and never run code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from rem_engine.checkpoints import read_state_dict, split_components, to_diffusers, to_original
from rem_engine.checkpoints.read import open_state_dict


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


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "module.",
        "backbone.dit.",
        "module.backbone.dit.",
        "model.diffusion_model.",
        "_orig_mod.",
        "_fsdp_wrapped_module.backbone.dit._fsdp_wrapped_module.",
        "backbone.dit._orig_mod._checkpoint_wrapped_module.",
    ],
)
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


def test_wrappers_are_taken_off_inside_names(tmp_path: Path) -> None:
    name = "backbone.dit.blocks.3._fsdp_wrapped_module.attn1._checkpoint_wrapped_module.to_q.weight"
    torch.save({"model_state": {name: torch.ones(2)}}, tmp_path / "fsdp.pth")
    assert list(read_state_dict(tmp_path / "fsdp.pth")) == ["blocks.3.attn1.to_q.weight"]


def test_a_name_that_comes_twice_is_told(tmp_path: Path) -> None:
    torch.save({"model_state": {"module.a": torch.ones(2), "a": torch.ones(2)}}, tmp_path / "twice.pth")
    with pytest.raises(ValueError, match=r"twice\.pth holds a twice"):
        read_state_dict(tmp_path / "twice.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"])
def test_every_number_type_is_read_as_it_is(tmp_path: Path, suffix: str, dtype: str) -> None:
    weight = (torch.arange(-12, 12) / 4).reshape(4, 6).to(getattr(torch, dtype))
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"unet": {"a": weight}}, path)
    else:
        save_file({"a": weight}, path)
    for read in (read_state_dict(path)["a"], open_state_dict(path)["a"].read()):
        assert read.dtype == weight.dtype
        assert torch.equal(read.float(), weight.float())


@pytest.mark.parametrize("zipped", [True, False])
def test_views_and_parameters_of_pickles_are_read(tmp_path: Path, zipped: bool) -> None:
    table = torch.arange(24.0).reshape(4, 6)
    views = {"whole": table, "turned": table.t(), "row": table[2], "columns": table[:, 1:3], "none": torch.empty(0, 3)}
    weights = {**views, "parameter": torch.nn.Parameter(table[1:])}
    torch.save(weights, tmp_path / "views.pth", _use_new_zipfile_serialization=zipped)
    mapped, stored = read_state_dict(tmp_path / "views.pth"), open_state_dict(tmp_path / "views.pth")
    for name, expected in weights.items():
        assert torch.equal(mapped[name], expected)
        assert torch.equal(stored[name].read(), expected)
        pieces = [piece.read() for piece in stored[name].pieces(6)]
        assert torch.equal(torch.cat(pieces), expected)


def test_what_is_read_may_be_written_to(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "a.safetensors")
    read_state_dict(tmp_path / "a.safetensors")["a"].add_(1)
    assert read_state_dict(tmp_path / "a.safetensors")["a"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("form", ["scaled_fp8", "comfy_quant", "a scale a row"])
def test_scaled_fp8_is_multiplied_out(tmp_path: Path, dtype: torch.dtype, form: str) -> None:
    weight = torch.tensor([[1.0, -2.0, 0.5], [3.0, 4.0, -0.25]]).to(dtype)
    scale = torch.tensor([[0.3], [0.7]]) if form == "a scale a row" else torch.tensor(0.3)
    beside = {
        "scaled_fp8": {
            "a.scale_weight": scale,
            "a.scale_input": torch.ones(()),
            "scaled_fp8": torch.zeros(2).to(dtype),
        },
        "comfy_quant": {
            "a.weight_scale": scale,
            "a.input_scale": torch.ones(()),
            "a.comfy_quant": torch.tensor(list(json.dumps({"format": "float8_e4m3fn"}).encode()), dtype=torch.uint8),
        },
        "a scale a row": {"a.weight_scale": scale},
    }[form]
    save_file({"a.weight": weight, "a.bias": torch.ones(2), **beside}, tmp_path / "scaled.safetensors")
    read = read_state_dict(tmp_path / "scaled.safetensors")
    assert set(read) == {"a.weight", "a.bias"}
    assert read["a.weight"].dtype == torch.float32
    torch.testing.assert_close(read["a.weight"], weight.float() * scale, rtol=0, atol=0)
    rows = list(open_state_dict(tmp_path / "scaled.safetensors")["a.weight"].pieces(3))
    torch.testing.assert_close(torch.cat([row.read() for row in rows]), read["a.weight"], rtol=0, atol=0)


def test_a_scale_without_its_weight_and_other_quantisation_are_told(tmp_path: Path) -> None:
    save_file({"a.scale_weight": torch.ones(())}, tmp_path / "alone.safetensors")
    with pytest.raises(ValueError, match=r"has a scale for a\.weight that fits no such weight"):
        read_state_dict(tmp_path / "alone.safetensors")
    save_file(
        {"a.weight": torch.zeros(2, 2, dtype=torch.uint8), "a.weight_scale_2": torch.ones(())},
        tmp_path / "4.safetensors",
    )
    with pytest.raises(ValueError, match="quantised in a form this does not read"):
        read_state_dict(tmp_path / "4.safetensors")


def test_a_model_folder_stands_for_its_transformer(golden: Path) -> None:
    assert set(open_state_dict(golden / "wan" / "base")) == set(
        open_state_dict(golden / "wan" / "base" / "transformer")
    )


def test_shards_are_put_together_through_their_index(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "model-1.safetensors")
    save_file({"b": torch.ones(1)}, tmp_path / "model-2.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}))
    for path in (index, tmp_path):
        assert {name: tensor.item() for name, tensor in read_state_dict(path).items()} == {"a": 0.0, "b": 1.0}
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "c": "model-2.safetensors"}}))
    with pytest.raises(ValueError, match="lists c, which its files do not hold"):
        read_state_dict(tmp_path)
    save_file({"a": torch.ones(1)}, tmp_path / "model-2.safetensors")
    with pytest.raises(ValueError, match="a lies in two files"):
        read_state_dict(tmp_path)
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model-2\.safetensors, which is missing"):
        read_state_dict(tmp_path)


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "sub/a.safetensors", "/etc/passwd", "..", r"..\\a.safetensors"]
)
def test_an_index_names_no_file_elsewhere(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": torch.zeros(1)}, tmp_path / "secret.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ValueError, match="is not a file beside it"):
        read_state_dict(folder)


def test_files_that_hold_no_weights_are_told(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "settings.pth")
    with pytest.raises(ValueError, match="holds no weights by name"):
        read_state_dict(tmp_path / "settings.pth")
    (tmp_path / "weights.txt").write_bytes(b"")
    with pytest.raises(ValueError, match="not a checkpoint this reads"):
        read_state_dict(tmp_path / "weights.txt")
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read_state_dict(tmp_path / "nothing.pth")
