"""REM laid over a MODEL of stock loaders in a running ComfyUI: REM-mini as a difference to what it was made from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from comfy_hosts import PACK
from comfy_server import ComfyServer, Graph, Refused
from safetensors.torch import load_file, save_file
from test_server import assert_same_masks, levels, short_graph

from rem_engine.checkpoints import to_original

MINI = PACK / "rem_engine" / "mini"


def write_differences(models: Path) -> None:
    """The text-to-video model, and what REM-mini adds to it: half as a LoRA, but for modulation, which the stock loader
    does not apply, and the rest for LoadREM."""
    base, rem = (
        {name: value.float() for name, value in to_original(load_file(MINI / file)).items()}
        for file in ("t2v/rem_mini_t2v.safetensors", "transformer/rem_mini.safetensors")
    )
    half, rest = {}, {}
    for name, value in rem.items():
        delta = value - base[name]
        layer, _, kind = name.rpartition(".")
        if kind == "modulation":
            rest[f"diffusion_model.{name}.diff"] = delta
            continue
        key = f"diffusion_model.{layer}.{'diff' if kind == 'weight' else 'diff_b'}"
        half[key] = delta * 0.5
        rest[key] = delta * 0.5
    (models / "loras").mkdir(exist_ok=True)
    save_file(base, models / "diffusion_models" / "mini_t2v.safetensors")
    save_file(half, models / "loras" / "half.safetensors")
    save_file(rest, models / "rem" / "rest.safetensors")


def graph_over_a_model(strength: float) -> Graph:
    """UNETLoader -> LoraLoaderModelOnly -> LoadREM -> SegmentVideo."""
    graph = short_graph()
    graph["20"] = {
        "class_type": "UNETLoader",
        "inputs": {"unet_name": "mini_t2v.safetensors", "weight_dtype": "default"},
    }
    graph["21"] = {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"model": ["20", 0], "lora_name": "half.safetensors", "strength_model": 1.0},
    }
    graph["22"] = {
        "class_type": "LoadREM",
        "inputs": {
            "checkpoint": "rest.safetensors",
            "model": ["21", 0],
            "clip": ["2", 1],
            "vae": ["2", 2],
            "strength": strength,
        },
    }
    return graph


@pytest.fixture(scope="module")
def differences(comfy: ComfyServer) -> None:
    write_differences(comfy.base / "models")


def test_half_by_the_stock_lora_loader_and_half_by_load_rem_is_rem(comfy: ComfyServer, differences: None) -> None:
    graph = graph_over_a_model(1.0)
    graph["4"]["inputs"] |= {"model": ["22", 0]} | card_settings()
    graph["23"] = {
        "class_type": "SegmentVideo",
        "inputs": graph["4"]["inputs"] | {"model": ["2", 0]},
    }
    graph["24"] = {"class_type": "MaskToImage", "inputs": {"mask": ["23", 0]}}
    graph["25"] = {"class_type": "SaveImage", "inputs": {"images": ["24", 0], "filename_prefix": "expected"}}
    ended = comfy.run(graph)
    assert ended["status"]["status_str"] == "success", ended["status"]
    assert_same_masks(levels(comfy.saved(ended, "101")), levels(comfy.saved(ended, "25")))


def card_settings() -> dict[str, int]:
    """What a MODEL of the stock loader does not say about REM-mini."""
    card = json.loads((MINI / "rem.json").read_text(encoding="utf-8"))
    return {"height": card["size"][0], "width": card["size"][1], "window": card["window"], "overlap": card["overlap"]}


def test_a_strength_out_of_range_is_refused_before_anything_runs(comfy: ComfyServer, differences: None) -> None:
    graph = graph_over_a_model(1.5)
    graph["4"]["inputs"]["model"] = ["22", 0]
    with pytest.raises(Refused) as refused:
        comfy.submit(graph)
    (error,) = refused.value.answer["node_errors"]["22"]["errors"]
    assert error["type"] == "value_bigger_than_max"
