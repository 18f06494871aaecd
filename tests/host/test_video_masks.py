"""A VIDEO into Segment Video, against the command line on the same file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from comfy_server import ComfyServer
from small_video import SIZE, disc_video, write_lossless
from test_server import assert_same_masks, levels, short_graph

from rem_engine.commands.cli import main as command_line

PROMPT = "the red disc"


def test_a_video_into_segment_video_gives_the_command_lines_masks(comfy: ComfyServer, tmp_path: Path) -> None:
    frames, name = disc_video(), "masks.mp4"
    write_lossless(comfy.base / "input" / name, frames)
    graph = short_graph()
    graph["1"] = {"class_type": "LoadVideo", "inputs": {"file": name}}
    graph["3"]["inputs"]["text"] = PROMPT
    graph["4"]["inputs"] |= {"image": ["1", 0], "prompt": 1}
    for node in ("5", "6", "7", "8"):
        del graph[node]
    found = levels(comfy.saved(comfy.run(graph), "101"))

    out = tmp_path / "out"
    shot = str(comfy.base / "input" / name)
    assert command_line(["segment", shot, "-p", PROMPT, "-o", str(out), "--device", "cpu", "--write", "npz"]) == 0
    (prompt,) = json.loads((out / "run.json").read_text(encoding="utf-8"))["prompts"]
    with np.load(out / prompt["folder"] / "soft.npz") as arrays:
        soft = arrays["soft"]
    assert soft.shape == (len(frames), *SIZE) and soft.std() > 0.1
    assert_same_masks(found, (soft.clip(0.0, 1.0) * 255.0).astype(np.uint8))
