"""Draws docs/images/cryptomatte.jpg: a frame, its Cryptomatte with a colour for each layer, and what is picked of it.

    python -m rem_engine segment assets/sample_shot.mp4 -p "smoke: the smoke" -p "star: the red star" \\
        -p "circle: the orange circle" -o out --write cryptomatte
    python -m benchmarks.cryptomatte_picture out [--frame 30] [--pick star,circle]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import OpenEXR

from rem_engine import open_shot
from rem_engine.pixels import to_uint8

_SAMPLE = Path(__file__).resolve().parents[1] / "assets" / "sample_shot.mp4"
_COLOURS = ((0.25, 0.55, 1.0), (1.0, 0.35, 0.3), (1.0, 0.75, 0.2), (0.5, 0.9, 0.4))
_WIDTH, _GAP = 480, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--frame", type=int, default=30)
    parser.add_argument("--pick", default="star,circle")
    parser.add_argument("--out", type=Path, default=Path("docs/images/cryptomatte.jpg"))
    options = parser.parse_args()
    draw(options.run, options.frame, options.pick.split(","), options.out)


def draw(run: Path, number: int, pick: Sequence[str], out: Path) -> None:
    """Draw the picture into a file.

    Args:
        run: folder of a run over the sample shot that wrote Cryptomattes.
        number: of the frame, from 0.
        pick: names of layers.
        out: the file.
    """
    with open_shot(_SAMPLE) as shot:
        plate = to_uint8(shot.read(number, number + 1)[0]).astype(np.float32) / 255.0
    (file,) = (run / "cryptomatte").glob(f"*.{1001 + number}.exr")
    coverage = _coverage(file)
    coloured = sum(alpha[..., None] * np.float32(colour) for alpha, colour in zip(coverage.values(), _COLOURS))
    picked = sum(coverage[name] for name in pick)
    panels = [plate, coloured, np.repeat(picked[..., None], 3, axis=-1)]
    height = round(_WIDTH * plate.shape[0] / plate.shape[1])
    drawn = [cv2.resize(panel, (_WIDTH, height), interpolation=cv2.INTER_AREA) for panel in panels]
    gap = np.ones((height, _GAP, 3), np.float32)
    picture = np.concatenate([drawn[0], gap, drawn[1], gap, drawn[2]], axis=1)
    cv2.imwrite(str(out), to_uint8(picture)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])


def _coverage(file: Path) -> dict[str, np.ndarray]:
    """How much of each pixel each name covers, [H,W], out of the ranked pairs of hash and coverage."""
    with OpenEXR.File(str(file), separate_channels=True) as image:
        header = dict(image.header())  # which is empty once the file is closed
        channels = {name: np.array(channel.pixels) for name, channel in image.channels().items()}
    (manifest,) = [json.loads(text) for name, text in header.items() if name.endswith("/manifest")]
    layers = {key.partition(".")[0] for key in channels if key[-4:-2].isdigit()}
    found = {}
    for name, hexadecimal in manifest.items():
        own = np.uint32(int(hexadecimal, 16)).view(np.float32)
        found[name] = sum(
            np.where(channels[f"{layer}.{pair}"] == own, channels[f"{layer}.{more}"], np.float32(0.0))
            for layer in layers
            for pair, more in (("R", "G"), ("B", "A"))
        )
    return found


if __name__ == "__main__":
    main()
