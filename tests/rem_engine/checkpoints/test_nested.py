"""A denoiser is found however deep it lies among what trainers keep; of two, both are named and one is asked for."""

from __future__ import annotations

import re
from argparse import Namespace
from collections import OrderedDict
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rem_engine.backbones.checkpoint import checkpoint_files, open_checkpoint
from rem_engine.checkpoints import read_state_dict, split_components, to_diffusers, to_original
from rem_engine.checkpoints.convert import Conversion, convert

VAE = {"encoder.conv1.weight": torch.full((2,), 7.0), "decoder.conv1.weight": torch.full((2,), 8.0)}

PREFIXES = (
    "",
    "diffusion_model.",
    "model.diffusion_model.",
    "transformer.",
    "unet.",
    "module.",
    "model.",
    "net.",
    "backbone.dit.",
    "module.model.diffusion_model.",
    "student.net.module.",
    "_orig_mod.",
)


def wan(value: float = 1.0) -> dict[str, Tensor]:
    """The beginning of a Wan transformer, under the original names."""
    names = ("patch_embedding.weight", "blocks.0.modulation", "blocks.0.self_attn.q.weight", "head.modulation")
    return {name: torch.full((2, number + 1), value) for number, name in enumerate(names)}


def unet() -> dict[str, Tensor]:
    names = ("conv_in.weight", "time_embedding.linear_1.weight", "down_blocks.0.temp_attentions.0.norm.weight")
    return {name: torch.full((2, number + 1), 1.0) for number, name in enumerate(names)}


def prefixed(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in weights.items()}


def check_same(read: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert read.keys() == expected.keys()
    assert all(torch.equal(read[name], expected[name]) for name in expected)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("weights", [wan(), to_diffusers(wan()), unet()], ids=["original", "diffusers", "unet"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".ckpt", ".bin"])
def test_every_prefix_is_taken_off(tmp_path: Path, prefix: str, weights: dict[str, Tensor], suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    content = prefixed(prefix, weights)
    save_file(content, path) if suffix == ".safetensors" else torch.save(content, path)
    check_same(read_state_dict(path), weights)


LIGHTNING: dict[str, Any] = {
    "epoch": 3,
    "pytorch-lightning_version": "2.4.0",
    "hyper_parameters": {"lr": 1e-5, "betas": (0.9, 0.99), "arguments": Namespace(steps=3)},
    "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-5}]}],
    "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5)}},
    "loops": OrderedDict(fit=1),
}
DEEPSPEED: dict[str, Any] = {
    "buffer_names": ["a"],
    "param_shapes": [OrderedDict({"blocks.0.modulation": torch.Size([2, 2])})],
    "ds_version": "0.16.0",
    "optimizer": None,
    "optimizer_state": {"state": {"blocks.0.modulation": {"exp_avg": torch.ones(2, 2)}}},
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize(
    "nest",
    [
        *(
            lambda weights, entry=entry: {entry: weights, "epoch": 1, "optimizer": {"state": {0: torch.ones(1)}}}
            for entry in ("state_dict", "model", "ema", "ema_model", "module", "generator", "net", "params_ema")
        ),
        lambda weights: {**LIGHTNING, "state_dict": prefixed("model.diffusion_model.", weights)},
        lambda weights: {**DEEPSPEED, "module": prefixed("transformer.", weights)},
        lambda weights: {"checkpoint": {"state_dict": OrderedDict(prefixed("module.", weights))}},
        lambda weights: {"a": {"b": {"c": weights}}},
        lambda weights: {"n_averaged": torch.tensor(3), **prefixed("module.", weights)},  # torch.optim.swa_utils
        lambda weights: {"ema": {**weights, "decay": torch.tensor(0.99)}, "shadow": list(weights.values())},
        lambda weights: {
            # Stability's LitEma keeps names without dots
            "state_dict": prefixed("model.diffusion_model.", weights)
            | {f"model_ema.diffusion_model{name.replace('.', '')}": tensor for name, tensor in weights.items()}
        },
    ],
    ids=lambda _: "",
)
def test_a_state_dict_is_found_however_deep_it_lies(tmp_path: Path, nest: Any, zipped: bool) -> None:
    torch.save(nest(wan()), tmp_path / "run.pth", _use_new_zipfile_serialization=zipped)
    check_same(read_state_dict(tmp_path / "run.pth"), wan())


FLAT = [
    (prefixed("model.diffusion_model.", wan(1)) | prefixed("ema.diffusion_model.", wan(2)), {"ema": 2, "model": 1}),
    (wan(1) | prefixed("ema.", wan(2)), {".": 1, "ema": 2}),
    (prefixed("model.", wan(1)) | prefixed("model.ema.", wan(2)), {"model": 1, "model.ema": 2}),
    (
        prefixed("online_model.module.", wan(1)) | prefixed("ema_model.module.", wan(2)),
        {"ema_model": 2, "online_model": 1},
    ),
]
NESTED = [
    ({"model": wan(1), "ema": wan(2), "epoch": 4}, {"ema": 2, "model": 1}),
    ({"state_dict": {"model": wan(1), "ema_model": wan(2)}}, {"ema_model": 2, "model": 1}),
    ({"module": wan(1), "ema": prefixed("module.", wan(2))}, {"ema.module": 2, "module": 1}),
    ({"state_dict": prefixed("model.", wan(1)) | prefixed("model_ema.", wan(2))}, {"model": 1, "model_ema": 2}),
]


@pytest.mark.parametrize(
    ("content", "values", "suffix"),
    [(*case, suffix) for suffix in (".pth", ".safetensors") for case in FLAT] + [(*case, ".pth") for case in NESTED],
)
def test_of_two_denoisers_both_are_named_and_one_is_taken(
    tmp_path: Path, content: dict[str, Any], values: dict[str, int], suffix: str
) -> None:
    path = tmp_path / f"run{suffix}"
    save_file(content, path) if suffix == ".safetensors" else torch.save(content, path)
    first, second = map(re.escape, values)
    with pytest.raises(ValueError, match=rf"run{suffix} holds 2 sets of weights, {first} and {second}") as refused:
        read_state_dict(path)
    assert "\n" not in str(refused.value)
    for choice, value in values.items():
        assert f"run{suffix}:{choice}" in str(refused.value)
        check_same(read_state_dict(f"{path}:{choice}"), wan(value))
    with pytest.raises(ValueError, match=rf"holds no best; there is {first} and {second}"):
        read_state_dict(f"{path}:best")


def test_one_denoiser_under_two_names_is_one(tmp_path: Path) -> None:
    weights = wan()
    torch.save({"model": weights, "ema": weights}, tmp_path / "run.pth")
    check_same(read_state_dict(tmp_path / "run.pth"), weights)


def test_each_denoiser_comes_with_the_vae_beside_it(tmp_path: Path) -> None:
    content = {
        **{f"model.dit.{name}": tensor for name, tensor in wan(1).items()},
        **{f"model.vae.{name}": tensor for name, tensor in VAE.items()},
        **{f"ema.dit.{name}": tensor for name, tensor in wan(2).items()},
        **{f"ema.vae.{name}": tensor + 1 for name, tensor in VAE.items()},
        "text_encoder.shared.weight": torch.ones(3),
    }
    save_file(content, tmp_path / "both.safetensors")
    parts = split_components(read_state_dict(f"{tmp_path / 'both.safetensors'}:ema.dit"))
    check_same(parts["transformer"], wan(2))
    check_same(parts["vae"], {name: tensor + 1 for name, tensor in VAE.items()})


def test_an_adapter_is_found_however_deep_it_lies(tmp_path: Path) -> None:
    lora = {"blocks.0.ffn.0.lora_A.weight": torch.ones(1, 2), "blocks.0.ffn.0.lora_B.weight": torch.ones(2, 1)}
    torch.save({"state_dict": lora, "hyper_parameters": {"rank": 1}}, tmp_path / "lora.pth")
    check_same(read_state_dict(tmp_path / "lora.pth"), lora)


def test_hyper_parameters_of_other_classes_are_refused_by_name(tmp_path: Path) -> None:
    torch.save({"state_dict": wan(), "hyper_parameters": {"rate": Fraction(1, 3)}}, tmp_path / "run.ckpt")
    with pytest.raises(ValueError, match=r"run\.ckpt was not read: beyond weights it asks for fractions\.Fraction"):
        read_state_dict(tmp_path / "run.ckpt")


def test_mappings_that_hold_themselves_end(tmp_path: Path) -> None:
    content: dict[str, Any] = {"state_dict": wan()}
    content["again"] = content["state_dict"]["again"] = content
    torch.save(content, tmp_path / "run.pth")
    check_same(read_state_dict(tmp_path / "run.pth"), wan())


def test_a_file_whose_name_has_a_colon_is_itself(tmp_path: Path) -> None:
    torch.save(wan(), tmp_path / "run:ema.pth")
    check_same(read_state_dict(tmp_path / "run:ema.pth"), wan())
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read_state_dict(tmp_path / "none.pth:ema")


def test_conversion_and_checkpoints_take_the_one_that_is_named(tmp_path: Path, golden: Path) -> None:
    whole = to_original(read_state_dict(golden / "wan" / "base" / "transformer"))
    twice = {name: tensor.float() * 2 for name, tensor in whole.items()}
    torch.save({"model": whole, "ema": twice}, tmp_path / "run.pth")
    path = Path(f"{tmp_path / 'run.pth'}:ema")
    convert(Conversion(path, tmp_path / "out.safetensors"))
    check_same(load_file(tmp_path / "out.safetensors"), twice)
    opened = open_checkpoint(path)
    assert opened.label == "run.pth:ema"
    assert all(torch.equal(entry.read(), twice[name]) for name, entry in opened.denoiser.items())
    assert checkpoint_files([path, golden]) == [tmp_path / "run.pth", golden]


def test_a_part_of_a_file_of_one_is_told_to_be_left_out(tmp_path: Path) -> None:
    save_file(wan(1.0), tmp_path / "rem.safetensors")
    with pytest.raises(ValueError, match=r"^rem.safetensors holds one denoiser, and none called ema: leave :ema out"):
        read_state_dict(f"{tmp_path}/rem.safetensors:ema")
