"""What the engine costs beside the model, and what a second prompt costs.

Runs the segmenter and, in turn, the bare calls it makes (VAE encode, denoiser, VAE decode) on the same tensors, and
prints the medians over all pairs as JSON. For Wan also, in the same turns, what VAE encode (E) and decode (V) of the
engine take of diffusers' own calls, with the VAE's decoder and, where the model has one, with the mask decoder:

    python -m benchmarks.engine_overhead --model mini --frames 33 --pairs 5
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Collection
from typing import cast

import numpy as np
import torch

from rem_engine import Segmenter, load_segmenter
from rem_engine.backbones.base import WAN
from rem_engine.backbones.wan import WanBackbone
from rem_engine.frames import ArrayFrames
from rem_engine.segment.resize import frames_to_model

PROMPTS = ("the smoke", "the red square moving left")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the engine against the bare model calls it makes.")
    parser.add_argument("--model", default="mini", help="'mini' or a model folder")
    parser.add_argument("--frames", type=int, default=33, help="frames in the shot (default 33)")
    parser.add_argument("--frame-size", type=_size, help="HxW of the shot's frames (default: the model's own size)")
    parser.add_argument("--size", type=_size, help="HxW the model sees (default: its own)")
    parser.add_argument("--window", type=int, help="frames in a window (default: the model's own)")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs (default 5)")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()

    segmenter = load_segmenter(
        arguments.model, size=arguments.size, window=arguments.window, overlap=0, device=arguments.device
    )
    size = arguments.size or segmenter.backbone.default_size
    shape = (arguments.frames, *(arguments.frame_size or size), 3)
    frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    embeds = segmenter.encode_prompts(PROMPTS)
    inputs = _window_inputs(segmenter, frames, size)

    runs: dict[str, Callable[[], object]] = {
        "bare": lambda: _bare(segmenter, inputs, embeds[:1]),
        "engine": lambda: _engine(segmenter, frames, embeds[:1]),
        "bare, 2 prompts": lambda: _bare(segmenter, inputs, embeds),
        "engine, 2 prompts": lambda: _engine(segmenter, frames, embeds),
    }
    if segmenter.backbone.family is WAN:
        runs |= _vae_calls(segmenter, inputs[0], embeds[:1])
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()  # warm up
    for _ in range(arguments.pairs):
        for name, run in runs.items():
            seconds[name].append(_seconds(run))

    def median_of_pairs(pair: Callable[[float, float], float], one: str, other: str) -> float:
        return round(statistics.median(map(pair, seconds[one], seconds[other])), 4)

    report = {
        "model": segmenter.backbone.name,
        "model_size": size,
        "frame_size": shape[1:3],
        "frames": arguments.frames,
        "windows": [window.length for window in segmenter.windows(arguments.frames)],
        "device": str(segmenter.backbone.device),
        "threads": torch.get_num_threads(),
        "pairs": arguments.pairs,
        "seconds": {name: round(statistics.median(values), 4) for name, values in seconds.items()},
        "engine_over_bare": median_of_pairs(lambda engine, bare: engine / bare, "engine", "bare"),
        "engine_over_bare_2_prompts": median_of_pairs(
            lambda engine, bare: engine / bare, "engine, 2 prompts", "bare, 2 prompts"
        ),
        "read_and_resize_of_engine": _share_beside_model(segmenter),
        "second_prompt_seconds": median_of_pairs(lambda two, one: two - one, "engine, 2 prompts", "engine"),
        "second_prompt_of_first": median_of_pairs(lambda two, one: (two - one) / one, "engine, 2 prompts", "engine"),
    }
    if "diffusers E" in runs:
        both = [one + other for one, other in zip(seconds["diffusers E"], seconds["diffusers V"])]
        report["of_diffusers"] = {
            "E": median_of_pairs(lambda engine, bare: engine / bare, "engine E", "diffusers E"),
            **{
                name: median_of_pairs(lambda engine, bare: engine / bare, f"engine {name}", "diffusers V")
                for name in _decoders(runs)
            },
            **{
                f"E + {name}": round(
                    statistics.median(
                        (encode + decode) / bare
                        for encode, decode, bare in zip(seconds["engine E"], seconds[f"engine {name}"], both)
                    ),
                    4,
                )
                for name in _decoders(runs)
            },
        }
    print(json.dumps(report, indent=2))


def _vae_calls(segmenter: Segmenter, inputs: torch.Tensor, embeds: torch.Tensor) -> dict[str, Callable[[], object]]:
    """Encoding and decoding of a window, by diffusers' calls and by the engine's."""
    backbone = cast(WanBackbone, segmenter.backbone)
    latents = backbone.predict_mask_latents(backbone.encode_video(inputs), embeds)
    clip, raw = inputs.movedim(1, 0)[None].to(backbone.device), backbone.denormalise(latents)

    def encode() -> object:
        with torch.no_grad():
            return backbone.vae.encode(clip).latent_dist.mode()

    def decode() -> object:
        with torch.no_grad():
            return backbone.vae.decode(raw, return_dict=False)

    calls: dict[str, Callable[[], object]] = {
        "diffusers E": encode,
        "diffusers V": decode,
        "engine E": lambda: backbone.encode_video(inputs),
        "engine V": lambda: backbone.decode_masks(latents),
    }
    try:
        mask_decoder = backbone.mask_decoder()
    except ValueError:  # it has none
        return calls
    return calls | {"engine V by mask decoder": lambda: mask_decoder(latents)}


def _decoders(runs: Collection[str]) -> list[str]:
    return [name.removeprefix("engine ") for name in runs if name.startswith("engine V")]


def _window_inputs(segmenter: Segmenter, frames: np.ndarray, size: tuple[int, int]) -> list[torch.Tensor]:
    inputs = []
    for window in segmenter.windows(len(frames)):
        tensor = frames_to_model(frames[window.start : window.stop], size, eight_bit=False)
        inputs.append(torch.cat([tensor, tensor[-1:].expand(window.length - len(tensor), -1, -1, -1)]))
    return inputs


def _bare(segmenter: Segmenter, inputs: list[torch.Tensor], embeds: torch.Tensor) -> None:
    backbone = segmenter.backbone
    for tensor in inputs:
        predicted = backbone.predict_mask_latents(backbone.encode_video(tensor), embeds)
        for mask_latents in predicted.split(1):
            backbone.decode_masks(mask_latents)


def _engine(segmenter: Segmenter, frames: np.ndarray, embeds: torch.Tensor) -> None:
    for _ in segmenter.stream(ArrayFrames(frames), embeds):
        pass


def _share_beside_model(segmenter: Segmenter) -> float:
    seconds = {stage: spent for stage, spent in segmenter.seconds.items() if stage != "encode_text"}
    return round((seconds["read"] + seconds["resize"]) / sum(seconds.values()), 4)


def _seconds(run: Callable[[], object]) -> float:
    """Processor time on the CPU, which other work on the machine disturbs less than the clock on the wall."""
    clock = time.perf_counter if torch.cuda.is_initialized() else time.process_time
    start = clock()
    run()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return clock() - start


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    return int(height), int(width)


if __name__ == "__main__":
    main()
