"""What Wan2.1-14B asks of a graphics card, counted from its architecture: bytes of weights and work, and FLOPs.

    python -m benchmarks.cards      # the tables of docs/using-the-real-weights.md, and that of docs/mask-decoder.md

Nothing is run: networks of the published shapes are called on PyTorch's `meta` device, which has shapes and no values.
So everything here is arithmetic. FLOPs are those of torch.utils.flop_counter; work in memory is the most that tensors
of a pass hold at once, without what libraries take for themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.real_size import SIZES, UMT5_XXL
from rem_engine.backbones.base import TEXT_ROWS, WAN
from rem_engine.backbones.load import MINI_FOLDER
from rem_engine.backbones.mask_decoder import MaskDecoder
from rem_engine.backbones.stream import blocks_that_fit
from rem_engine.backbones.wan import pass_bytes

CARDS = (12, 16, 24, 48, 80)
"""GB of memory."""
TAKEN = 1.0
"""GB that the driver and CUDA's context take of a card: assumed."""
RATES = {"a drive of 3 GB/s": 3.0, "memory, over PCIe 4.0 x16 at 25 GB/s": 25.0}
SIZE, FRAMES = 512, 73
SHORT = 9
"""Frames that decoders are compared on."""
WIDTHS = (128, 192, 256)
"""Of mask decoders."""


class _Live(TorchDispatchMode):
    """The most bytes that tensors made within `with` hold at once."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._storages[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._storages = {key: one for key, one in self._storages.items() if not one[0].expired()}
        self.peak = max(self.peak, sum(count for _, count in self._storages.values()))
        return made


def counted(call: Callable[[], object]) -> tuple[float, float]:
    """TFLOPs of a call on `meta`, and the GB that its tensors hold at once."""
    with torch.no_grad(), FlopCounterMode(display=False) as flops, _Live() as live:
        call()
    return flops.get_total_flops() / 1e12, live.peak / 1e9


def main() -> None:
    from diffusers import AutoencoderKLWan, WanTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    from rem_engine.backbones.configuration import read_json

    with torch.device("meta"):
        denoiser = WanTransformer3DModel(**SIZES["14b"], text_dim=WAN.text_width)
        vae = AutoencoderKLWan()
        text = UMT5EncoderModel(
            UMT5Config.from_dict(read_json(MINI_FOLDER / "text_encoder" / "config.json") | UMT5_XXL)
        )
        latents = torch.empty(1, *WAN.latent_shape(FRAMES, SIZE, SIZE), dtype=torch.bfloat16)
        frames, prompt = torch.empty(1, 3, FRAMES, SIZE, SIZE), torch.empty(1, TEXT_ROWS, WAN.text_width).bfloat16()
    denoiser.to(torch.bfloat16)
    blocks = [sum(weight.nbytes for weight in block.parameters()) / 1e9 for block in denoiser.blocks]
    weights = {
        "denoiser": sum(weight.nbytes for weight in denoiser.parameters()) / 1e9,
        "text": sum(weight.numel() for weight in text.parameters()) * 2 / 1e9,
        "vae": sum(weight.nbytes for weight in vae.parameters()) / 1e9,
    }
    encode, decode = counted(lambda: vae.encode(frames)), counted(lambda: vae.decode(latents.float()))
    flops, _ = counted(lambda: denoiser(latents, torch.zeros(1, device="meta"), prompt))
    work = pass_bytes(denoiser.config, latents, torch.bfloat16) / 1e9
    print(f"| step, {FRAMES} frames of {SIZE}x{SIZE} | weights | work | TFLOPs |\n|---|---|---|---|")
    print(f"| text encoder, bfloat16 | {weights['text']:.1f} GB | small | {_tflops_a_token(text):.3f} a token |")
    print(f"| VAE encode, float32 | {weights['vae']:.2f} GB | {encode[1]:.1f} GB | {encode[0]:.0f} |")
    print(f"| denoiser, bfloat16, for each prompt | {weights['denoiser']:.1f} GB | {work:.1f} GB | {flops:.0f} |")
    print(f"| VAE decode, float32, for each prompt | {weights['vae']:.2f} GB | {decode[1]:.1f} GB | {decode[0]:.0f} |")
    rates = " | ".join(f"seconds from {name}" for name in RATES)
    print(f"\n| card | blocks that stay, of {len(blocks)} | read once a shot | {rates} |")
    print(f"|---|---|---|{'---|' * len(RATES)}")
    rest = weights["denoiser"] - sum(blocks)
    for card in CARDS:
        resident = blocks_that_fit(card - TAKEN, weights["denoiser"] + weights["text"], rest, blocks[0])
        streamed = 0.0 if resident is None else sum(blocks[resident:])
        stay = "all" if resident is None else str(min(resident, len(blocks)))
        seconds = " | ".join(f"{streamed / rate:.1f}" for rate in RATES.values())
        print(f"| {card} GB | {stay} | {streamed:.1f} GB | {seconds} |")
    _compare_decoders(vae)


def _compare_decoders(vae: Any) -> None:
    """The table of docs/mask-decoder.md."""
    with torch.device("meta"):
        latents = torch.empty(1, *WAN.latent_shape(SHORT, SIZE, SIZE))
        decoders = [MaskDecoder(width) for width in WIDTHS]
    whole, _ = counted(partial(vae.decode, latents))
    parameters = _millions(vae.decoder) + _millions(vae.post_quant_conv)
    print(f"\n| {SHORT} frames of {SIZE}x{SIZE} | width | parameters | 10^9 operations | of the VAE's |")
    print("|---|---|---|---|---|")
    print(f"| the VAE's decoder | {vae.config.base_dim} | {parameters:.1f} M | {1e3 * whole:,.0f} | 1 |")
    for width, decoder in zip(WIDTHS, decoders):
        flops, _ = counted(partial(decoder, latents))
        print(f"| mask decoder | {width} | {_millions(decoder):.1f} M | {1e3 * flops:.0f} | 1/{whole / flops:.0f} |")


def _millions(network: nn.Module) -> float:
    return sum(weight.numel() for weight in network.parameters()) / 1e6


def _tflops_a_token(text: Any) -> float:
    """Two for each number of its matrices."""
    return 2 * sum(weight.numel() for name, weight in text.named_parameters() if "shared" not in name) / 1e12


if __name__ == "__main__":
    main()
