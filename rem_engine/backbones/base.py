"""What the engine asks of a video-diffusion model, and the text rules every such model shares."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

TEXT_ROWS = 77
"""Rows of prompt embeddings the denoiser attends to, zero rows included (REM's released code)."""

TEXT_WIDTH = 4096
"""Width of Wan2.1's prompt embeddings (UMT5-XXL); narrower encoders are zero-padded to it."""

PAPER_WINDOWS = (73, 61, 49, 37, 25, 17, 9)
"""Window lengths of REM's Wan evaluation, longest first (REM's released code)."""


class Backbone(Protocol):
    """A video-diffusion model fine-tuned to predict the latents of a mask (REM, sec. 3.2).

    Attributes:
        name: for messages and run reports.
        default_size: (height, width) in pixels the weights were trained at.
        default_window: frames in a window of the `shot` protocol, of the form 4k+1.
        default_overlap: frames shared by neighbouring windows of the `shot` protocol.
        paper_windows: window lengths of the authors' evaluation, longest first.
        paper_tail: how that evaluation ends a shot: "whole", a last window of full length that looks back, or "short",
            one of the frames that are left.
        size_multiple: height and width given to `encode_video` are multiples of this.
    """

    name: str
    default_size: tuple[int, int]
    default_window: int
    default_overlap: int
    paper_windows: tuple[int, ...]
    paper_tail: Literal["whole", "short"]
    size_multiple: int

    def pad_frame_count(self, count: int) -> int:
        """Smallest frame count >= `count` that the VAE takes (4k+1 for Wan)."""

    def encode_video(self, frames: Tensor) -> Tensor:
        """Frames [T,3,H,W] in -1..1 -> normalised latents [1,C,t,h,w]; C is 16 for Wan, 4 for ModelScope."""

    def encode_text(self, prompt: str) -> Tensor:
        """Prompt -> float32 embeddings [77,D], of the width D that the denoiser reads.

        Raises:
            ValueError: the prompt is empty.
        """

    def prompts_per_pass(self, latents: Tensor) -> int:
        """How many prompts `predict_mask_latents` can take at once for latents [1,C,t,h,w], at least 1.

        An estimate from the memory that is free now; a pass that fails for memory is tried again with half as many.
        """

    def draw_noise(self, latents: Tensor, seed: int) -> Tensor | None:
        """Noise of the shape of latents [1,C,t,h,w], the same for the same seed; None where clean latents are taken."""

    def predict_mask_latents(self, latents: Tensor, prompt_embeds: Tensor, noise: Tensor | None = None) -> Tensor:
        """Latents [1,C,t,h,w] and prompts [P,77,D] -> mask latents [P,C,t,h,w], normalised.

        Args:
            latents: clean ones, from `encode_video`.
            prompt_embeds: from `encode_text`.
            noise: from `draw_noise`, for each prompt [P,C,t,h,w] or for all of them [1,C,t,h,w].
        """

    def decode_masks(self, mask_latents: Tensor) -> Tensor:
        """Normalised mask latents [1,C,t,h,w] -> [T,3,H,W], as the VAE gives them: Wan's clamps to -1..1.

        A mask is encoded as 0 and 1, not -1 and 1, so the values of interest lie in 0..1.
        """


def words_from(prompt: str, start: int) -> str:
    """The end of a prompt from character `start` on, with the whole of a word that this lies within."""
    while start > 0 and not prompt[start].isspace() and not prompt[start - 1].isspace():
        start -= 1
    return prompt[start:].strip()


def fit_text_rows(rows: Tensor, width: int = TEXT_WIDTH) -> Tensor:
    """Rows [n,d] of a text encoder -> float32 [77,width]: cut after 77 rows, zero-padded in rows and width.

    The denoiser's cross-attention has no mask, so the number of zero rows is part of the model.

    Raises:
        ValueError: the encoder is wider.
    """
    rows = rows[:TEXT_ROWS].float()
    if rows.shape[1] > width:
        raise ValueError(
            f"The text encoder gives rows of width {rows.shape[1]}; at most {width} are expected: "
            "use the UMT5 encoder that belongs to the model."
        )
    padded = rows.new_zeros(TEXT_ROWS, width)
    padded[: rows.shape[0], : rows.shape[1]] = rows
    return padded


def warn_cut_prompt(token_count: int, cut_text: str) -> None:
    """Warn that a prompt of `token_count` tokens loses `cut_text`, the words past the 77th token."""
    warnings.warn(
        f"The prompt has {token_count} tokens and the model reads {TEXT_ROWS}; "
        f"these words at its end were cut: {cut_text!r}.",
        stacklevel=3,
    )
