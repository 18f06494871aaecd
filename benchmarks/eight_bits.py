"""What eight bits a weight cost: of REM-mini's soft masks, and of one block of the real width.

    python -m benchmarks.eight_bits --frames 9

Plain fp8 is a cast; the others are what `convert` writes (`--dtype float8_e4m3fn`, `--dtype int8`, `--as gguf`), and
Q4_0 what the package gguf packs. REM-mini segments the sample shot with each form, whole and streamed, in float32; the
block has random weights, deviation 1/sqrt(inputs), and random tokens.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import gguf
import torch
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from safetensors.torch import save_file
from torch import Tensor

from rem_engine import load_segmenter, open_shot
from rem_engine.backbones.load import MINI_FOLDER
from rem_engine.checkpoints import read_state_dict, to_original
from rem_engine.checkpoints.convert import Conversion, convert
from rem_engine.checkpoints.rounding import is_matrix, rounded

SAMPLE = Path(__file__).parents[1] / "assets" / "sample_shot.mp4"
PROMPTS = ["the fire", "the blue square"]
WIDTH, FFN_WIDTH, HEADS = 5120, 13824, 40  # of 14B
TOKENS, WORDS = 256, 77


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=9, help="of the sample shot (default 9)")
    parser.add_argument("--no-block", action="store_true", help="REM-mini alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = {"REM-mini": mini(Path(folder), arguments.frames)}
    if not arguments.no_block:
        report["block"] = block()
    print(json.dumps(report, indent=1))


def mini(folder: Path, count: int) -> dict[str, dict[str, float]]:
    """Mean and largest difference of soft masks, whole and streamed, from those of the float16 file."""
    source = MINI_FOLDER / "transformer"
    weights = to_original(read_state_dict(source))
    cast = {name: value.to(torch.float8_e4m3fn) if is_matrix(name) else value for name, value in weights.items()}
    save_file(cast, folder / "plain.safetensors")
    convert(Conversion(source, folder / "scaled.safetensors", dtype=torch.float8_e4m3fn))
    convert(Conversion(source, folder / "int8.safetensors", dtype=torch.int8))
    convert(Conversion(source, folder / "q8_0.gguf", form="gguf"))
    four = {name: packed(value.float(), "Q4_0") if is_matrix(name) else value for name, value in weights.items()}
    save_file(four, folder / "q4_0.safetensors")
    frames = open_shot(SAMPLE).read(0, count)

    def masks(**options: str | Path) -> Tensor:
        return load_segmenter("mini", device="cpu", **options).segment(frames, PROMPTS).soft

    exact = masks()
    results = {}
    for form in sorted(folder.iterdir()):
        whole, streamed = (masks(checkpoint=form, memory=memory) for memory in ("whole", "stream"))
        difference = (whole - exact).abs()
        results[form.name] = {
            "mean": difference.mean().item(),
            "largest": difference.max().item(),
            "streamed, largest from whole": (streamed - whole).abs().max().item(),
        }
    return results


def block() -> dict[str, float]:
    """Relative error of what a block adds to its tokens."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    with torch.device("meta"):
        network = WanTransformerBlock(WIDTH, FFN_WIDTH, HEADS, "rms_norm_across_heads", True, 1e-6)
    weights = {
        name: drawn(*value.shape) / value.shape[-1] ** 0.5 if value.ndim == 2 else torch.ones(value.shape)
        for name, value in network.state_dict().items()
    }
    weights |= {name: value * 0.01 for name, value in weights.items() if name.endswith("bias")}
    tokens, words, modulation = drawn(1, TOKENS, WIDTH), drawn(1, WORDS, WIDTH), drawn(1, 6, WIDTH) * 0.1
    turns = torch.outer(torch.arange(TOKENS), 10000.0 ** -(torch.arange(0, 128, 2) / 128)).repeat_interleave(2, 1)
    places = tuple(each[None, :, None] for each in (turns.cos(), turns.sin()))

    @torch.no_grad()
    def added(change: Callable[[Tensor], Tensor]) -> Tensor:
        changed = {name: change(value) if value.ndim == 2 else value for name, value in weights.items()}
        network.load_state_dict(changed, assign=True)
        return network(tokens, words, modulation, places) - tokens

    exact = added(lambda value: value)
    forms: dict[str, Callable[[Tensor], Tensor]] = {
        "fp8 plain": lambda value: value.to(torch.float8_e4m3fn).float(),
        "fp8 scaled": lambda value: multiplied_out(value, torch.float8_e4m3fn),
        "int8 a row": lambda value: multiplied_out(value, torch.int8),
        "Q8_0": lambda value: packed(value, "Q8_0"),
        "Q4_0": lambda value: packed(value, "Q4_0"),
    }
    return {form: ((added(change) - exact).norm() / exact.norm()).item() for form, change in forms.items()}


def multiplied_out(value: Tensor, dtype: torch.dtype) -> Tensor:
    """A matrix as it comes back from what `convert` makes of it."""
    values, beside = rounded(value, dtype, "a.weight")
    scale = next(other for name, other in beside.items() if "scale" in name and other.dtype == torch.float32)
    return values.float() * scale


def packed(value: Tensor, kind: str) -> Tensor:
    """A matrix packed as a type of GGUF's and unpacked."""
    number = gguf.GGMLQuantizationType[kind]
    return torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(value.numpy(), number), number))


if __name__ == "__main__":
    main()
