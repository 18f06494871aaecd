"""The `paper` protocol on ModelScope computes what the authors' code computes, to the limits of float32 on a CPU."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from golden_masks import Run, assert_binary_masks, assert_soft_masks, run_case

pytestmark = pytest.mark.slow

LIMIT = 3e-4
CLEAN_LIMIT = 1e-4
MASK_LIMIT_FLOAT16 = 2e-3  # where only the float16 file has the masks
FLIPPED_PIXELS = 20


@pytest.fixture(scope="module")
def modelscope_case(request: pytest.FixtureRequest, golden: Path) -> Run:
    return run_case(golden, golden / "modelscope" / "base", golden / "modelscope" / "rem_ms.pth", request.param)


def in_one_piece(run: Run) -> bool:
    return len(run.expected["chunks"]) == 1


def frames_of(video: torch.Tensor) -> torch.Tensor:
    """[1,C,T,h,w] as the cases have it: [T,C,h,w]."""
    return video[0].transpose(0, 1)


def test_windows_are_the_authors(modelscope_case: Run) -> None:
    windows = modelscope_case.segmenter.windows(modelscope_case.expected["n_frames"])
    assert [[window.start, window.stop - 1] for window in windows] == modelscope_case.expected["chunks"]
    assert all(window.keep == window.start for window in windows)


def test_prompt_embeddings_are_the_authors(modelscope_case: Run) -> None:
    for i, embeds in enumerate(modelscope_case.embeds):
        expected = modelscope_case.tensors[f"prompt_embeds_{i}"]
        torch.testing.assert_close(embeds[None], expected, atol=CLEAN_LIMIT, rtol=0)


def test_every_window_of_every_prompt_has_the_authors_noise(modelscope_case: Run) -> None:
    drawn = {_digest(frames_of(noise)) for noise in modelscope_case.noise}
    assert drawn == {digest for prompt in modelscope_case.expected["prompts"] for digest in prompt["noise_sha256"]}


def _digest(noise: torch.Tensor) -> str:
    return hashlib.sha256(noise.contiguous().numpy().tobytes()).hexdigest()


def test_latents_are_the_authors(modelscope_case: Run) -> None:
    if not in_one_piece(modelscope_case) or "img_latents" not in modelscope_case.tensors:
        pytest.skip("the case does not keep the latents of every window")
    tensors = modelscope_case.tensors
    torch.testing.assert_close(frames_of(modelscope_case.latents[0]), tensors["img_latents"], atol=CLEAN_LIMIT, rtol=0)
    for i in range(len(modelscope_case.expected["prompts"])):
        predicted = frames_of(modelscope_case.predicted[0][i : i + 1])
        torch.testing.assert_close(predicted, tensors[f"pred_latents_{i}"], atol=LIMIT, rtol=0)


def test_recorded_noise_can_be_given(modelscope_case: Run) -> None:
    if not in_one_piece(modelscope_case) or "noise_0" not in modelscope_case.tensors:
        pytest.skip("the case does not keep the noise of every window")
    tensors, backbone = modelscope_case.tensors, modelscope_case.segmenter.backbone
    video = {name: tensors[name].transpose(0, 1)[None] for name in ("img_latents", "noise_1")}
    predicted = backbone.predict_mask_latents(video["img_latents"], tensors["prompt_embeds_1"], video["noise_1"])
    torch.testing.assert_close(frames_of(predicted), tensors["pred_latents_1"], atol=LIMIT, rtol=0)


def test_soft_masks_are_the_authors(modelscope_case: Run) -> None:
    assert_soft_masks(modelscope_case, LIMIT, MASK_LIMIT_FLOAT16)


def test_binary_masks_are_the_authors(modelscope_case: Run) -> None:
    assert_binary_masks(modelscope_case, FLIPPED_PIXELS)
