"""The published sizes of Wan2.1 on this machine: random weights of the exact shapes, streamed from disk.

    python -m benchmarks.real_size write FOLDER --size 14b        # 40 GB, a tensor at a time
    python -m benchmarks.real_size run FOLDER --frames 18 --window 9 --threads 2

`run` segments a shot of random pixels and prints, as JSON, the seconds of each stage, the peak of anonymous memory in
each, the bytes that were read and how long blocks waited for theirs. Masks mean nothing; shapes, times and memory are
those of the real weights. A second run finds the prompt's rows in FOLDER/prompts and needs no text encoder.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rem_engine import load_segmenter
from rem_engine.backbones.load import MINI_FOLDER
from rem_engine.checkpoints.safetensors_file import Writer
from rem_engine.segment.window_model import STAGES

# As the published config.json files have them.
SIZES = {
    "14b": {"num_attention_heads": 40, "ffn_dim": 13824, "num_layers": 40},
    "1.3b": {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30},
}
UMT5_XXL = {"d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_heads": 64, "num_layers": 24, "vocab_size": 256384}
PROMPT = "the red circle"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    write = commands.add_parser("write", help="write random weights")
    write.add_argument("folder", type=Path)
    write.add_argument("--size", choices=SIZES, default="14b")
    write.add_argument("--blocks", type=int, help="fewer blocks than published, of the same width; a smaller table")
    run = commands.add_parser("run", help="segment a shot with them")
    run.add_argument("folder", type=Path)
    run.add_argument("--frames", type=int, default=18)
    run.add_argument("--window", type=int, default=9)
    run.add_argument("--side", type=int, default=512, help="of the shot's frames, and of what the model sees")
    run.add_argument("--dtype", default="bfloat16")
    run.add_argument("--memory", default="stream")
    run.add_argument("--device", default="cpu")
    run.add_argument("--limit", type=float, help="GiB of anonymous memory beyond which the run is ended")
    run.add_argument("--threads", type=int, help="of the CPU (all)")
    arguments = parser.parse_args()
    if arguments.command == "write":
        write_random(arguments.folder, arguments.size, arguments.blocks)
    else:
        print(json.dumps(measure(arguments), indent=2))


def write_random(folder: Path, size: str, blocks: int | None = None) -> None:
    """A model folder in diffusers' layout with random bfloat16 weights; the tokenizer is REM-mini's."""
    from diffusers import AutoencoderKLWan, WanTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    denoiser = {**SIZES[size], "text_dim": 4096}
    if blocks is not None:
        denoiser["num_layers"] = blocks
    text = json.loads((MINI_FOLDER / "text_encoder" / "config.json").read_text("utf-8")) | UMT5_XXL
    if blocks is not None:
        text |= {"num_layers": blocks, "vocab_size": 4096}
    with torch.device("meta"):
        parts: dict[str, nn.Module] = {
            "transformer": WanTransformer3DModel(**denoiser),
            "vae": AutoencoderKLWan(),
            "text_encoder": UMT5EncoderModel(UMT5Config.from_dict(text)),
        }
    shutil.copytree(MINI_FOLDER / "tokenizer", folder / "tokenizer", dirs_exist_ok=True)
    values = torch.randn(40_000_000, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    for name, part in parts.items():
        (folder / name).mkdir(exist_ok=True)
        part.save_config(folder / name) if name != "text_encoder" else part.config.save_pretrained(folder / name)
        shapes = {key: tensor.shape for key, tensor in part.state_dict().items() if "embed_tokens" not in key}
        stem = "model" if name == "text_encoder" else "diffusion_pytorch_model"
        _write(folder / name / f"{stem}.safetensors", shapes, values)


def _write(file: Path, shapes: Mapping[str, torch.Size], values: Tensor) -> None:
    with open(file, "wb") as stream:
        writer = Writer(stream, shapes, {"format": "pt"})
        for number, (name, shape) in enumerate(shapes.items()):
            writer.add(name, torch.bfloat16, shape, _parts(name, shape, values[7 * number :]))
        writer.finish()


def _parts(name: str, shape: torch.Size, values: Tensor) -> Iterator[Tensor]:
    """Values of a weight: of such a spread that a network of them neither dies out nor overflows."""
    spread, mean = 1.0 / math.sqrt(max(1, math.prod(shape[1:]))), 0.0
    if ("norm" in name or "gamma" in name) and "bias" not in name:
        spread, mean = 0.05, 1.0
    left = math.prod(shape)
    while left:
        part = values[:left]
        left -= len(part)
        yield part * spread + mean


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Segment a shot of random pixels."""
    # What a text encoder gives is kept; in a folder of the benchmark's own, which `prompts` there names.
    assert "huggingface_hub" not in sys.modules
    os.environ["HF_ASSETS_CACHE"] = str(arguments.folder / "prompts")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with _Peak(arguments.limit) as peak:
        segmenter = load_segmenter(
            arguments.folder,
            size=(arguments.side, arguments.side),
            window=arguments.window,
            overlap=0,
            dtype=arguments.dtype,
            device=arguments.device,
            memory=arguments.memory,
        )
        peak.stage("load")
        shape = (arguments.frames, arguments.side, arguments.side, 3)
        frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        timed = segmenter._model.timed

        @contextmanager
        def measured(stage: str) -> Iterator[None]:
            with timed(stage):
                yield
            peak.stage(stage)

        segmenter._model.timed = measured  # type: ignore[method-assign]
        start = time.perf_counter()
        segmenter.segment(frames, [PROMPT])
        seconds = time.perf_counter() - start
    streamed = segmenter.backbone.streamed
    report: dict[str, object] = {
        "frames": arguments.frames,
        "windows": len(segmenter.windows(arguments.frames)),
        "side": arguments.side,
        "dtype": arguments.dtype,
        "threads": torch.get_num_threads(),
        "seconds": round(seconds, 1),
        "seconds_by_stage": {stage: round(segmenter.seconds[stage], 1) for stage in STAGES},
        "peak_anonymous_gib_by_stage": {stage: round(gib, 2) for stage, gib in peak.gib.items()},
        "gigabytes_read_by_stage": {stage: round(count / 1e9, 2) for stage, count in peak.read.items()},
        "gigabytes_from_disk_by_stage": {stage: round(count / 1e9, 2) for stage, count in peak.from_disk.items()},
        "load_average": Path("/proc/loadavg").read_text("utf-8").split()[0],
    }
    if streamed is not None:
        report["denoiser_bytes_streamed"] = streamed.stream.bytes_read
        report["seconds_waited_for_weights"] = round(streamed.stream.seconds_waited, 1)
        report["waited_share_of_the_pass"] = round(streamed.stream.seconds_waited / segmenter.seconds["predict"], 4)
    return report


class _Peak:
    """The most anonymous memory of this process (RssAnon of Linux) within each stage, and what it read.

    Attributes:
        gib: by stage.
        read, from_disk: bytes, by stage: all that was read, and what of it was in no cache of the system's.

    Args:
        limit: GiB beyond which the process is ended.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = limit or math.inf
        self.gib: dict[str, float] = {}
        self.read: Counter[str] = Counter()
        self.from_disk: Counter[str] = Counter()
        self._now, self._done = 0.0, threading.Event()
        self._io = _io()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def stage(self, name: str) -> None:
        """A stage has ended."""
        self.gib[name] = max(self.gib.get(name, 0.0), self._now, _anonymous_gib())
        self._now = 0.0
        before, self._io = self._io, _io()
        self.read[name] += self._io["rchar"] - before["rchar"]
        self.from_disk[name] += self._io["read_bytes"] - before["read_bytes"]

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self._now = max(self._now, _anonymous_gib())
            if self._now > self._limit:
                print(
                    f"The run took {self._now:.2f} GiB, and {self._limit} are the limit.", file=sys.stderr, flush=True
                )
                os._exit(1)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def _anonymous_gib() -> float:
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 2**20


def _io() -> dict[str, int]:
    lines = Path("/proc/self/io").read_text("utf-8").splitlines()
    return {name: int(count) for name, count in (line.split(": ") for line in lines)}


if __name__ == "__main__":
    main()
