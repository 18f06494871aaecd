"""The `paper` protocol at lengths that force several windows, a tail, or padding.

The reference below is written from the authors' evaluation, prompt by prompt and window by window, with diffusers and
PIL alone; it shares no code with the engine.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from rem_engine import load_segmenter

PROMPTS = ("the red square moving right", "smoke rising from the table")
LENGTHS = (73, 61, 49, 37, 25, 17, 9)
LIMIT = 2e-4
FLIPPED_PIXELS = 20


@dataclass
class Authors:
    """The released evaluation on Wan2.1, in float32."""

    transformer: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any

    def masks(
        self, files: list[Path], prompt: str, size: tuple[int, int], asked: int
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Soft masks [T,H,W] and the predicted latents of every window."""
        count = len(files)
        length = next((n for n in (asked, *(n for n in LENGTHS if n < asked)) if n <= count), None)
        if length is None:  # the authors' code fails; ours repeats the last frame
            files = files + [files[-1]] * (-(count - 1) % 4)
            spans = [(0, len(files), count)]
        else:
            spans = [(start, start + length, length) for start in range(0, count - length + 1, length)]
            if count % length:
                spans.append((count - length, count, count % length))
        soft, latents = [], []
        for start, stop, kept in spans:
            window, predicted = self._window(files[start:stop], prompt, size)
            latents.append(predicted)
            soft.append(window[:kept] if length is None else window[-kept:])
        return torch.cat(soft), latents

    @torch.no_grad()
    def _window(self, files: list[Path], prompt: str, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        pictures = [Image.open(file).convert("RGB") for file in files]
        resized = [picture.resize((size[1], size[0]), Image.BILINEAR) for picture in pictures]
        pixels = torch.stack([torch.from_numpy(np.array(picture)).float() / 255.0 for picture in resized])
        pixels = ((pixels - 0.5) / 0.5).permute(3, 0, 1, 2)[None]
        mean = torch.tensor(self.vae.config.latents_mean).view(1, 16, 1, 1, 1)
        std = torch.tensor(self.vae.config.latents_std).view(1, 16, 1, 1, 1)
        clean = (self.vae.encode(pixels).latent_dist.mode() - mean) / std
        predicted = self.transformer(
            hidden_states=clean,
            timestep=torch.tensor([0.0]),
            encoder_hidden_states=self._text(prompt),
            return_dict=False,
        )[0]
        decoded = self.vae.decode(predicted * std + mean, return_dict=False)[0].clamp(-1.0, 1.0)
        frames = decoded[0].permute(1, 0, 2, 3)
        frame_size = (pictures[0].height, pictures[0].width)
        return F.interpolate(frames, size=frame_size, mode="bilinear", align_corners=False).mean(dim=1), predicted

    def _text(self, prompt: str) -> torch.Tensor:
        tokens = self.tokenizer(
            [prompt],
            padding="max_length",
            max_length=512,
            truncation=True,
            add_special_tokens=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        rows = self.text_encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        rows = rows[0, : int(tokens.attention_mask.sum())]
        return torch.cat([rows, rows.new_zeros(77 - len(rows), rows.shape[1])])[None]


@pytest.fixture(scope="module")
def authors(golden: Path) -> Authors:
    from diffusers import AutoencoderKLWan, WanTransformer3DModel
    from transformers import AutoTokenizer, UMT5EncoderModel

    base = golden / "wan" / "base"
    with torch.serialization.safe_globals([argparse.Namespace, *_numpy_globals()]):
        state = torch.load(golden / "wan" / "rem_wan.pth", map_location="cpu", weights_only=True)["model_state"]

    def part(model_class: Any, folder: str, prefix: str) -> Any:
        model = model_class.from_pretrained(base / folder, torch_dtype=torch.float32)
        weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        model.load_state_dict({name: value.float() for name, value in weights.items()}, strict=True)
        return model.float().eval()

    return Authors(
        part(WanTransformer3DModel, "transformer", "backbone.dit."),
        part(AutoencoderKLWan, "vae", "backbone.vae."),
        UMT5EncoderModel.from_pretrained(base / "text_encoder", torch_dtype=torch.float32).float().eval(),
        AutoTokenizer.from_pretrained(base / "tokenizer"),
    )


def _numpy_globals() -> list[Any]:
    scalar = np._core.multiarray.scalar
    return [
        np.dtype,
        (scalar, "numpy._core.multiarray.scalar"),
        (scalar, "numpy.core.multiarray.scalar"),
        type(np.dtype(np.float64)),
    ]


@pytest.fixture(scope="module")
def forms(golden: Path, authors: Authors, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The weights as published, over the base; and in a diffusers folder of their own."""
    folder = tmp_path_factory.mktemp("rem_wan")
    authors.transformer.save_pretrained(folder / "transformer")
    authors.vae.save_pretrained(folder / "vae")
    base = golden / "wan" / "base"
    for part in ("text_encoder", "tokenizer"):
        (folder / part).symlink_to((base / part).resolve(), target_is_directory=True)
    return {
        "checkpoint": {"model": base, "checkpoint": golden / "wan" / "rem_wan.pth"},
        "folder": {"model": folder},
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "count", "window", "size"),
    [
        ("checkpoint", 10, 9, (32, 48)),
        ("checkpoint", 13, 9, (32, 32)),
        ("checkpoint", 21, 9, (32, 32)),
        ("checkpoint", 30, None, (32, 32)),
        ("checkpoint", 8, None, (32, 32)),
        ("checkpoint", 1, None, (64, 64)),
        ("folder", 12, 9, (32, 32)),
    ],
)
def test_masks_are_the_authors_at_any_length(
    golden: Path,
    authors: Authors,
    forms: dict[str, Any],
    form: str,
    count: int,
    window: int | None,
    size: tuple[int, int],
) -> None:
    files = sorted((golden / "clip" / "frames").glob("*.png"))[:count]
    segmenter = load_segmenter(**forms[form], protocol="paper", size=size, window=window, device="cpu")
    predicted: list[torch.Tensor] = []
    predict = segmenter.backbone.predict_mask_latents
    segmenter.backbone.predict_mask_latents = lambda *given: predicted.append(predict(*given)) or predicted[-1]
    frames = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    result = segmenter.segment(frames, PROMPTS)
    for index, prompt in enumerate(PROMPTS):
        soft, latents = authors.masks(files, prompt, size, window or LENGTHS[0])
        assert len(latents) == len(predicted)
        for ours, theirs in zip(predicted, latents):
            torch.testing.assert_close(ours[index : index + 1], theirs, atol=LIMIT, rtol=0)
        torch.testing.assert_close(result.soft[index], soft, atol=LIMIT, rtol=0)
        assert int((result.masks()[index] != (soft > 0.5)).sum()) <= FLIPPED_PIXELS
