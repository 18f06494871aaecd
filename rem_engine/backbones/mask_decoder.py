"""A small decoder of mask latents to one grey channel, distilled from that of Wan's VAE.

REM decodes masks by the VAE's decoder (REM, sec. 3.2), which can draw any video, and does most of its work at the full
size. A mask is simpler: this one works at an eighth, a quarter and half of the size and draws the last pixels by
shuffling channels. It looks back in time and never ahead, as the VAE does.

Its file names the decoder it was distilled from, and is refused beside another.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..checkpoints import to_diffusers
from ..checkpoints.safetensors_file import Writer, read_index, read_metadata
from ..whole_files import written_whole
from .base import WAN, Network
from .checkpoint import Weights
from .folder import check_weights, fill

FILE = "mask_decoder.safetensors"
"""In a model folder: its mask decoder."""
KEY = "rem.mask_decoder"
"""In a file's metadata: the decoder it was distilled from, as `decoder_hash` has it."""
WIDTH = 64
"""Channels at an eighth of the size, for a VAE as small as REM-mini's."""

_DECODING_PARTS = ("decoder.", "post_quant_conv.")
_BLOCKS = 2
_FRAMES_AT_ONCE = 16  # above an eighth of the size frames are apart, and memory does not grow with their number


def decoder_hash(vae: Network) -> str:
    """SHA-256 of a VAE's decoding weights, whatever type they are held in, as far as they differ in bfloat16.

    Args:
        vae: Wan2.1's, under diffusers' names or the original ones.
    """
    digest = hashlib.sha256()
    for name, value in sorted(to_diffusers(vae.state_dict()).items()):
        if name.startswith(_DECODING_PARTS):
            digest.update(name.encode())
            digest.update(value.detach().to("cpu", torch.bfloat16).contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


class MaskDecoder(nn.Module):
    """Mask latents to grey masks.

    Args:
        width: channels at an eighth of the size, a multiple of 4; a half at a quarter, a quarter at a half.
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.width = width
        self.entry = _Causal(WAN.latent_channels, width)
        self.blocks = nn.ModuleList(_Residual(_Causal(width, width), width) for _ in range(_BLOCKS))
        self.to_frames = nn.Conv2d(width, WAN.frames_per_latent * (width // 2), 1)
        self.to_quarter = nn.Conv2d(width // 2, 4 * (width // 2), 3, padding=1)
        self.at_quarter = _Residual(nn.Conv2d(width // 2, width // 2, 3, padding=1), width // 2)
        self.to_half = nn.Conv2d(width // 2, 4 * (width // 4), 3, padding=1)
        self.at_half = _Residual(nn.Conv2d(width // 4, width // 4, 3, padding=1), width // 4)
        self.to_full = nn.Conv2d(width // 4, 4, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """Masks of latents, not clamped.

        Args:
            latents: normalised, [B,16,t,h,w].

        Returns:
            [B,4(t-1)+1,8h,8w], about 0..1.
        """
        count, per_latent = latents.shape[2], WAN.frames_per_latent
        x = self.entry(rearrange(latents, "b c t h w -> b t c h w"))
        for block in self.blocks:
            x = block(x)
        x = self.to_frames(F.silu(x.flatten(0, 1)))
        # the first latent stands for one frame
        x = rearrange(x, "(b t) (f c) h w -> b (t f) c h w", t=count, f=per_latent)[:, per_latent - 1 :]
        frames = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        masks = torch.cat([self._draw(some) for some in frames.split(_FRAMES_AT_ONCE)])
        return rearrange(masks, "(b t) 1 h w -> b t h w", b=len(latents))

    @torch.no_grad()
    def draw(self, latents: Tensor) -> Tensor:
        """Normalised mask latents [1,16,t,h,w] -> masks [4(t-1)+1,1,8h,8w] in 0..1."""
        return rearrange(self(latents.float()), "1 t h w -> t 1 h w").clamp_(0.0, 1.0)

    def _draw(self, frames: Tensor) -> Tensor:
        """Frames [n,C,h,w] at an eighth of the size -> masks [n,1,8h,8w]."""
        x = self.at_quarter(F.pixel_shuffle(self.to_quarter(frames), 2))
        x = self.at_half(F.pixel_shuffle(self.to_half(F.silu(x)), 2))
        return F.pixel_shuffle(self.to_full(F.silu(x)), 2)


class _Causal(nn.Module):
    """A convolution of each frame and the one before it, [B,t,C,h,w]; before the first are zeros."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        before = F.pad(x[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
        pairs = torch.cat([before, x], dim=2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return rearrange(self.conv(pairs), "(b t) c h w -> b t c h w", t=x.shape[1])


class _Residual(nn.Module):
    """Two convolutions, the first of which is given, around a shortcut."""

    def __init__(self, first: nn.Module, width: int) -> None:
        super().__init__()
        self.first = first
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.silu(self.first(F.silu(x)))
        return x + self.second(y.flatten(0, -4)).view_as(x)


def save_mask_decoder(path: Path, decoder: MaskDecoder, distilled_from: str, title: str) -> None:
    """Write a mask decoder in float16, whole or not at all.

    Args:
        path: of the .safetensors file.
        decoder: what to write.
        distilled_from: the `decoder_hash` of its teacher.
        title: for people.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.half().contiguous().cpu() for name, value in decoder.state_dict().items()}
    metadata = {"format": "pt", "modelspec.title": title, KEY: json.dumps({"distilled_from": distilled_from})}
    with written_whole(path) as temporary, open(temporary, "wb") as stream:
        writer = Writer(stream, tensors, metadata)
        for name, tensor in tensors.items():
            writer.add(name, tensor.dtype, tensor.shape, [tensor])
        writer.finish()


def distilled_from(path: Path) -> str | None:
    """The `decoder_hash` of the decoder that a .safetensors file was distilled from; None for any other file.

    Raises:
        ValueError: the file is damaged.
    """
    said = read_metadata(path).get(KEY)
    if said is None:
        return None
    try:
        return str(json.loads(said)["distilled_from"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} does not say what it was distilled from; distil it again.") from error


def load_mask_decoder(path: Path, vae: Network | None, device: torch.device) -> MaskDecoder:
    """A mask decoder, for inference in float32.

    Args:
        path: of the .safetensors file.
        vae: the VAE whose decoder it stands for; None takes that of any.
        device: where to run it.

    Raises:
        ValueError: no mask decoder, a damaged one, or one that was distilled from another VAE's decoder, or weights
            that are no finite numbers.
    """
    teacher = distilled_from(path)
    if teacher is None:
        raise ValueError(f"{path} is no mask decoder; a file of 'rem-trainer distill-decoder' is expected.")
    if vae is not None and teacher != decoder_hash(vae):
        raise ValueError(
            f"The mask decoder {path} was distilled from the decoder of another VAE than this model's: use decoder "
            "vae, or distil one for this model by 'rem-trainer distill-decoder'."
        )
    stored = read_index(path).tensors
    entry = stored.get("to_frames.weight")
    width = entry.shape[1] if entry is not None and len(entry.shape) == 4 else WIDTH
    with torch.device("meta"):
        decoder = MaskDecoder(width)
    check_weights(decoder, stored, path.name)
    filled: MaskDecoder = fill(decoder, Weights(stored, lambda name: torch.float32), device)
    return filled
