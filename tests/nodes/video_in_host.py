"""Runs inside a ComfyUI's own Python: SegmentVideo's latents cache, a cancel between windows, its notes and the golden
cases, on both backbones, and a second VAE; writes JSON.

    python video_in_host.py HOST BASE PACK REPORT [GOLDEN]

The tests beside this file judge the report.
"""

from __future__ import annotations

import gc
import json
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden_in_host import golden_cases, laid_over, lengths, load_modelscope, load_wan
from host_session import start
from node_runs import counted, difference, encode, random, segment

SIZE = (32, 48)

Parts = tuple[Any, Any, Any]


@dataclass(frozen=True)
class Small:
    """A small model for tests that do not depend on its masks.

    Attributes:
        load: gives its MODEL, CLIP and VAE anew.
        size, other_size: it can see.
    """

    load: Callable[[], Parts]
    size: tuple[int, int]
    other_size: tuple[int, int]


def main(host: Path, base: Path, pack: Path, report: Path, golden: Path | None = None) -> None:
    nodes = start(host, base, pack)
    import torch

    with torch.inference_mode():
        results = {"decoder": decoder(nodes, base / "models")}
        small = {"Wan": Small(lambda: load_mini(nodes), SIZE, (48, 48))}
        if golden:
            wan, modelscope = load_wan(nodes, golden), load_modelscope(nodes, golden)
            results["precision"] = [str(wan.parts[2].vae_dtype), str(wan.parts[0].model_dtype())]
            for name, official in (("Wan", wan), ("ModelScope", modelscope)):
                results[name] = {
                    "golden": golden_cases(nodes, golden, official),
                    "lengths": lengths(nodes, golden, official),
                }
            results["forms"] = laid_over(nodes, wan, base / "models")
            small["ModelScope"] = Small(lambda: nodes["LoadREM"].execute("rem_ms.pth").args, (64, 128), (64, 64))
        for name, bench in small.items():
            shared = {"cache": cache(nodes, bench), "cancel": cancel(nodes, bench), "notes": notes(nodes, bench)}
            results[name] = results.get(name, {}) | shared
    report.write_text(json.dumps(results))


def load_mini(nodes: dict[str, Any]) -> Parts:
    return nodes["LoadREM"].execute("REM-mini (bundled)").args


def cache(nodes: dict[str, Any], bench: Small) -> dict[str, Any]:
    """How often the VAE encodes, over runs that differ in prompt, frames, size and VAE."""
    import copy

    import torch
    from refereverything_pack.nodes.host.latents import LATENTS_BYTES, LatentsCache, frames_key, latents_cache

    model, clip, vae = bench.load()
    one, other = encode(nodes, clip, "the smoke"), encode(nodes, clip, "the red square")
    image = random(7, 40, 50, 3)  # two windows of five frames
    changed = image.clone()
    changed[3, 20, 25, 1] = 1.0 - changed[3, 20, 25, 1].round()
    counts = {}
    with counted(vae, "encode") as calls:

        def count(name: str, *args: Any, **settings: Any) -> Any:
            before = len(calls)
            soft = segment(nodes, model, vae, *args, **({"size": bench.size} | settings))
            counts[name] = len(calls) - before
            return soft

        count("first", one, image)
        again = count("other prompt", other, image)
        held = latents_cache(vae).size
        count("changed pixel", one, changed)
        count("other size", one, image, size=bench.other_size)
        vae.first_stage_model, network = copy.deepcopy(vae.first_stage_model), vae.first_stage_model
        next(vae.first_stage_model.parameters()).data.mul_(1.5)
        count("other network", one, image)
        vae.first_stage_model = network
    restarted, off = bench.load()[2], bench.load()[2]
    with counted(restarted, "encode") as calls:
        from_disk = segment(nodes, model, restarted, other, image, size=bench.size)
        counts["after a restart"] = len(calls)
    with counted(off, "encode") as calls:
        segment(nodes, model, off, other, image, size=bench.size, keep_windows=False)
        counts["not kept on disk"] = len(calls)
    fresh = segment(nodes, *bench.load()[::2], other, image, size=bench.size, keep_windows=False)

    small = LatentsCache((), limit=3 * 4000)
    sizes = []
    for index in range(6):
        small.put(frames_key(torch.full((1, 3, 8, 8), float(index))), torch.full((1000,), float(index)))
        small.get(frames_key(torch.zeros(1, 3, 8, 8)))  # asked for all the time, so kept
        sizes.append(small.size)
    kept = [index for index in range(6) if small.get(frames_key(torch.full((1, 3, 8, 8), float(index)))) is not None]
    small.put(b"large", torch.zeros(4000))

    reference = weakref.ref(latents_cache(vae))
    vae = count = calls = None
    gc.collect()
    return {
        "counts": counts,
        "same masks": max(difference(again, fresh), difference(again, from_disk)),
        "bytes": held,
        "limit": LATENTS_BYTES,
        "sizes": sizes,
        "kept": kept,
        "too large": small.get(b"large") is not None,
        "gone": reference() is None,
    }


def decoder(nodes: dict[str, Any], models: Path) -> dict[str, Any]:
    """A second VAE decodes, and only that; the tiny autoencoder gets latents scaled as it takes them."""
    import torch
    from refereverything_pack.nodes.host.backbone import HostBackbone
    from refereverything_pack.rem_engine import load_segmenter

    model, clip, vae = load_mini(nodes)
    conditioning, image = encode(nodes, clip, "the smoke"), random(5, *SIZE, 3)
    plain = segment(nodes, model, vae, conditioning, image, size=SIZE)
    second = load_mini(nodes)[2]
    with counted(vae, "decode") as own, counted(second, "encode") as encoded, counted(second, "decode") as decoded:
        same = segment(nodes, model, vae, conditioning, image, size=SIZE, decode_vae=second)
    results = {
        "same": difference(same, plain),
        "calls": [len(own), len(encoded), len(decoded)],
        "sentences": {},
    }
    masks = segment(nodes, model, vae, conditioning, image, size=SIZE, decoder="mask")
    alone = load_segmenter("mini", device="cpu", decoder="mask", size=SIZE, window=5, overlap=2, cuts=())
    results["mask"] = [difference(masks, alone.segment(image.numpy(), ["the smoke"]).soft[0]), difference(masks, plain)]

    import nodes as host_nodes

    other = load_mini(nodes)[2]
    with torch.no_grad():
        other.first_stage_model.decoder.conv1.bias.add_(0.5)
    calls: dict[str, Callable[[], Any]] = {
        "two decoders": lambda: HostBackbone(model, vae, second).mask_decoder(),
        "another VAE": lambda: HostBackbone(model, other).mask_decoder(),
        "pixels": lambda: HostBackbone(model, vae, host_nodes.VAELoader().load_vae("pixel_space")[0]),
    }
    if getattr(host_nodes.VAELoader, "video_taes", None):
        import comfy.taesd.taehv
        from safetensors.torch import save_file

        folder = models / "vae_approx"
        folder.mkdir(exist_ok=True)
        network = comfy.taesd.taehv.TAEHV(latent_channels=16, show_progress_bar=False)
        shapes = {name: value.shape for name, value in network.state_dict().items()}
        generator = torch.Generator().manual_seed(3)
        weights = {
            name: torch.randn(shape, generator=generator) * (shape[1:].numel() or 1) ** -0.5
            for name, shape in shapes.items()
        }
        weights["decoder.22.bias"] += 0.5  # so that the output lies within 0..1 for the most part
        network.load_state_dict(weights)
        save_file(weights, folder / "lighttaew2_1.safetensors")
        save_file({name: value.half() for name, value in weights.items()}, folder / "taehv.safetensors")
        tiny = host_nodes.VAELoader().load_vae("lighttaew2_1.safetensors")[0]
        soft = segment(nodes, model, vae, conditioning, image, size=SIZE, decode_vae=tiny)
        backbone = HostBackbone(model, vae)
        latents = backbone.encode_video(image.movedim(-1, 1) * 2 - 1)
        predicted = backbone.predict_mask_latents(latents, conditioning[0][0])
        # What it was distilled for: the latents of Wan's VAE as they are, not normalised, to RGB in 0..1.
        expected = network.decode(predicted)[0].movedim(0, 1).clamp(0, 1) * 2 - 1
        results["tiny"] = difference(soft, expected.mean(dim=1).clamp(0, 1))
        results["tiny range"] = [soft.min().item(), soft.max().item()]
        calls["hunyuan"] = lambda: HostBackbone(model, vae, host_nodes.VAELoader().load_vae("taehv.safetensors")[0])
    for name, call in calls.items():
        try:
            call()
        except ValueError as error:
            results["sentences"][name] = str(error)
    return results


def cancel(nodes: dict[str, Any], bench: Small) -> dict[str, Any]:
    """A cancel while a window is encoded ends the run at the end of that; the next run is whole."""
    import comfy.model_management as management

    model, clip, vae = bench.load()
    conditioning, image = encode(nodes, clip, "the smoke"), random(12, 40, 50, 3)
    encode_frames, held = vae.encode, []

    def encode_and_cancel(frames: Any) -> Any:
        latents = encode_frames(frames)
        held.extend((weakref.ref(frames), weakref.ref(latents)))
        management.interrupt_current_processing()
        return latents

    vae.encode = encode_and_cancel
    try:
        segment(nodes, model, vae, conditioning, image, size=bench.size)
    except management.InterruptProcessingException:
        ended = True
    else:
        ended = False
    del vae.encode
    gc.collect()
    expected = segment(nodes, *bench.load()[::2], conditioning, image, size=bench.size)
    return {
        "ended": ended,
        "windows": len(held) // 2,
        "freed": [reference() is None for reference in held],
        "next": difference(segment(nodes, model, vae, conditioning, image, size=bench.size), expected),
    }


def notes(nodes: dict[str, Any], bench: Small) -> list[str]:
    """What the node says of two prompts on a shot of two takes of six frames."""
    import torch

    model, clip, vae = bench.load()
    ramp = torch.linspace(0.0, 0.4, 64).expand(48, 64)
    takes = torch.stack([ramp, 1.0 - ramp.flip(0, 1)]).repeat_interleave(6, dim=0)
    from refereverything_pack.nodes.host import schema

    shown: list[str] = []
    modules = (sys.modules[nodes["SegmentVideo"].__module__], schema)
    kept = schema.show_text
    for module in modules:
        module.show_text = lambda text, node: shown.append(text)
    image = takes[..., None].repeat(1, 1, 1, 3)
    segment(nodes, model, vae, encode(nodes, clip, "smoke\nfire"), image, size=bench.size)
    for module in modules:
        module.show_text = kept
    return shown


if __name__ == "__main__":
    main(*(Path(argument).absolute() for argument in sys.argv[1:]))
