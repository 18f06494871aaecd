"""A small network of one take, trained on its given frames: it draws masks where motion leads nowhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..matte.motion import Picture

# Chosen on 31 sentences of rendered shots of 25 frames.
_WIDTH = 16
_DILATIONS = (1, 2, 4, 8)
_STEPS, _LEARNING_RATE, _WEIGHT_DECAY = 120, 3e-3, 1e-2
_BATCH = 4
_LEAST = 0.03  # that the model's mask counts for: a wrong one is not held for certain
_NOTHING = np.float32(1 / 512)  # half a level of 8 bits, of which a sigmoid keeps something everywhere
_PIXELS = 14_400
"""Of the pictures it looks at, at most: 160x90. More takes longer, and sees less of the surroundings."""


def network_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) at which the network looks at pictures of a size."""
    scale = min(1.0, math.sqrt(_PIXELS / (size[0] * size[1])))
    return max(round(size[0] * scale), 8), max(round(size[1] * scale), 8)


class TakeNetwork:
    """Masks of the frames of a take from their pictures and from the masks that a model gave.

    Its 7,600 weights are trained on the given frames alone: on masks that were carried to others it would learn their
    drift. Training is the same every time.
    """

    def __init__(self, size: tuple[int, int], device: str | torch.device = "cpu") -> None:
        """`size`: (height, width) of what it looks at, from `network_size`."""
        self.size, self._device = size, torch.device(device)
        # Weights and what they learn from must know gradients, wherever this is called from.
        with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self._net = _BesideTheBase().to(self._device).to(memory_format=torch.channels_last)

    def train(self, pictures: Sequence[Picture], bases: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> None:
        """Learn given frames.

        Args:
            pictures: of these.
            bases: masks that a model gave, float32 [H,W].
            masks: those that are right.
        """
        with torch.inference_mode(False), torch.enable_grad():
            self._learn(pictures, bases, masks)

    def _learn(self, pictures: Sequence[Picture], bases: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> None:
        inputs = torch.stack([self._input(*pair) for pair in zip(pictures, bases, strict=True)]).to(self._device)
        targets = torch.stack([torch.from_numpy(self.reduced(mask))[None] for mask in masks]).to(self._device)
        optimiser = torch.optim.AdamW(self._net.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
        draw = np.random.default_rng(0)
        for step in range(_STEPS):
            for group in optimiser.param_groups:
                group["lr"] = _LEARNING_RATE * (0.5 + 0.5 * math.cos(math.pi * step / _STEPS))
            few = len(inputs) <= _BATCH
            chosen = torch.arange(len(inputs)) if few else torch.from_numpy(draw.permutation(len(inputs))[:_BATCH])
            seen, wanted = inputs[chosen], targets[chosen]
            if draw.random() < 0.5:
                seen, wanted = seen.flip(-1), wanted.flip(-1)
            optimiser.zero_grad()
            F.binary_cross_entropy_with_logits(self._net(seen), wanted).backward()
            optimiser.step()

    def mask(self, picture: Picture, base: np.ndarray) -> np.ndarray:
        """The mask of a frame at the network's size, float32 in 0..1: 0 where it is next to nothing.

        Args:
            picture: of it.
            base: the mask that a model gave, float32 [H,W].
        """
        with torch.no_grad():
            drawn = self._net(self._input(picture, base)[None].to(self._device)).sigmoid()[0, 0].cpu().numpy()
        drawn -= _NOTHING
        drawn /= np.float32(1.0) - _NOTHING
        return drawn.clip(0.0, 1.0, out=drawn)

    def reduced(self, mask: np.ndarray) -> np.ndarray:
        """A mask at the network's size, in 0..1."""
        return cv2.resize(mask, self.size[::-1], interpolation=cv2.INTER_AREA).clip(0.0, 1.0)

    def _input(self, picture: Picture, base: np.ndarray) -> Tensor:
        colours = cv2.resize(picture.colours, self.size[::-1], interpolation=cv2.INTER_AREA)
        seen = np.dstack([colours.astype(np.float32) / np.float32(255.0), self.reduced(base)]) * 2.0 - 1.0
        return torch.from_numpy(seen.astype(np.float32)).permute(2, 0, 1)


class _BesideTheBase(nn.Module):
    """What is added to the logits of the model's mask: nothing at first, so that one that is nearly right stays so."""

    def __init__(self) -> None:
        super().__init__()
        self._layers = _layers()
        last = self._layers[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, seen: Tensor) -> Tensor:
        base = (seen[:, 3:] * 0.5 + 0.5).clamp(_LEAST, 1.0 - _LEAST)
        return self._layers(seen) + torch.logit(base)


def _layers() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 4
    for dilation in _DILATIONS:
        layers += [nn.Conv2d(channels, _WIDTH, 3, padding=dilation, dilation=dilation), nn.SiLU()]
        channels = _WIDTH
    return nn.Sequential(*layers, nn.Conv2d(channels, 1, 1))
