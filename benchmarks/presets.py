"""What each preset of the matte stage changes on things that it is for, against no preset.

    python -m benchmarks.presets                       # 1080 lines, 8 frames, masks that err as a model's do
    python -m benchmarks.presets --height 540 --frames 6 --salt 7

Scenes are those of `benchmarks.matte_scenes`, with masks of 96x96 and 512x512 pixels. Printed, as Markdown, are the
error of alpha (sum of absolute differences) and its flicker at edges with the preset as shares of those without one,
and of those of the bicubic upscale: below 1 is better. `hair` takes the ground out of colours, too: of things whose own
colours are known the error of a composite over another ground is told.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

import cv2
import numpy as np
import torch

from benchmarks.matte_scenes import Scene, flicker, masks, scene
from rem_engine.matte import Frame, MatteSettings, matte_frames
from rem_engine.matte.frames import alpha_of
from rem_engine.matte.presets import PRESETS
from rem_engine.segment.resize import masks_to_shot

FITTING = {
    "solid": ("disk", "star", "ring", "camouflage"),
    "hair": ("hair", "wires"),
    "smoke": ("smoke", "cloud"),
    "fire": ("fire", "sparks"),
    "water": ("rain", "ripples"),
}
"""Scenes by preset: things that it is for."""
_OTHER_GROUND = np.array([0.1, 0.6, 0.3], np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--salt", type=int, default=11)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="(default: all cores)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    print(
        "| preset | scene | masks | error / none | flicker / none | comp / none | error / bicubic | flicker / bicubic |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for preset, names in FITTING.items():
        for name in names:
            shot = scene(name, arguments.height, arguments.frames, arguments.salt)
            for side in (96, 512):
                own = masks(shot.alpha, side, True, (arguments.salt, side))
                plain, none, given = (
                    _measured(shot, own, settings)
                    for settings in (MatteSettings(refine=0), MatteSettings(), MatteSettings(**PRESETS[preset]))
                )
                shares = [*(given[i] / none[i] for i in range(3)), *(given[i] / plain[i] for i in range(2))]
                told = " | ".join("" if np.isnan(share) else f"{share:.2f}" for share in shares)
                print(f"| {preset} | {name} | {side} | {told} |", flush=True)


def _measured(shot: Scene, own: np.ndarray, settings: MatteSettings) -> tuple[float, float, float]:
    """(error of alpha, flicker, error of a composite, NaN where colours are not known) of mattes."""
    height, width = shot.alpha.shape[1:]
    cells = ((own.shape[1], own.shape[2]),)

    def frames() -> Iterator[Frame]:
        for index, (mask, plate) in enumerate(zip(own, shot.plates)):
            soft = torch.from_numpy(mask)[None]
            if settings.refine is None:
                soft = masks_to_shot(soft[None, None], (height, width))[0]
            yield Frame(index, soft, torch.from_numpy(plate), cells=cells)

    alphas, error, comp = [], 0.0, 0.0 if shot.front is not None else float("nan")
    for frame in matte_frames(frames(), settings):
        alpha, exact = alpha_of(frame)[0].numpy(), shot.alpha[frame.index]
        error += float(np.abs(alpha - exact).sum())
        if shot.front is not None:
            colour = shot.plates[frame.index] if frame.foreground is None else frame.foreground[0].numpy()
            over = _composite(colour, alpha) - _composite(shot.front[frame.index], exact)
            comp += float(np.abs(over).sum())
        alphas.append(alpha)
    return error, flicker(np.stack(alphas), shot.alpha), comp


def _composite(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return colour * alpha[..., None] + _OTHER_GROUND * (1 - alpha[..., None])


if __name__ == "__main__":
    main()
