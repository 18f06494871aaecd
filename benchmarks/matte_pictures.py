"""Draws docs/images/edges.jpg: plates, masks as they are scaled up, their mattes by default, and exact alpha.

    python -m benchmarks.matte_pictures [--out docs/images/edges.jpg]

Hair and wires are scenes of `benchmarks.matte_scenes` with masks that err as a model's do, of 96x96 and 512x512 pixels;
star and smoke are those of the sample shot with the masks that REM-mini gives.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.matte_scenes import masks, scene
from rem_engine import load_segmenter, open_shot
from rem_engine.matte import Frame, MatteSettings, matte_frames
from rem_engine.matte.frames import alpha_of, plate_of
from rem_engine.pixels import to_uint8
from rem_engine.segment.resize import masks_to_shot
from trainer.synth.sample import composition, exact_mattes, target_matte

_SAMPLE = Path(__file__).resolve().parents[1] / "assets" / "sample_shot.mp4"
_FRAMES = 9
_SIDE = (240, 320)
_GAP = 4
_SALT = 41
# What is shown of scenes: left, top and width of a picture of 4:3, in shares of the plate's width.
_CROPS = {"hair": (0.36, 0.1, 0.2), "wires": (0.3, 0.1, 0.2), "star": (0.4, 0.0, 0.34), "smoke": (0.5, 0.0, 0.5)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images/edges.jpg"))
    draw(parser.parse_args().out)


def draw(out: Path) -> None:
    """Draw the picture into a file."""
    rows = [_row(*parts) for parts in (*_scenes(), *_sample())]
    picture = np.concatenate(rows)[_GAP:, ..., ::-1]
    cv2.imwrite(str(out), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])


Parts = tuple[str, np.ndarray, torch.Tensor, torch.Tensor, np.ndarray]
"""Name, plate [H,W,3] in 0..1, mask [H,W], matte [H,W], exact alpha [H,W]."""


def _scenes() -> Iterator[Parts]:
    for name, side in (("hair", 96), ("wires", 512)):
        shot = scene(name, 1080, 1, _SALT)
        own = torch.from_numpy(masks(shot.alpha, side, True, (_SALT, side)))
        soft = masks_to_shot(own[:, None, None], (shot.alpha.shape[1], shot.alpha.shape[2]))[0]
        frame = Frame(0, soft, torch.from_numpy(shot.plates[0]), cells=((side, side),))
        (matte,) = matte_frames([frame], MatteSettings())
        yield name, shot.plates[0], soft[0], alpha_of(matte)[0], shot.alpha[0]


def _sample() -> Iterator[Parts]:
    with open_shot(_SAMPLE) as shot:
        plates = shot.read(0, _FRAMES)
    exact, asked = exact_mattes(frames=_FRAMES), {e.text: e for e in composition().expressions}
    segmenter = load_segmenter("mini")
    prompts = {"star": "the red star", "smoke": "the smoke"}
    soft = segmenter.segment(plates, [*prompts.values()]).soft
    cells = (segmenter.plan.size_for(*plates.shape[1:3]),) * 2
    frames = (Frame(t, soft[:, t], torch.from_numpy(plate), cells=cells) for t, plate in enumerate(plates))
    *_, last = matte_frames(frames, MatteSettings())
    for layer, (name, prompt) in enumerate(prompts.items()):
        matte = target_matte(exact, asked[prompt])[last.index]
        yield name, plate_of(last).numpy(), soft[layer, last.index], alpha_of(last)[layer], matte


def _row(name: str, plate: np.ndarray, soft: torch.Tensor, matte: torch.Tensor, exact: np.ndarray) -> np.ndarray:
    """uint8 [h,w,3]: the four side by side, white between them and above."""
    left, top, wide = (round(share * plate.shape[1]) for share in _CROPS[name])
    crop = np.s_[top : top + round(wide * _SIDE[0] / _SIDE[1]), left : left + wide]
    shown = []
    for picture in (plate, soft.numpy(), matte.numpy(), exact):
        part = cv2.resize(picture[crop], _SIDE[::-1], interpolation=cv2.INTER_AREA).clip(0.0, 1.0)
        part = np.repeat(part[..., None], 3, axis=2) if part.ndim == 2 else part
        shown.append(cv2.copyMakeBorder(to_uint8(part), _GAP, 0, 0, _GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    return np.concatenate(shown, axis=1)[:, :-_GAP]


if __name__ == "__main__":
    main()
