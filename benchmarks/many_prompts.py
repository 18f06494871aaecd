"""What many prompts on one shot cost, against the authors' structure and against the bare model calls.

    python -m benchmarks.many_prompts --model mini --frames 9 --prompts 1 2 4 8 --pairs 3

The authors' evaluation reads, encodes and decodes anew for every prompt; here a window is encoded once and a prompt
once. Both are run in turn with equal weights (medians over the pairs), and their masks compared. The bound is
E + P (D + V): the bare calls of the VAE's encoder, of the denoiser for one prompt, and of the decoder, each the median
over the same pairs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from rem_engine import Segmenter, SegmentSettings, load_segmenter
from rem_engine.segment.resize import frames_to_model

PROMPTS = (
    "the smoke", "the red star", "the orange circle", "the fire",
    "the blue square", "the rain", "the green triangle", "the sparks",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini", help="'mini' or a model folder")
    parser.add_argument("--checkpoint", help="REM weights laid over the model")
    parser.add_argument("--frames", type=int, default=9, help="frames in the shot, which go in one window (default 9)")
    counts = range(1, len(PROMPTS) + 1)
    parser.add_argument("--prompts", type=int, nargs="+", default=[1, 2, 4, 8], choices=counts, metavar="P")
    parser.add_argument("--pairs", type=int, default=3, help="pairs of runs (default 3)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--decoder", choices=("vae", "mask"), default="vae", help="what draws the masks (default vae)")
    arguments = parser.parse_args()

    backbone = load_segmenter(arguments.model, checkpoint=arguments.checkpoint, device=arguments.device).backbone
    segmenter = Segmenter(backbone, SegmentSettings(window=arguments.frames, overlap=0, decoder=arguments.decoder))
    frames = np.random.default_rng(0).integers(0, 256, (arguments.frames, *backbone.default_size, 3), dtype=np.uint8)
    bare = _bare_calls(segmenter, frames, arguments.decoder)
    for call in bare.values():
        call()  # warm up
    rows = []
    for count in arguments.prompts:
        rows.append(_compare(segmenter, frames, PROMPTS[:count], bare, arguments.pairs))
    report = {
        "model": backbone.name,
        "size": backbone.default_size,
        "frames": arguments.frames,
        "device": str(backbone.device),
        "threads": torch.get_num_threads(),
        "decoder": arguments.decoder,
        "pairs": arguments.pairs,
        "rows": rows,
    }
    print(json.dumps(report, indent=2))


def _bare_calls(segmenter: Segmenter, frames: np.ndarray, decoder: str) -> dict[str, Callable[[], Tensor]]:
    backbone = segmenter.backbone
    pixels = frames_to_model(frames, backbone.default_size, eight_bit=False)
    embeds = segmenter.encode_prompts(PROMPTS[:1])
    latents = backbone.encode_video(pixels)
    predicted = backbone.predict_mask_latents(latents, embeds)
    decode = backbone.mask_decoder() if decoder == "mask" else backbone.decode_masks
    return {
        "E": lambda: backbone.encode_video(pixels),
        "D": lambda: backbone.predict_mask_latents(latents, embeds),
        "V": lambda: decode(predicted),
    }


def _compare(
    segmenter: Segmenter,
    frames: np.ndarray,
    prompts: Sequence[str],
    bare: dict[str, Callable[[], Tensor]],
    pairs: int,
) -> dict[str, float | int]:
    runs: dict[str, Callable[[], Tensor]] = {
        "engine": lambda: _anew(segmenter).segment(frames, prompts).soft,
        "authors": lambda: torch.cat([_anew(segmenter).segment(frames, [prompt]).soft for prompt in prompts]),
        **bare,
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    results: dict[str, Tensor] = {}
    for _ in range(pairs):
        for name, run in runs.items():
            start = _clock()
            results[name] = run()
            seconds[name].append(_clock() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    bound = median["E"] + len(prompts) * (median["D"] + median["V"])
    return {
        "prompts": len(prompts),
        **{name: round(value, 4) for name, value in median.items()},
        "bound": round(bound, 4),
        "engine_over_bound": round(median["engine"] / bound, 4),
        "authors_over_engine": round(median["authors"] / median["engine"], 3),
        "largest_difference_of_soft_masks": float((results["engine"] - results["authors"]).abs().max()),
        "flipped_pixels": int(((results["engine"] > 0.5) != (results["authors"] > 0.5)).sum()),
    }


def _anew(segmenter: Segmenter) -> Segmenter:
    """A segmenter of the same weights that remembers no prompt."""
    return Segmenter(segmenter.backbone, segmenter.plan.settings)


def _clock() -> float:
    """Processor time on the CPU, which other work on the machine disturbs less than the clock on the wall."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


if __name__ == "__main__":
    main()
