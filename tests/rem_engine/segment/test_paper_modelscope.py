"""The `paper` protocol on ModelScope at lengths that force several pieces and a short last one.

The reference below is written from the authors' evaluation, prompt by prompt and piece by piece, with diffusers and PIL
alone; it shares no code with the engine.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from rem_engine import load_segmenter
from rem_engine.commands.cli import main

PROMPTS = ("the red square moving right", "smoke rising from the table")
LIMIT = 3e-4
FLIPPED_PIXELS = 20
TRAINING_STEPS, BETA_START, BETA_END = 1000, 0.00085, 0.012


@dataclass
class Authors:
    """The released evaluation on ModelScope, in float32."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any

    def masks(
        self, files: list[Path], prompt: str, size: tuple[int, int], length: int, seeds: Iterator[int]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Soft masks [T,H,W] and the predicted latents [t,4,h,w] of every piece."""
        pieces = [
            self._piece(files[start : start + length], prompt, size, next(seeds))
            for start in range(0, len(files), length)
        ]
        return torch.cat([soft for soft, _ in pieces]), [predicted for _, predicted in pieces]

    @torch.no_grad()
    def _piece(
        self, files: list[Path], prompt: str, size: tuple[int, int], seed: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        pictures = [Image.open(file).convert("RGB") for file in files]
        resized = [picture.resize((size[1], size[0]), Image.BILINEAR) for picture in pictures]
        pixels = torch.stack([torch.from_numpy(np.array(picture)).float() / 255.0 for picture in resized])
        pixels = ((pixels - 0.5) / 0.5).permute(0, 3, 1, 2)
        clean = self.vae.encode(pixels).latent_dist.mode() * 0.18215
        noise = torch.randn(clean.shape, generator=torch.Generator("cpu").manual_seed(seed))
        # The first step of the "scaled linear" schedule.
        kept = 1.0 - torch.linspace(BETA_START**0.5, BETA_END**0.5, TRAINING_STEPS)[0] ** 2
        noisy = kept.sqrt() * clean + (1.0 - kept).sqrt() * noise
        ids = self.tokenizer(
            prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        ).input_ids
        predicted = self.unet(
            noisy.permute(1, 0, 2, 3)[None], torch.tensor(0), encoder_hidden_states=self.text_encoder(ids)[0]
        ).sample[0].permute(1, 0, 2, 3)  # fmt: skip
        decoded = torch.cat([self.vae.decode(group / 0.18215).sample for group in predicted.split(16)])
        frame_size = (pictures[0].height, pictures[0].width)
        return F.interpolate(decoded, size=frame_size, mode="bilinear", align_corners=False).mean(dim=1), predicted


@pytest.fixture(scope="module")
def authors(golden: Path) -> Authors:
    from diffusers import AutoencoderKL, UNet3DConditionModel
    from transformers import AutoTokenizer, CLIPTextModel

    base = golden / "modelscope" / "base"
    with torch.serialization.safe_globals([argparse.Namespace]):
        state = torch.load(golden / "modelscope" / "rem_ms.pth", map_location="cpu", weights_only=True)["unet"]
    unet = UNet3DConditionModel.from_pretrained(base / "unet", torch_dtype=torch.float32)
    unet.load_state_dict(state, strict=True)
    vae = AutoencoderKL.from_pretrained(base / "vae", torch_dtype=torch.float32)
    text_encoder = CLIPTextModel.from_pretrained(base / "text_encoder", torch_dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(base / "tokenizer", pad_token="!")
    return Authors(unet.eval(), vae.eval(), text_encoder.eval(), tokenizer)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "window", "size"),
    [
        (7, 3, (64, 128)),  # pieces of 3, 3 and 1
        (6, 3, (128, 64)),
        (5, None, (64, 64)),  # shorter than the 72 of the authors
        (1, None, (128, 64)),
        pytest.param(73, None, (64, 128), marks=pytest.mark.thorough),  # one more than the 72
        pytest.param(80, None, (64, 128), marks=pytest.mark.thorough),
        pytest.param(65, 64, (64, 128), marks=pytest.mark.thorough),  # as the authors on BURST
        (33, 32, (128, 64)),  # as on VSPW
    ],
)
def test_masks_are_the_authors_at_any_length(
    golden: Path, authors: Authors, count: int, window: int | None, size: tuple[int, int]
) -> None:
    clip = sorted((golden / "clip" / "frames").glob("*.png"))
    files = [clip[number % len(clip)] for number in range(count)]
    segmenter = load_segmenter(
        golden / "modelscope" / "base",
        checkpoint=golden / "modelscope" / "rem_ms.pth",
        protocol="paper",
        size=size,
        window=window,
        seed=100,
        device="cpu",
    )
    predicted: list[torch.Tensor] = []
    predict = segmenter.backbone.predict_mask_latents
    segmenter.backbone.predict_mask_latents = lambda *given: predicted.append(predict(*given)) or predicted[-1]
    frames = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    result = segmenter.segment(frames, PROMPTS)
    seeds = itertools.count(100)
    for index, prompt in enumerate(PROMPTS):
        soft, latents = authors.masks(files, prompt, size, window or 72, seeds)
        assert len(latents) == len(predicted)
        for ours, theirs in zip(predicted, latents):
            torch.testing.assert_close(ours[index].transpose(0, 1), theirs, atol=LIMIT, rtol=0)
        torch.testing.assert_close(result.soft[index], soft, atol=LIMIT, rtol=0)
        assert int((result.masks()[index] != (soft > 0.5)).sum()) <= FLIPPED_PIXELS


def test_the_command_line_takes_the_seed(golden: Path, authors: Authors, tmp_path: Path) -> None:
    files = sorted((golden / "clip" / "frames").glob("*.png"))[:3]
    (tmp_path / "shot").mkdir()
    for file in files:
        (tmp_path / "shot" / file.name).symlink_to(file)
    base, rem = golden / "modelscope" / "base", golden / "modelscope" / "rem_ms.pth"
    options = ["--model", str(base), "--checkpoint", str(rem), "--protocol", "paper", "--size", "64x128", "--seed", "7"]
    prompts = [word for prompt in PROMPTS for word in ("-p", prompt)]
    out = tmp_path / "out"
    arguments = ["segment", str(tmp_path / "shot"), *prompts, "-o", str(out), *options, "--window", "2"]
    assert main([*arguments, "--write", "npz", "--device", "cpu"]) == 0
    report = json.loads((out / "run.json").read_text())
    assert (report["backbone"], report["settings"]["seed"]) == ("ModelScope", 7)
    seeds = itertools.count(7)
    for prompt, entry in zip(PROMPTS, report["prompts"]):
        soft, _ = authors.masks(files, prompt, (64, 128), 2, seeds)
        with np.load(out / entry["folder"] / "soft.npz") as file:
            torch.testing.assert_close(torch.from_numpy(file["soft"]), soft, atol=LIMIT, rtol=0)
