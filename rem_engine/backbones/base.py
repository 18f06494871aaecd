"""What the engine asks of a video-diffusion model, and the text rules every such model shares."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from threading import Lock
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

TEXT_ROWS = 77
"""Rows of prompt embeddings a denoiser attends to, zero rows included: REM's own, of every family (released code)."""

LARGEST_SIDE, LONGEST_WINDOW = 4096, 1001
"""Pixels and frames beyond which nothing was trained, and a frame or a clip takes gigabytes."""

Network: TypeAlias = Any
"""A module of diffusers or transformers, or a part of one: no checker can follow what these are made of, nor the
configurations they carry."""

Memory: TypeAlias = Literal["auto", "whole", "stream"]
"""Where weights are while a model runs: in memory, in their files, or wherever memory allows; see `load_backbone`."""

FamilyKey: TypeAlias = Literal["wan", "modelscope"]
"""How settings call a family."""


@dataclass(frozen=True)
class Family:
    """What the models of one architecture have in common, whatever their size and training.

    Attributes:
        key: for settings.
        name: for messages.
        denoiser: folder of the denoiser in a model folder of diffusers' layout; no other family has one of this name.
        gpu_dtype: what the authors evaluate in on a GPU.
        size_multiple: height and width given to the model are multiples of this.
        frames_per_latent: frames that a latent stands for; the first stands for one alone.
        pixels_per_latent: pixels along a side that a latent stands for.
        latent_channels: of the VAE.
        text_width: of prompt embeddings; narrower encoders of Wan's kind are zero-padded to it.
        paper_windows: window lengths of the authors' evaluation, longest first (REM's released code).
        paper_tail: how that evaluation ends a shot: "whole", a last window of full length that looks back, or "short",
            one of the frames that are left.
        default_size: (height, width) in pixels REM was trained at.
        default_window, default_overlap: frames in a window of the `shot` protocol, and shared by two of them.
    """

    key: FamilyKey
    name: str
    denoiser: str
    gpu_dtype: Literal["float32", "bfloat16"]
    size_multiple: int
    frames_per_latent: int
    pixels_per_latent: int
    latent_channels: int
    text_width: int
    paper_windows: tuple[int, ...]
    paper_tail: Literal["whole", "short"]
    default_size: tuple[int, int]
    default_window: int
    default_overlap: int

    @property
    def frame_counts(self) -> str:
        """The frame counts that the VAE takes, in words."""
        if self.frames_per_latent == 1:
            return "any number"
        return ", ".join(str(1 + latents * self.frames_per_latent) for latents in range(4)) + ", ..."

    def pad_frame_count(self, count: int) -> int:
        """Smallest frame count >= `count` that the VAE takes: 4k+1 for Wan, any for ModelScope."""
        return 1 + -(-(count - 1) // self.frames_per_latent) * self.frames_per_latent

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """[C,t,h,w] of the latents of frames [T,3,H,W], T as `pad_frame_count` gives it."""
        latent_frames = 1 + (frames - 1) // self.frames_per_latent
        return self.latent_channels, latent_frames, height // self.pixels_per_latent, width // self.pixels_per_latent


WAN = Family(
    key="wan",
    name="Wan2.1",
    denoiser="transformer",
    gpu_dtype="bfloat16",
    size_multiple=16,  # the VAE halves three times, and the transformer's patches are two latents wide
    frames_per_latent=4,
    pixels_per_latent=8,
    latent_channels=16,
    text_width=4096,
    paper_windows=(73, 61, 49, 37, 25, 17, 9),
    paper_tail="whole",
    default_size=(512, 512),
    default_window=73,
    default_overlap=8,
)
"""Wan2.1 text-to-video, which reads text by UMT5-XXL."""

MODELSCOPE = Family(
    key="modelscope",
    name="ModelScope",
    denoiser="unet",
    gpu_dtype="float32",
    size_multiple=64,  # the VAE halves three times, the UNet three times more
    frames_per_latent=1,
    pixels_per_latent=8,
    latent_channels=4,
    text_width=1024,
    paper_windows=(72,),
    paper_tail="short",
    default_size=(512, 512),
    default_window=24,
    default_overlap=8,
)
"""ModelScope's text-to-video-ms-1.7b, which reads text by CLIP ViT-H."""

FAMILIES: Mapping[FamilyKey, Family] = {family.key: family for family in (WAN, MODELSCOPE)}
"""All there are."""


class Streamed(Protocol):
    """A denoiser whose weights stay in their files, and which makes many passes for one reading of them."""

    @property
    def steps(self) -> int:
        """How often `predict` calls `done`."""

    def predict(self, latents: Iterable[Tensor], prompt_embeds: Tensor, done: Callable[[], None]) -> Iterable[Tensor]:
        """Latents [1,C,t,h,w] of windows, prompts [P,77,D] -> mask latents [P,C,t,h,w] of every window."""


class Backbone(Protocol):
    """A video-diffusion model fine-tuned to predict the latents of a mask (REM, sec. 3.2).

    Threads may call one at the same time; where its networks cannot do that, it has them wait (`OneAtATime`).
    """

    @property
    def name(self) -> str:
        """For messages and run reports."""

    @property
    def family(self) -> Family:
        """Its architecture's constants, with the text width of this model."""

    @property
    def default_size(self) -> tuple[int, int]:
        """(height, width) in pixels the weights were trained at."""

    @property
    def default_window(self) -> int:
        """Frames in a window of the `shot` protocol, one that the VAE takes."""

    @property
    def default_overlap(self) -> int:
        """Frames shared by neighbouring windows of the `shot` protocol."""

    @property
    def known_words(self) -> frozenset[str]:
        """In lower case, all that a model of so few words was trained with; none of one that knows open language."""

    @property
    def streamed(self) -> Streamed | None:
        """What predicts in place of `predict_mask_latents` where the weights are not in memory."""

    def encode_video(self, frames: Tensor) -> Tensor:
        """Frames [T,3,H,W] in -1..1 -> normalised latents [1,C,t,h,w], of the shape that the family says."""

    def encode_text(self, prompt: str) -> Tensor:
        """Prompt -> float32 embeddings [77,D], of the family's width D.

        Raises:
            ValueError: the prompt is empty.
        """

    def encode_texts(self, prompts: Sequence[str]) -> list[Tensor]:
        """What `encode_text` gives for each of several prompts; weights that are in their files are read once."""

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

    def mask_decoder(self) -> Callable[[Tensor], Tensor]:
        """A small decoder of masks alone, in place of `decode_masks`: mask latents [1,C,t,h,w] -> [T,1,H,W] in 0..1.

        Raises:
            ValueError: the model has none, or one of another VAE.
        """


class TextsOneByOne:
    """A base of backbones whose text encoder is in memory."""

    known_words: frozenset[str] = frozenset()
    encode_text: Callable[[str], Tensor]

    def encode_texts(self, prompts: Sequence[str]) -> list[Tensor]:
        """See `Backbone.encode_texts`."""
        return [self.encode_text(prompt) for prompt in prompts]


class WithoutMaskDecoder:
    """A base of backbones whose masks the VAE alone decodes."""

    name: str

    def mask_decoder(self) -> Callable[[Tensor], Tensor]:
        """Raises ValueError."""
        raise ValueError(f"{self.name} has no mask decoder: use decoder vae.")


class OneAtATime:
    """A base of what cannot serve two threads at once: Wan's VAE keeps features between frames, a model whose weights
    are streamed has those of one block.

    Its methods marked with `queued` are called by one thread at a time, and others wait.
    """

    def __init__(self) -> None:
        self.lock = Lock()


_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_Queuing = TypeVar("_Queuing", bound=OneAtATime)


def queued(
    method: Callable[Concatenate[_Queuing, _Arguments], _Result],
) -> Callable[Concatenate[_Queuing, _Arguments], _Result]:
    """A method of a `OneAtATime` that waits until no other such method runs; none may call another."""

    @wraps(method)
    def call(self: _Queuing, *arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        with self.lock:
            return method(self, *arguments, **named)

    return call


def words_from(prompt: str, start: int) -> str:
    """The end of a prompt from character `start` on, with the whole of a word that this lies within."""
    while start > 0 and not prompt[start].isspace() and not prompt[start - 1].isspace():
        start -= 1
    return prompt[start:].strip()


def fit_text_rows(rows: Tensor, width: int) -> Tensor:
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
