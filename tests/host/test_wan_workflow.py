"""`segment_with_wan_14b` in a running ComfyUI, with small weights under the names of the large ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from comfy_server import ComfyServer, Graph
from safetensors.torch import save_file
from small_video import FRAMES, SIZE, disc_video, write_lossless
from test_served import template_file
from test_server import MINI, api_workflow, assert_same_masks, levels, reads_the_width_of_a_vae

from rem_engine import load_segmenter
from rem_engine.checkpoints import read_state_dict, to_original
from rem_engine.models import CATALOGUE

NAME = "segment_with_wan_14b"
PROMPT = "the smoke"
LOADERS = {"11": "CLIPLoader", "12": "VAELoader"}
HASHES = {  # published with the host's own templates
    "umt5-xxl-fp8": "c3355d30191f1f066b26d93fba017ae9809dce6c627dda5f6a66eaa651204f68",
    "wan2.1-vae": "2fc39d31359a4b0a64f55876d8ff7fa8d780956ae2cb13463b0223e15148976b",
}


def test_the_loaders_name_files_that_models_get_downloads() -> None:
    """So that the front-end's list of missing models offers them, and the note's commands bring them."""
    graph = json.loads(template_file(NAME).read_text(encoding="utf-8"))
    known = {model.local_name(): model for model in CATALOGUE if model.file}
    nodes = {str(node["id"]): node for node in graph["nodes"]}
    (note,) = [node["widgets_values"][0] for node in graph["nodes"] if node["type"] == "MarkdownNote"]
    for key, loader in LOADERS.items():
        node = nodes[key]
        assert node["type"] == loader
        (offered,) = node["properties"]["models"]
        model = known[node["widgets_values"][0]]
        assert offered == {
            "name": model.local_name(),
            "url": f"{model.url}/resolve/main/{model.file}",
            "directory": model.folder,
            "hash": HASHES[model.name],
            "hash_type": "SHA256",
        }
        assert f"`{model.local_name()}`" in note and f"`{model.name}`" in note and f"`{model.folder}`" in note
    assert nodes["2"]["widgets_values"][0] in note


@pytest.fixture(scope="module")
def expected(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Soft masks [T,H,W] of the engine without a host: the golden denoiser and VAE, REM-mini's text encoder, since Load
    CLIP takes the full UMT5-XXL only."""
    folder = tmp_path_factory.mktemp("wan")
    for part, source in (("transformer", golden / "wan" / "base"), ("vae", golden / "wan" / "base"),
                         ("text_encoder", MINI), ("tokenizer", MINI)):  # fmt: skip
        (folder / part).symlink_to(source / part)
    segmenter = load_segmenter(
        folder, checkpoint=golden / "wan" / "rem_wan.pth", size=SIZE, device="cpu", dtype="float32"
    )
    return segmenter.segment(disc_video(), [PROMPT]).soft[0].numpy()


def small_twin(comfy: ComfyServer) -> Graph:
    """The API twin at the size of the test, with REM-mini's text encoder, saving its soft mask."""
    graph = api_workflow(NAME)
    assert {key: graph[key]["class_type"] for key in LOADERS} == LOADERS
    graph["4"]["inputs"] |= {"height": SIZE[0], "width": SIZE[1]}
    graph["11"] = {"class_type": "LoadREM", "inputs": {"checkpoint": "REM-mini (bundled)"}}
    graph["2"]["inputs"]["clip"] = ["11", 1]
    if not reads_the_width_of_a_vae(comfy.host):  # Load VAE takes full-width VAEs only: the checkpoint's own instead
        del graph["2"]["inputs"]["vae"], graph["12"]
    graph["100"] = {"class_type": "MaskToImage", "inputs": {"mask": ["4", 0]}}
    graph["101"] = {"class_type": "SaveImage", "inputs": {"images": ["100", 0], "filename_prefix": "wan"}}
    return graph


def test_the_api_twin_gives_the_engines_masks(comfy: ComfyServer, golden: Path, expected: np.ndarray) -> None:
    models = comfy.base / "models"
    base = golden / "wan" / "base"
    graph = small_twin(comfy)
    weights = to_original(read_state_dict(base / "vae"))
    save_file({name: weight.contiguous() for name, weight in weights.items()}, models / "vae/wan_2.1_vae.safetensors")
    checkpoint = {name: weight.contiguous() for name, weight in read_state_dict(golden / "wan" / "rem_wan.pth").items()}
    save_file(checkpoint, models / "rem" / graph["2"]["inputs"]["checkpoint"])
    write_lossless(comfy.base / "input" / graph["1"]["inputs"]["file"], disc_video())

    ended = comfy.run(graph)
    assert ended["status"]["status_str"] == "success", ended["status"]
    assert expected.std() > 0.01  # a mask of one level would compare equal to anything near
    # SaveImage cuts the fraction off.
    assert_same_masks(levels(comfy.saved(ended, "101")), (expected.clip(0.0, 1.0) * 255.0).astype(np.uint8))
    assert len(comfy.saved(ended, "8")) == FRAMES
