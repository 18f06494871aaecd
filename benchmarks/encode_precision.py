"""Whether the VAE may encode in fewer bits, and decode in float32, without masks showing it.

    python -m trainer synth --out shots --count 12 --seed 100
    python -m benchmarks.encode_precision --data shots

Each shot is segmented by REM-mini with its frames encoded in float32, in bfloat16 (autocast) and as a GPU does in TF32:
what enters a convolution or a product of matrices is rounded to ten bits of mantissa, sums are float32. The last has
the values of TF32 and not its speed. Printed are, against float32: the latents' error in units of their deviation, the
mean and the largest error of soft masks, the mean over sentences of their J against those of float32, and seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rem_engine import load_segmenter
from rem_engine.media import open_shot
from rem_engine.metrics import region_similarity
from rem_engine.segment.resize import frames_to_model
from trainer.synth.write import Split, read_split

_ROUNDED = {F.conv2d, F.conv3d, F.linear, torch.conv2d, torch.conv3d, F.scaled_dot_product_attention}
_DROPPED_BITS = 13  # of float32's 23, ten stay


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini", help="'mini' or a model folder of Wan")
    parser.add_argument("--data", type=Path, required=True, help="folder that 'trainer synth' wrote")
    parser.add_argument("--shots", type=int, default=12, help="of the folder (default 12)")
    arguments = parser.parse_args()

    segmenter = load_segmenter(arguments.model, device="cpu")
    backbone, split = segmenter.backbone, Split(arguments.data)
    ways: dict[str, Callable[[], AbstractContextManager[Any]]] = {
        "float32": nullcontext,
        "bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
        "tf32": _in_tf32,
    }
    figures: dict[str, dict[str, list[float]]] = {
        name: {"latents": [], "mean": [], "largest": [], "J": [], "seconds": []} for name in ways
    }
    for entry in list(read_split(arguments.data))[: arguments.shots]:
        with open_shot(split.frames(entry.video)) as shot:
            pixels = frames_to_model(shot.read(0, shot.frame_count), backbone.default_size, eight_bit=False)
        embeds = segmenter.encode_prompts([expression.text for expression in entry.expressions])
        reference: tuple[Tensor, Tensor] | None = None
        for name, way in ways.items():
            start = time.process_time()
            with way():
                latents = backbone.encode_video(pixels).float()
            seconds = time.process_time() - start
            predicted = backbone.predict_mask_latents(latents, embeds)
            soft = torch.stack([backbone.decode_masks(each).mean(1) for each in predicted.split(1)]).clamp(0, 1)
            reference = reference or (latents, soft)
            _compare(figures[name], latents, soft, reference, seconds)
    report = {name: {key: round(statistics.mean(each), 6) for key, each in of.items()} for name, of in figures.items()}
    for name, values in figures.items():
        report[name]["largest"] = round(max(values["largest"]), 6)
    print(json.dumps(report, indent=2))


def _compare(
    figures: dict[str, list[float]], latents: Tensor, soft: Tensor, reference: tuple[Tensor, Tensor], seconds: float
) -> None:
    error = (soft - reference[1]).abs()
    figures["latents"].append(float((latents - reference[0]).square().mean().sqrt() / reference[0].std()))
    figures["mean"].append(float(error.mean()))
    figures["largest"].append(float(error.max()))
    scores = [region_similarity(a.numpy() > 0.5, b.numpy() > 0.5).mean() for a, b in zip(soft, reference[1])]
    figures["J"].append(float(np.mean(scores)))
    figures["seconds"].append(seconds)


class _Tf32(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        if function in _ROUNDED:
            given = tuple(_rounded(each) if isinstance(each, Tensor) else each for each in given)
        return function(*given, **(named or {}))


def _rounded(values: Tensor) -> Tensor:
    """To the nearest float32 whose mantissa has ten bits."""
    if values.dtype != torch.float32:
        return values
    bits = values.contiguous().view(torch.int32)
    return (((bits + (1 << (_DROPPED_BITS - 1))) >> _DROPPED_BITS) << _DROPPED_BITS).view(torch.float32)


@contextmanager
def _in_tf32() -> Iterator[None]:
    with _Tf32():
        yield


if __name__ == "__main__":
    main()
