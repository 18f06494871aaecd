"""The `paper` protocol computes what the authors' code computes, to the limits of float32 on a CPU."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_masks import assert_binary_masks, assert_soft_masks
from PIL import Image
from safetensors.torch import load_file

from rem_engine import Result, Segmenter, load_segmenter

LATENT_LIMIT = 2e-4
MASK_LIMIT = 2e-4
MASK_LIMIT_FLOAT16 = 6e-4  # where only the float16 file has the masks
FLIPPED_PIXELS = 20


@dataclass(frozen=True)
class Run:
    segmenter: Segmenter
    expected: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    folder: Path
    embeds: torch.Tensor
    latents: list[torch.Tensor]
    predicted: list[torch.Tensor]
    result: Result


@pytest.fixture(scope="module")
def wan_case(request: pytest.FixtureRequest, golden: Path) -> Run:
    """One run of a case through the public API, with what passed between the backbone's parts."""
    folder: Path = request.param
    expected = json.loads((folder / "case.json").read_text())
    segmenter = load_segmenter(
        golden / "wan" / "base",
        checkpoint=golden / "wan" / "rem_wan.pth",
        protocol="paper",
        size=tuple(expected["model_size"]),
        window=expected["num_frames_arg"],
        device="cpu",
    )
    latents = _record(segmenter.backbone, "encode_video")
    predicted = _record(segmenter.backbone, "predict_mask_latents")
    files = sorted((golden / "clip" / "frames").glob("*.png"))[: expected["n_frames"]]
    frames = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    prompts = [entry["prompt"] for entry in expected["prompts"]]
    result = segmenter.segment(frames, prompts)
    tensors = load_file(folder / "tensors.safetensors")
    return Run(segmenter, expected, tensors, folder, segmenter.encode_prompts(prompts), latents, predicted, result)


def _record(backbone: Any, method: str) -> list[torch.Tensor]:
    outputs: list[torch.Tensor] = []
    call = getattr(backbone, method)

    def recorded(*args: torch.Tensor) -> torch.Tensor:
        outputs.append(call(*args))
        return outputs[-1]

    setattr(backbone, method, recorded)
    return outputs


def test_windows_are_the_authors(wan_case: Run) -> None:
    windows = wan_case.segmenter.windows(wan_case.expected["n_frames"])
    cut = [{"frame_ids": [w.start, w.stop - 1], "kept_last": w.stop - w.keep} for w in windows]
    assert cut == wan_case.expected["windows"]
    assert {w.length for w in windows} == {wan_case.expected["window_length"]}


def test_prompt_embeddings_are_the_authors(wan_case: Run) -> None:
    for i, prompt in enumerate(wan_case.expected["prompts"]):
        embeds, count = wan_case.embeds[i], prompt["prompt_token_count"]
        if f"prompt_embeds_{i}" in wan_case.tensors:
            torch.testing.assert_close(embeds[None], wan_case.tensors[f"prompt_embeds_{i}"], atol=LATENT_LIMIT, rtol=0)
        if f"prompt_tokens_{i}" in wan_case.tensors:
            tokens = wan_case.tensors[f"prompt_tokens_{i}"]
            torch.testing.assert_close(embeds[:count], tokens, atol=LATENT_LIMIT, rtol=0)
        assert embeds.shape == (77, 4096)
        assert not embeds[count:].any()


def test_latents_are_the_authors(wan_case: Run) -> None:
    if len(wan_case.expected["windows"]) > 1 or "img_latents" not in wan_case.tensors:
        pytest.skip("the case does not keep the latents of every window")
    torch.testing.assert_close(wan_case.latents[0], wan_case.tensors["img_latents"], atol=LATENT_LIMIT, rtol=0)
    for i in range(len(wan_case.expected["prompts"])):
        predicted = wan_case.predicted[0][i : i + 1]
        torch.testing.assert_close(predicted, wan_case.tensors[f"pred_latents_{i}"], atol=LATENT_LIMIT, rtol=0)


def test_soft_masks_are_the_authors(wan_case: Run) -> None:
    assert_soft_masks(wan_case, MASK_LIMIT, MASK_LIMIT_FLOAT16)


def test_binary_masks_are_the_authors(wan_case: Run) -> None:
    assert_binary_masks(wan_case, FLIPPED_PIXELS)
