"""Runs inside a ComfyUI's own Python, without a server, and writes what the nodes do there as JSON.

    python in_host.py HOST BASE PACK REPORT

The tests beside this file judge the report.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from unittest import mock

from host_session import sentence, start

PROMPTS = ["the (red:1.5) square", "smoke"]
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
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
            "saved": _saved(nodes, pack / "tests" / "nodes" / "saved" / "every_node_api.json"),
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
        "widgets": [name for name, spec in inputs.items() if spec[0] in WIDGETS],
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
    from refereverything_pack.rem_engine.backbones.load import MINI_FOLDER
    from refereverything_pack.rem_engine.checkpoints import read_state_dict, to_original

    return to_original(read_state_dict(MINI_FOLDER / "transformer"))


def _random(*shape: int) -> Any:
    import torch

    return torch.rand(*shape, generator=torch.Generator().manual_seed(7))


def _difference(a: Any, b: Any) -> float:
    return (a - b).abs().max().item()


def _backbone(nodes: dict[str, Any]) -> dict[str, Any]:
    """The host's classes against diffusers', on the same weights and tensors."""
    import torch
    from backbone_contract import broken
    from refereverything_pack.nodes.host.backbone import Card, HostBackbone
    from refereverything_pack.rem_engine.backbones.wan import WanBackbone

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
            for name in ("name", "family", "default_size", "default_window", "default_overlap")
        ),
        "wan_defaults_equal": Card()
        == Card(wan["name"], wan["default_size"], wan["default_window"], wan["default_overlap"]),
        "broken": broken(host, embeds),
        "patched_original": "model_sampling" in model.object_patches,
    }


def _text(nodes: dict[str, Any]) -> dict[str, Any]:
    from refereverything_pack.nodes import encode_text
    from refereverything_pack.nodes.host.conditioning import read_layers
    from refereverything_pack.rem_engine.layers import layer_label

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
        "labels": [layer_label(layer) for layer in read_layers(entries)[0]],
        "foreign_label": [layer_label(layer) for layer in read_layers([[entries[0][0], {}]])[0]],
        "cropped": _difference(read_layers([[_padded(entries[0][0]), {}]])[1][0], engine.encode_text(PROMPTS[0])),
        "layers": _layers(nodes, clip, engine),
    }


def _layers(nodes: dict[str, Any], clip: Any, engine: Any) -> dict[str, Any]:
    """Named and negative prompts of two nodes and an entry of a stock one, joined by Conditioning (Combine)."""
    import torch
    from refereverything_pack.nodes.host.conditioning import read_layers
    from refereverything_pack.rem_engine.layers import texts_of

    import nodes as host_nodes

    def join(one: Any, other: Any) -> Any:
        return host_nodes.ConditioningCombine().combine(one, other)[0]

    named = nodes["EncodeText"].execute(clip, "haze: smoke | -steam\nfire\nwet: steam").args[0]
    more = nodes["EncodeText"].execute(clip, "haze: smoke | -dust").args[0]
    stock = [[_padded(named[0][0]), {"pooled_output": None}]]
    other_encoder = [[rows + 1.0, dict(extras)] for rows, extras in more]
    layers, rows = read_layers(join(join(named, stock), more))
    texts = texts_of(layers)
    expected = torch.stack([engine.encode_text("smoke" if text.startswith("prompt") else text) for text in texts])
    changed = read_layers(join(named, other_encoder))[0]
    return {
        "entries": [len(named), len(more)],
        "is_list": type(named) is list and all(type(entry) is list for entry in named),
        "found": [[layer.name, layer.text, list(layer.without)] for layer in layers],
        "rows": _difference(rows, expected),
        "part": [[layer.name, layer.text] for layer in read_layers(named[1:])[0]],
        "other_encoder": [changed[-1].text, list(changed[-1].without)],
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

    def run(image: Any, prompt: int, conds: Any = conditioning, threshold: float = 0.5, **optional: Any) -> Any:
        return nodes["SegmentVideo"].execute(
            model, vae, conds, image, prompt, threshold,
            protocol="shot", height=32, width=48, window=5, overlap=2, **optional,
        )  # fmt: skip

    union, second = run(frames, 0), run(frames, 2)
    from_four_channels = run(_random(7, 40, 50, 4), 2)
    without = nodes["EncodeText"].execute(clip, f"a: {PROMPTS[0]} | -{PROMPTS[1]}\nb: {PROMPTS[1]}").args[0]
    subtracted = run(frames, -1, without)
    level = reference.amax(dim=0).quantile(0.75).item()  # above 0, and a quarter of the pixels belong to a layer
    exclusive = run(frames, -1, threshold=level, combine="exclusive")
    return {
        "shapes": [list(value.shape) for value in union.args[:3]],
        "four_channels": [list(value.shape) for value in from_four_channels.args[:3]],
        "one_frame": [list(value.shape) for value in run(frames[:1], 1).args[:3]],
        "union": _difference(union.args[0], reference.amax(dim=0).clamp(0, 1)),
        "one_of_all": _difference(run(frames, 1, combine="union").args[0], union.args[0]),
        "second": _difference(second.args[0], reference[1].clamp(0, 1)),
        "binary": bool(((second.args[0] > 0.5).float() == second.args[1]).all()),
        "preview_images": len(union.ui["images"]),
        "overlay_range": [union.args[2].min().item(), union.args[2].max().item()],
        "names": [union.args[3], subtracted.args[3]],
        "each": _difference(run(frames, -1).args[0].view(2, 7, 40, 50), reference.clamp(0, 1)),
        "without": _difference(
            subtracted.args[0].view(2, 7, 40, 50)[0], (reference[0] * (1 - reference[1].clamp(0, 1))).clamp(0, 1)
        ),
        "exclusive": _exclusive(exclusive.args, reference, level),
    }


def _exclusive(outputs: Any, reference: Any, level: float) -> dict[str, Any]:
    """The id map, and masks that share no pixel, against the strongest of the soft masks of each pixel."""
    first, second = reference
    # Rounding may decide otherwise where values are as good as equal.
    sure = ((first - second).abs() > 1e-5) & ((reference.amax(dim=0) - level).abs() > 1e-5)
    ids = (outputs[4][..., 0] * 255.0).byte()
    expected = (reference.amax(dim=0) > level) * (1 + (second > first).int())
    masks = outputs[0].view(2, *first.shape)
    return {
        "shape": list(outputs[4].shape),
        "grey": bool((outputs[4][..., 0] == outputs[4][..., 2]).all()),
        "ids": sorted(set(ids.flatten().tolist())),
        "sure": sure.float().mean().item(),
        "wrong_ids": int(((ids != expected) & sure).sum()),
        "shared": int(((masks[0] > 0) & (masks[1] > 0)).sum()),
        "kept": _difference(masks.amax(dim=0), reference.amax(dim=0).clamp(0, 1)),
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
        return nodes["MaskToAlpha"].execute(image, masks, **(settings | changes)).args[:2]

    straight, alpha = run(mask)
    premultiplied, _ = run(mask * 0.5, colour="premultiplied")
    return {
        "shapes": [list(straight.shape), list(alpha.shape)],
        "unchanged": bool(torch.equal(straight[..., :3], image) and torch.equal(alpha, mask)),
        "premultiplied": _difference(premultiplied[..., :3], image * mask[..., None] * 0.5),
        "inverted": _difference(run(mask, invert=True)[1], 1.0 - mask),
        "grown_area": run(mask, grow=1)[1][0].sum().item(),
        "one_mask_for_all": bool(torch.equal(run(mask[:1])[1], mask)),
        "layers": _alpha_of_layers(run, mask),
        **_matte_stage(nodes),
    }


def _alpha_of_layers(run: Callable[..., Any], mask: Any) -> dict[str, Any]:
    import torch

    layers = torch.cat([mask, mask.flip(2) * 0.5])
    rgba, alpha = run(layers)
    return {"shapes": [list(rgba.shape), list(alpha.shape)], "unchanged": bool(torch.equal(alpha, layers))}


def _matte_stage(nodes: dict[str, Any]) -> dict[str, Any]:
    """Each later widget where its result is known beforehand."""
    import torch

    def run(image: Any, mask: Any, **later: Any) -> Any:
        return nodes["MaskToAlpha"].execute(image, mask, "straight", **later).args

    texture = _random(1, 64, 64, 3).expand(5, -1, -1, -1)
    square = torch.zeros(5, 64, 64)
    square[:, 16:48, 16:48] = 1.0
    holed = square.clone()
    holed[:, 30:32, 30:32] = 0.0
    holed[:, 4:6, 4:6] = 1.0
    flicker = square * torch.tensor([1.0, 0.4, 1.0, 0.4, 1.0]).view(5, 1, 1)
    red, green = torch.tensor([0.8, 0.1, 0.1]), torch.tensor([0.1, 0.8, 0.1])
    ramp = torch.linspace(0.0, 1.0, 64).expand(1, 64, 64)
    soft_edge = torch.lerp(green.expand(1, 64, 64, 3), red.expand(1, 64, 64, 3), ramp[..., None])
    half = (ramp[0] > 0.4) & (ramp[0] < 0.6)
    spill, clean = (run(soft_edge, ramp, decontaminate=on)[0][0][half][:, 1].mean().item() for on in (False, True))
    step = (torch.arange(64) >= 32).float().expand(1, 64, 64)
    blurred = ((torch.arange(64) - 26) / 12).clamp(0.0, 1.0).expand(1, 64, 64)
    refined = run(step[..., None].expand(-1, -1, -1, 3), blurred, refine=8)[1]
    return {
        "threshold": _difference(run(texture, square * 0.6, threshold=0.5, knee=0.0)[1], square),
        "regions": _difference(run(texture, holed, fill_holes=10, remove_islands=10)[1], square),
        "smoothed": run(texture, flicker, smooth=1)[1][1:4, 24:40, 24:40].mean(dim=(1, 2)).tolist(),
        "spill": [spill, clean],
        "refined": [(blurred - step).abs().mean().item(), (refined - step).abs().mean().item()],
    }


def _checkpoint(nodes: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A file of whole weights, alone and over a MODEL that carries a LoRA-like patch."""
    import torch
    from refereverything_pack.nodes.host.backbone import HostBackbone
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
        nodes["MaskToAlpha"].execute(image, mask, "straight", black=0.0, white=white)

    def prompts(text: str) -> None:
        nodes["EncodeText"].execute(clip, text)

    narrow = [[conditioning[0][0][..., :768], {}]]
    calls: dict[str, Callable[[], Any]] = {
        "no file": lambda: _load(nodes, "absent.safetensors"),
        "missing weights": lambda: _load(nodes, "missing.safetensors", clip=clip, vae=vae),
        "other weights": lambda: _load(nodes, "other.safetensors", clip=clip, vae=vae),
        "no clip": lambda: _load(nodes, "whole.safetensors", vae=vae),
        "no vae": lambda: _load(nodes, "whole.safetensors", clip=clip),
        "empty prompt": lambda: prompts(" \n "),
        "nothing left": lambda: prompts("smoke\n-the steam"),
        "name twice": lambda: prompts("a: smoke\na: fire"),
        "no such mode": lambda: segment(combine="intersection"),
        "no second union": lambda: segment(conds=conditioning * 2, prompt=2, combine="union"),
        "no frames": lambda: segment(image=frames[:0]),
        "small frames": lambda: segment(image=frames[:, :8]),
        "no such prompt": lambda: segment(prompt=3),
        "other text encoder": lambda: segment(conds=narrow),
        "mask size": lambda: alpha(frames, torch.zeros(2, 32, 16)),
        "mask count": lambda: alpha(frames, torch.zeros(3, 32, 32)),
        "levels": lambda: alpha(frames, torch.zeros(2, 32, 32), white=0.0),
    }
    return {name: sentence(call) for name, call in calls.items()}


class _Made(Exception):
    """A node has made the settings that were waited for."""


def _saved(nodes: dict[str, Any], file: Path) -> dict[str, Any]:
    """The engine's settings that nodes of a saved graph make of their widgets' values."""
    last = {
        "MaskToAlpha": "matte_settings", "SaveMatte": "delivery_settings", "SegmentVideo": None, "SegmentShot": None,
    }  # fmt: skip
    graph = json.loads(file.read_text("utf-8"))
    return {
        node["class_type"]: _settings_made(nodes[node["class_type"]], node["inputs"], last[node["class_type"]])
        for node in graph.values()
        if node["class_type"] in last
    }


def _settings_made(node: Any, inputs: dict[str, Any], last: str | None) -> dict[str, Any]:
    """Run a node, with nothing of use linked to it, until it has made the `last` settings, or a segmenter's."""
    made: dict[str, Any] = {}
    sockets = {name: mock.sentinel.socket if isinstance(value, list) else value for name, value in inputs.items()}
    module = sys.modules[node.__module__]
    segmenters = sys.modules["refereverything_pack.nodes.widgets.segment"]

    def recorded(name: str, make: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            made[name] = dataclasses.asdict(result := make(*arguments))
            if name == last:
                raise _Made
            return result

        return call

    def segmenter(backbone: Any, settings: Any) -> None:
        made["segment_settings"] = dataclasses.asdict(settings)
        raise _Made

    with ExitStack() as patches:
        for name in ("matte_settings", "delivery_settings"):
            if hasattr(module, name):
                patches.enter_context(mock.patch.object(module, name, recorded(name, getattr(module, name))))
        patches.enter_context(mock.patch.object(segmenters, "host_backbone", mock.Mock()))
        patches.enter_context(mock.patch.object(segmenters, "Segmenter", segmenter))
        patches.enter_context(suppress(_Made))
        node.execute(**sockets)
    return made


if __name__ == "__main__":
    main(*(Path(argument).absolute() for argument in sys.argv[1:5]))
