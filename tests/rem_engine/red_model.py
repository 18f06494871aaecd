"""A stand-in for a model, a shot for it, and the command line run on both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from rem_engine import Segmenter
from rem_engine.backbones.base import WAN, TextsOneByOne
from rem_engine.commands.cli import main
from rem_engine.media import open_shot

FRAMES, HEIGHT, WIDTH = 14, 33, 47
PROMPTS = ("the red thing", "the smoke")


class RedBackbone(TextsOneByOne):
    """Stands in for a model: a mask is the red of the frame, shifted by the window's mean (so that windows and their
    cross-fades matter) and by the prompt's length."""

    name = "red"
    default_size = (32, 48)
    default_window = 5
    default_overlap = 2
    streamed = None
    family = replace(WAN, paper_windows=(9, 5))

    def encode_video(self, frames: Tensor) -> Tensor:
        return 1.3 * (frames[None].transpose(1, 2) + 1) / 2 + 0.2 * frames.mean()

    def encode_text(self, prompt: str) -> Tensor:
        embeds = torch.zeros(77, 4096)
        embeds[0, 0] = len(prompt) / 100
        return embeds

    def prompts_per_pass(self, latents: Tensor) -> int:
        return 4

    def draw_noise(self, latents: Tensor, seed: int) -> None:
        return None

    def predict_mask_latents(self, latents: Tensor, prompt_embeds: Tensor, noise: None = None) -> Tensor:
        return latents + prompt_embeds[:, 0, 0].view(-1, 1, 1, 1, 1)

    def decode_masks(self, mask_latents: Tensor) -> Tensor:
        return mask_latents[0, :1].transpose(0, 1).repeat(1, 3, 1, 1)


def segment(shot: Path, out: Path, *options: str) -> int:
    prompts = [argument for prompt in PROMPTS for argument in ("-p", prompt)]
    return main(["segment", str(shot), *prompts, "-o", str(out), *options])


def expected_soft(shot: Path) -> np.ndarray:
    """[P,T,H,W] from the engine itself, without files."""
    with open_shot(shot) as frames:
        return Segmenter(RedBackbone()).segment(frames, PROMPTS).soft.numpy()


def files_of(out: Path) -> dict[str, bytes]:
    return {str(file.relative_to(out)): file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()}


def pictures_of(out: Path) -> dict[str, bytes]:
    return {name: data for name, data in files_of(out).items() if name.endswith(".png")}


def read(file: Path) -> np.ndarray:
    return cv2.imread(str(file), cv2.IMREAD_UNCHANGED)


NEUTRAL = ("--black", "0", "--white", "1", "--refine", "0")
"""Matte options that leave the model's soft mask as it is."""


def deliver(shot: Path, out: Path, *options: str, prompts: tuple[str, ...] = ("smoke: the smoke",)) -> int:
    given = [argument for prompt in prompts for argument in ("-p", prompt)]
    return main(["segment", str(shot), *given, "-o", str(out), *options])


def check_refused(arguments: Sequence[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a command line that is wrong: exit code 2, and one line on standard error, with the sentence in it."""
    try:
        code = main(arguments)
    except SystemExit as stop:  # how argparse leaves
        code = stop.code
    captured = capsys.readouterr()
    assert code == 2 and captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("error: ") and sentence in captured.err
