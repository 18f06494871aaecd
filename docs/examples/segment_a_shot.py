"""From a video to pictures with an alpha, step by step, with the model that comes with the pack.

    python -m docs.examples.segment_a_shot                               # the sample shot, into example_out/
    python -m docs.examples.segment_a_shot shot.mov "the smoke" --out mattes

Nothing here holds a whole shot. For multilayer EXR, ProRes and the rest, and for runs that go on after a stop, see
`rem_engine.segment_to_files` or `python -m rem_engine segment --help`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image

from rem_engine import MatteSettings, Segmenter, load_segmenter, open_shot
from rem_engine.matte import Frame, matte_frames, merge_alpha
from rem_engine.pixels import to_uint8

SAMPLE = Path(__file__).parents[2] / "assets" / "sample_shot.mp4"


def masked_frames(segmenter: Segmenter, path: Path, prompt: str) -> Iterator[Frame]:
    """Frames of a shot with their soft masks, as soon as no later window of the model has a say in them."""
    # The model reads a window ahead of the frames it has finished, so the plates come from a reader of their own.
    with open_shot(path) as shot, open_shot(path) as plates:
        for chunk in segmenter.stream(shot, segmenter.encode_prompts([prompt])):
            for index, soft in enumerate(chunk.soft.unbind(dim=1), start=chunk.start):  # soft [1,H,W]
                (plate,) = plates.read(index, index + 1)
                yield Frame(index, soft, torch.from_numpy(plate))


def main() -> None:
    parser = argparse.ArgumentParser(description="Cut what a sentence names out of a shot.")
    parser.add_argument("shot", nargs="?", type=Path, default=SAMPLE, help="a video, a folder of frames, or an image")
    parser.add_argument("prompt", nargs="?", default="the red star", help="what to cut out")
    parser.add_argument("--out", type=Path, default=Path("example_out"), help="folder for the pictures")
    options = parser.parse_args()

    segmenter = load_segmenter("mini")  # or a folder of Wan2.1, with checkpoint="rem.pth"
    settings = MatteSettings(threshold=0.5, refine=24, remove_islands=200)  # a hard edge; leave these out for smoke

    options.out.mkdir(parents=True, exist_ok=True)
    for frame in matte_frames(masked_frames(segmenter, options.shot, options.prompt), settings):
        rgba = merge_alpha(frame.plate, frame.alpha[0])  # [H,W,4] in 0..1
        Image.fromarray(to_uint8(rgba.numpy())).save(options.out / f"{frame.index:05d}.png")
        print(f"frame {frame.index}: {frame.alpha.mean():.1%} of the picture")


if __name__ == "__main__":
    main()
