"""Runs inside a ComfyUI's own Python, without a server, and writes what the nodes do there as JSON.

    python in_host.py HOST BASE PACK REPORT

The tests beside this file judge the report.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from host_session import start

PROMPTS = ["the (red:1.5) square", "smoke"]
LONG = "smoke rising from the table " * 40


def main(host: Path, base: Path, pack: Path, report: Path) -> None:
    nodes = start(host, base, pack)
    import torch

    with torch.inference_mode():
        results = {
            "schemas": {name: _schema(node) for name, node in nodes.items()},
            "backbone": _backbone(nodes),
            "text": _text(nodes),
            "segment": _segment(nodes),
            "alpha": _alpha(nodes),
            "checkpoint": _checkpoint(nodes, base / "models" / "rem"),
            "sentences": _sentences(nodes, base / "models" / "rem"),
        }
    report.write_text(json.dumps(results))


def _schema(node: Any) -> dict[str, Any]:
    info = node.GET_NODE_INFO_V1()
    inputs = info["input"]["required"] | info["input"].get("optional", {})
    options = {name: (spec[1] if len(spec) > 1 else {}) for name, spec in inputs.items()}
    return {
        "category": info["category"],
        "outputs": info["output"],
        "optional": list(info["input"].get("optional", {})),
        "types": {name: spec[0] for name, spec in inputs.items()},
        "without_tooltip": [name for name, option in options.items() if not option.get("tooltip")],
        "advanced": [name for name, option in options.items() if option.get("advanced")],
        # The front end gives these a control that changes them after every run.
        "controlled": [
            name
            for name, option in options.items()
            if option.get("control_after_generate", name in ("seed", "noise_seed"))
        ],
        "output_tooltips": info["output_tooltips"],
    }


def _engine() -> Any:
    from refereverything_pack.rem_engine import load_segmenter

    return load_segmenter("mini", device="cpu", dtype="float32").backbone


def _load(nodes: dict[str, Any], checkpoint: str = "REM-mini (bundled)", **sockets: Any) -> tuple[Any, Any, Any]:
    return nodes["LoadREM"].execute(checkpoint, **sockets).args


def _mini_weights() -> dict[str, Any]:
    from refereverything_pack.rem_engine.checkpoints import read_state_dict, to_original
    from refereverything_pack.rem_engine.load import MINI_FOLDER

    return to_original(read_state_dict(MINI_FOLDER / "transformer"))


def _random(*shape: int) -> Any:
    import torch

    return torch.rand(*shape, generator=torch.Generator().manual_seed(7))


def _difference(a: Any, b: Any) -> float:
    return (a - b).abs().max().item()


def _backbone(nodes: dict[str, Any]) -> dict[str, Any]:
    """The host's classes against diffusers', on the same weights and tensors."""
    import torch
    from refereverything_pack.nodes.host import Card, HostBackbone
    from refereverything_pack.rem_engine.wan import WanBackbone

    model, _, vae = _load(nodes)
    wan = {name: parameter.default for name, parameter in inspect.signature(WanBackbone).parameters.items()}
    engine, host = _engine(), HostBackbone(model, vae)
    latent_format = model.get_model_object("latent_format")
    frames = _random(9, 3, 64, 96) * 2 - 1
    embeds = torch.stack([engine.encode_text(prompt) for prompt in PROMPTS])
    latents = engine.encode_video(frames)
    host_latents = latent_format.process_out(latents)
    predicted = engine.predict_mask_latents(latents, embeds)
    host_predicted = host.predict_mask_latents(host_latents, embeds)
    single = torch.cat([host.predict_mask_latents(host_latents, one) for one in embeds.split(1)])
    return {
        "encode": _difference(latents, latent_format.process_in(host.encode_video(frames))),
        "predict": _difference(predicted, latent_format.process_in(host_predicted)),
        "batch": _difference(host_predicted, single),
        "decode": _difference(
            engine.decode_masks(predicted[:1]), host.decode_masks(latent_format.process_out(predicted[:1]))
        ),
        "defaults_equal": all(
            getattr(engine, name) == getattr(host, name)
            for name in ("name", "default_size", "default_window", "default_overlap", "paper_windows", "size_multiple")
        ),
        "wan_defaults_equal": Card()
        == Card(wan["name"], wan["default_size"], wan["default_window"], wan["default_overlap"]),
        "padding_equal": all(engine.pad_frame_count(n) == host.pad_frame_count(n) for n in range(1, 80)),
        "patched_original": "model_sampling" in model.object_patches,
    }


def _text(nodes: dict[str, Any]) -> dict[str, Any]:
    from refereverything_pack.nodes import encode_text

    shown: list[str] = []
    encode_text.show_text = lambda text, node: shown.append(text)
    clip = _load(nodes)[1]
    engine = _engine()
    entries = nodes["EncodeText"].execute(clip, f"\n  {PROMPTS[0]} \n\n{PROMPTS[1]}\n").args[0]
    long = nodes["EncodeText"].execute(clip, LONG).args[0]
    return {
        "entries": len(entries),
        "shapes": [list(entry[0].shape) for entry in entries],
        "difference": [
            _difference(entry[0][0], engine.encode_text(prompt)) for entry, prompt in zip(entries, PROMPTS, strict=True)
        ],
        "long_difference": _difference(long[0][0][0], engine.encode_text(LONG)),
        "shown": shown,
        "labels": encode_text.read_prompts(entries)[0],
        "foreign_label": encode_text.read_prompts([[entries[0][0], {}]])[0],
        "cropped": _difference(
            encode_text.read_prompts([[_padded(entries[0][0]), {}]])[1][0], engine.encode_text(PROMPTS[0])
        ),
    }


def _padded(rows: Any) -> Any:
    """As the host's own text node gives it: 512 rows."""
    import torch

    return torch.cat([rows, rows.new_zeros(1, 512 - rows.shape[1], rows.shape[2])], dim=1)


def _segment(nodes: dict[str, Any]) -> dict[str, Any]:
    from refereverything_pack.rem_engine import Segmenter, SegmentSettings

    model, clip, vae = _load(nodes)
    conditioning = nodes["EncodeText"].execute(clip, "\n".join(PROMPTS)).args[0]
    frames = _random(7, 40, 50, 3)
    reference = Segmenter(_engine(), SegmentSettings("shot", (32, 48), 5, 2)).segment(frames, PROMPTS).soft

    def run(image: Any, prompt: int) -> Any:
        return nodes["SegmentVideo"].execute(
            model, vae, conditioning, image, prompt, 0.5, "shot", height=32, width=48, window=5, overlap=2
        )

    union, second = run(frames, 0), run(frames, 2)
    from_four_channels = run(_random(7, 40, 50, 4), 2)
    return {
        "shapes": [list(value.shape) for value in union.args],
        "four_channels": [list(value.shape) for value in from_four_channels.args],
        "one_frame": [list(value.shape) for value in run(frames[:1], 1).args],
        "union": _difference(union.args[0], reference.amax(dim=0).clamp(0, 1)),
        "second": _difference(second.args[0], reference[1].clamp(0, 1)),
        "binary": bool(((second.args[0] > 0.5).float() == second.args[1]).all()),
        "preview_images": len(union.ui.as_dict()["images"]),
        "overlay_range": [union.args[2].min().item(), union.args[2].max().item()],
    }


def _alpha(nodes: dict[str, Any]) -> dict[str, Any]:
    import torch

    image = _random(3, 20, 30, 3)
    mask = torch.zeros(3, 20, 30)
    mask[:, 8:12, 10:20] = 1.0

    def run(masks: Any, **changes: Any) -> Any:
        settings = {
            "black": 0.0,
            "white": 1.0,
            "gamma": 1.0,
            "grow": 0,
            "feather": 0.0,
            "invert": False,
            "colour": "straight",
        }
        return nodes["MaskToAlpha"].execute(image, masks, **(settings | changes)).args

    straight, alpha = run(mask)
    premultiplied, _ = run(mask * 0.5, colour="premultiplied")
    return {
        "shapes": [list(straight.shape), list(alpha.shape)],
        "unchanged": bool(torch.equal(straight[..., :3], image) and torch.equal(alpha, mask)),
        "premultiplied": _difference(premultiplied[..., :3], image * mask[..., None] * 0.5),
        "inverted": _difference(run(mask, invert=True)[1], 1.0 - mask),
        "grown_area": run(mask, grow=1)[1][0].sum().item(),
        "one_mask_for_all": bool(torch.equal(run(mask[:1])[1], mask)),
    }


def _checkpoint(nodes: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A file of whole weights, alone and over a MODEL that carries a LoRA-like patch."""
    import torch
    from refereverything_pack.nodes.host import HostBackbone
    from safetensors.torch import save_file

    changed = {name: value.float() for name, value in _mini_weights().items()}
    changed["head.head.bias"] = changed["head.head.bias"] + 1.0
    save_file(changed, folder / "changed.safetensors")

    base, clip, vae = _load(nodes)
    latents = HostBackbone(base, vae).encode_video(_random(5, 3, 32, 32) * 2 - 1)
    embeds = nodes["EncodeText"].execute(clip, "smoke").args[0][0][0]

    def predict(model: Any) -> Any:
        return HostBackbone(model, vae).predict_mask_latents(latents, embeds)

    def shift(model: Any) -> float:
        """How far `model` predicts from the base, in the normalised latents, where the bias adds as it is."""
        std = model.get_model_object("latent_format").latents_std.view(1, 16, 1, 1, 1)
        return ((predict(model) - before) / std).mean().item()

    before = predict(base)
    alone, passed_clip, passed_vae = _load(nodes, "changed.safetensors", clip=clip, vae=vae)
    patched = base.clone()
    bias = torch.full_like(base.model.diffusion_model.head.head.bias, 2.0)
    patched.add_patches({"diffusion_model.head.head.bias": ("diff", (bias,))}, 0.5)
    over = _load(nodes, "changed.safetensors", model=patched, clip=clip, vae=vae)[0]
    return {
        "passed_through": passed_clip is clip and passed_vae is vae,
        "alone": shift(alone),
        "over_patched": shift(over),
        "size_kept": HostBackbone(over, vae).default_size == HostBackbone(base, vae).default_size,
        "base_unchanged": _difference(predict(base), before),
    }


def _sentences(nodes: dict[str, Any], folder: Path) -> dict[str, str]:
    """What wrong input is answered with."""
    import torch
    from safetensors.torch import save_file

    model, clip, vae = _load(nodes)
    conditioning = nodes["EncodeText"].execute(clip, "smoke").args[0]
    frames = _random(2, 32, 32, 3)
    weights = _mini_weights()
    missing = {name: value for name, value in weights.items() if not name.startswith("blocks.0.ffn.2")}
    save_file(missing, folder / "missing.safetensors")
    save_file({"lora_A": torch.zeros(2, 2)}, folder / "other.safetensors")
    save_file(weights, folder / "whole.safetensors")

    def segment(image: Any = frames, conds: Any = conditioning, prompt: int = 0, **sockets: Any) -> None:
        sockets = {"model": model, "vae": vae} | sockets
        nodes["SegmentVideo"].execute(
            conditioning=conds, image=image, prompt=prompt, threshold=0.5, protocol="shot", height=32, width=32,
            window=5, overlap=0, **sockets,
        )  # fmt: skip

    def alpha(image: Any, mask: Any, white: float = 1.0) -> None:
        nodes["MaskToAlpha"].execute(image, mask, 0.0, white, 1.0, 0, 0.0, False, "straight")

    narrow = [[conditioning[0][0][..., :768], {}]]
    calls: dict[str, Callable[[], Any]] = {
        "no file": lambda: _load(nodes, "absent.safetensors"),
        "missing weights": lambda: _load(nodes, "missing.safetensors", clip=clip, vae=vae),
        "other weights": lambda: _load(nodes, "other.safetensors", clip=clip, vae=vae),
        "no clip": lambda: _load(nodes, "whole.safetensors", vae=vae),
        "no vae": lambda: _load(nodes, "whole.safetensors", clip=clip),
        "empty prompt": lambda: nodes["EncodeText"].execute(clip, " \n "),
        "no frames": lambda: segment(image=frames[:0]),
        "small frames": lambda: segment(image=frames[:, :8]),
        "no such prompt": lambda: segment(prompt=3),
        "other text encoder": lambda: segment(conds=narrow),
        "mask size": lambda: alpha(frames, torch.zeros(2, 32, 16)),
        "mask count": lambda: alpha(frames, torch.zeros(3, 32, 32)),
        "levels": lambda: alpha(frames, torch.zeros(2, 32, 32), white=0.0),
    }
    answers = {}
    for name, call in calls.items():
        try:
            call()
        except (ValueError, FileNotFoundError, RuntimeError) as error:
            answers[name] = f"{type(error).__name__}: {error}"
        else:
            answers[name] = "no error"
    return answers


if __name__ == "__main__":
    main(*(Path(argument).absolute() for argument in sys.argv[1:5]))
