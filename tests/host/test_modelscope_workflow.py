"""`segment_with_modelscope` in a running ComfyUI, with small weights under the names of the large ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comfy_hosts import PACK
from comfy_server import ComfyServer, Graph, message
from safetensors.torch import save_file
from small_video import FRAMES, disc_video, write_lossless
from test_served import TEMPLATES
from test_server import api_workflow, assert_same_masks, levels

from rem_engine.checkpoints import read_state_dict
from rem_engine.commands.cli import main as command_line
from rem_engine.models import known_model

NAME = "segment_with_modelscope"
SIZE = (64, 128)
WINDOW = 5
SEED = 7
PROMPT = "smoke rising from the table"
BASE = known_model("modelscope-1.7b-diffusers")


def test_the_note_names_what_models_get_downloads() -> None:
    graph = json.loads((PACK / "example_workflows" / f"{TEMPLATES[NAME]}.json").read_text(encoding="utf-8"))
    (note,) = [node["widgets_values"][0] for node in graph["nodes"] if node["type"] == "MarkdownNote"]
    (checkpoint,) = [node["widgets_values"][0] for node in graph["nodes"] if node["type"] == "LoadREM"]
    for name in (BASE.local_name(), BASE.name, BASE.folder, "rem-modelscope", checkpoint):
        assert f"`{name}`" in note


def twin() -> Graph:
    """The API twin at the size of the test, saving its soft mask."""
    graph = api_workflow(NAME)
    graph["3"]["inputs"]["text"] = PROMPT
    graph["4"]["inputs"] |= {"height": SIZE[0], "width": SIZE[1], "window": WINDOW, "overlap": 2, "seed": SEED}
    graph["100"] = {"class_type": "MaskToImage", "inputs": {"mask": ["4", 0]}}
    graph["101"] = {"class_type": "SaveImage", "inputs": {"images": ["100", 0], "filename_prefix": "modelscope"}}
    return graph


@pytest.fixture(scope="module")
def command_line_soft(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Soft masks [T,H,W] of the same frames and prompt from the command line."""
    folder = tmp_path_factory.mktemp("modelscope")
    write_lossless(folder / "shot.mp4", disc_video())
    base, rem = golden / "modelscope" / "base", golden / "modelscope" / "rem_ms.pth"
    options = [
        "--model", base, "--checkpoint", rem, "--size", "64x128", "--window", WINDOW, "--overlap", 2, "--seed", SEED,
        "--write", "npz", "--device", "cpu",
    ]  # fmt: skip
    command = ["segment", folder / "shot.mp4", "-p", PROMPT, "-o", folder / "out", *options]
    assert command_line([str(argument) for argument in command]) == 0
    run = json.loads((folder / "out" / "run.json").read_text(encoding="utf-8"))
    with np.load(folder / "out" / run["prompts"][0]["folder"] / "soft.npz") as arrays:
        return arrays["soft"]


@pytest.fixture(scope="module")
def ready(comfy: ComfyServer, golden: Path) -> ComfyServer:
    """A ComfyUI with the files that the twin names."""
    models, graph = comfy.base / "models", twin()
    (models / "diffusers").mkdir(exist_ok=True)
    (models / "diffusers" / BASE.local_name()).symlink_to(golden / "modelscope" / "base", target_is_directory=True)
    checkpoint = read_state_dict(golden / "modelscope" / "rem_ms.pth")
    save_file(
        {name: weight.contiguous() for name, weight in checkpoint.items()},
        models / "rem" / graph["2"]["inputs"]["checkpoint"],
    )
    write_lossless(comfy.base / "input" / graph["1"]["inputs"]["file"], disc_video())
    return comfy


@pytest.fixture(scope="module")
def entry(ready: ComfyServer) -> dict[str, Any]:
    """The twin, run once in each ComfyUI."""
    return ended_well(ready)


def ended_well(server: ComfyServer) -> dict[str, Any]:
    ended = server.run(twin())
    assert ended["status"]["status_str"] == "success", ended["status"]
    assert len(server.saved(ended, "8")) == FRAMES
    return ended


def test_the_api_twin_gives_the_command_lines_masks(
    ready: ComfyServer, entry: dict[str, Any], command_line_soft: np.ndarray
) -> None:
    assert command_line_soft.std() > 0.01  # a mask of one level would compare equal to anything near
    # SaveImage cuts the fraction off.
    expected = (command_line_soft.clip(0.0, 1.0) * 255.0).astype(np.uint8)
    assert_same_masks(levels(ready.saved(entry, "101")), expected)


def test_a_run_cancelled_half_way_leaves_the_server_usable(ready: ComfyServer, entry: dict[str, Any]) -> None:
    graph = twin()
    graph["3"]["inputs"]["text"] = "\n".join(f"thing number {number}" for number in range(12))
    prompt_id = ready.wait_for_progress(graph, node="4", share=0.3)
    ready.post("/interrupt")
    interrupted = message(ready.wait(prompt_id), "execution_interrupted")
    assert interrupted is not None and interrupted["node_type"] == "SegmentVideo"
    ready.post("/free", {"unload_models": True, "free_memory": True})
    assert_same_masks(levels(ready.saved(ended_well(ready), "101")), levels(ready.saved(entry, "101")))
