"""REM on Wan2.1 from top to bottom: frames and a sentence in, a mask out, and nothing between them but the method.

REM keeps a whole text-to-video diffusion model and changes its target alone: where the model gave the noise in the
latents of a video, it gives the latents of a mask (REM, sec. 3.2). This file is for reading. It takes one sentence, in
float32, by the authors' evaluation; the engine beside it takes many, on any device, and knows footage.

>>> from rem_engine.minimal import segment
>>> soft, mask = segment(frames, "the smoke")     # frames uint8 [T,H,W,3]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .backbones.load import MINI_FOLDER
from .backbones.wan import load_wan


@torch.no_grad()
def segment(
    frames: np.ndarray, sentence: str, model: Path = MINI_FOLDER, checkpoint: Path | None = None
) -> tuple[Tensor, Tensor]:
    """Segment what a sentence names in frames uint8 [T,H,W,3].

    Args:
        frames: a shot, display-referred RGB.
        sentence: what to segment.
        model: a folder of Wan2.1 in diffusers' layout, see `load_wan`.
        checkpoint: REM's weights, laid over it.

    Returns:
        The soft mask, float32 [T,H,W], nominally 0..1, and the mask, bool [T,H,W].
    """
    rem = load_wan(model, checkpoint=checkpoint, device=torch.device("cpu"), dtype=torch.float32)
    count, frame_size = len(frames), frames.shape[1:3]
    mean, std = torch.tensor([rem.vae.config.latents_mean, rem.vae.config.latents_std]).view(2, 1, 16, 1, 1, 1)

    # The sentence: a row a token, and zero rows up to 77. Attention to the text has no mask, so their number counts.
    tokens = rem.tokenizer(sentence, max_length=512, truncation=True, return_tensors="pt")
    rows = rem.text_encoder(tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state[0, :77]
    text = F.pad(rows, (0, 4096 - rows.shape[1], 0, 77 - len(rows)))[None]  # [1,77,4096]

    # The frames: stretched to the size the model was trained at, in -1..1.
    height, width = rem.default_size
    resized = [np.array(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR)) for frame in frames]
    pixels = torch.from_numpy(np.stack(resized)).permute(3, 0, 1, 2).float() / 255.0  # [3,T,h,w]
    pixels = (pixels - 0.5) / 0.5

    # Windows side by side, and one that ends with the shot; going backwards, that one keeps only what no other gives.
    length = next((length for length in (73, 61, 49, 37, 25, 17, 9) if length <= count), count)
    starts = sorted({*range(0, count - length + 1, length), count - length}, reverse=True)
    soft = torch.empty(count, *frame_size)
    for start in starts:
        padded = length + (1 - length) % 4  # the VAE codes one frame, then four at a time: 4k+1
        window = pixels[:, [min(start + i, count - 1) for i in range(padded)]][None]  # [1,3,4k+1,h,w]

        # One pass at t = 0, from the clean latents of the video to the latents of the mask.
        latents = (rem.vae.encode(window).latent_dist.mode() - mean) / std  # [1,16,k+1,h/8,w/8]
        predicted = rem.transformer(latents, timestep=torch.zeros(1), encoder_hidden_states=text, return_dict=False)[0]
        decoded = rem.vae.decode(predicted * std + mean, return_dict=False)[0]  # [1,3,4k+1,h,w]; a mask lies in 0..1

        # Back to the frames' size, channel by channel, and their mean.
        sized = F.interpolate(decoded[0].flatten(0, 1)[:, None], frame_size, mode="bilinear", align_corners=False)
        soft[start : start + length] = sized.view(3, padded, *frame_size).mean(dim=0)[:length]
    return soft, soft > 0.5
