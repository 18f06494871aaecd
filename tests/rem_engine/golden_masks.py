"""Runs of golden cases, and their masks against those of the authors' code, whatever the backbone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from rem_engine import Result, Segmenter, load_segmenter


@dataclass(frozen=True)
class Run:
    """A case through the public API, and what passed between the backbone's parts."""

    segmenter: Segmenter
    expected: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    folder: Path
    embeds: torch.Tensor
    latents: list[torch.Tensor]
    noise: list[torch.Tensor | None]
    predicted: list[torch.Tensor]
    result: Result


def run_case(golden: Path, model: Path, checkpoint: Path, folder: Path) -> Run:
    """Run a case as its case.json says, in the paper protocol."""
    expected = json.loads((folder / "case.json").read_text())
    segmenter = load_segmenter(
        model,
        checkpoint=checkpoint,
        protocol="paper",
        size=tuple(expected["model_size"]),
        window=expected["num_frames_arg"],
        seed=expected["prompts"][0].get("noise_seeds", [0])[0],
        device="cpu",
    )
    passed = [_record(segmenter.backbone, name) for name in ("encode_video", "draw_noise", "predict_mask_latents")]
    files = sorted((golden / "clip" / "frames").glob("*.png"))[: expected["n_frames"]]
    frames = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    prompts = [entry["prompt"] for entry in expected["prompts"]]
    result = segmenter.segment(frames, prompts)
    tensors = load_file(folder / "tensors.safetensors")
    return Run(segmenter, expected, tensors, folder, segmenter.encode_prompts(prompts), *passed, result)


def _record(backbone: Any, method: str) -> list[Any]:
    outputs: list[Any] = []
    call = getattr(backbone, method)

    def recorded(*args: Any) -> Any:
        outputs.append(call(*args))
        return outputs[-1]

    setattr(backbone, method, recorded)
    return outputs


def assert_soft_masks(run: Run, limit: float, limit_float16: float) -> None:
    """Soft masks of a recorded `Run`: float32 where the case keeps it, and the float16 file."""
    with np.load(run.folder / "mask_continuous.npz") as file:
        halves = dict(file)
    for i in range(len(run.expected["prompts"])):
        soft, exact = run.result.soft[i], run.tensors.get(f"mask_continuous_{i}")
        if exact is not None:
            torch.testing.assert_close(soft, exact, atol=limit, rtol=0)
        half = next(value for name, value in halves.items() if name.endswith(str(i)))
        torch.testing.assert_close(soft, torch.from_numpy(half).float(), atol=limit_float16, rtol=0)


def assert_binary_masks(run: Run, flipped_pixels: int) -> None:
    """Binary masks of a recorded `Run`: at most so many pixels of a prompt differ."""
    masks = run.result.masks().numpy()
    for i in range(len(run.expected["prompts"])):
        files = sorted((run.folder / "masks" / f"prompt_{i}").glob("*.png"))
        assert len(files) == run.expected["n_frames"]
        expected = np.stack([np.asarray(Image.open(file)) for file in files]) == 1
        assert (masks[i] != expected).sum() <= flipped_pixels
