"""Runs inside a ComfyUI's own Python: presets, edge mattes, given mattes, hints, names that travel, mistakes of
widgets, corrections; writes JSON.

    python controls_in_host.py HOST BASE PACK REPORT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from corrections_in_host import corrections
from host_session import sentence, start
from node_runs import random, segment

SIZE = (48, 64)
COUNT = 5


def main(host: Path, base: Path, pack: Path, report: Path) -> None:
    nodes = start(host, base, pack)
    import torch

    with torch.inference_mode():
        results = {
            "alpha": alpha(nodes),
            "given": given(nodes),
            "hints": hints(nodes),
            "names": names(nodes, base),
            "mistakes": mistakes(nodes),
            "lines": lines(nodes),
            "corrections": corrections(nodes, base),
        }
    report.write_text(json.dumps(results))


def halves() -> Any:
    """Two layers of COUNT masks: the left half, and the right."""
    import torch

    left = (torch.arange(SIZE[1]) < SIZE[1] // 2).float().expand(COUNT, *SIZE)
    return torch.cat([left, 1.0 - left])


def matte(nodes: dict[str, Any], **widgets: Any) -> Any:
    first = {"black": 0.0, "white": 1.0, "gamma": 1.0, "grow": 0, "feather": 0.0, "invert": False, "refine": 0}
    mask = widgets.pop("mask", None)
    mask = halves() if mask is None else mask
    return nodes["MaskToAlpha"].execute(random(COUNT, *SIZE, 3), mask, "straight", **{**first, **widgets}).args


def blocked(output: Any) -> str:
    return str(getattr(output, "message", ""))


def alpha(nodes: dict[str, Any]) -> dict[str, Any]:
    import torch
    from comfy_api.latest import io
    from refereverything_pack.nodes.widgets.matte import matte_settings
    from refereverything_pack.rem_engine.matte import core_and_edge, levels
    from refereverything_pack.rem_engine.matte.settings import NEUTRAL

    soft = random(2 * COUNT, *SIZE)
    plain, edged = matte(nodes), matte(nodes, edge_mattes=90.0)
    expected = core_and_edge(halves(), 90.0)
    lines = matte(nodes, mask=soft, layers="2 | black: 0.5\nmatte | invert: on")
    widgets = {"preset": "smoke", "white": 0.8, "refine": 0, "edges": "auto", "smooth": 0, "grow": 0}
    preset = matte_settings(NEUTRAL, widgets)
    ranged = matte(nodes, mask=soft, levels={"min": 0.2, "max": 0.7, "midpoint": 0.25})[1]
    still = matte(nodes, mask=soft, black=0.3, levels={"min": 0.0, "max": 1.0, "midpoint": 0.5})[1]
    info = nodes["MaskToAlpha"].GET_NODE_INFO_V1()
    return {
        "blocked": [blocked(output) for output in plain[2:4]],
        "core": torch.equal(edged[2], expected[0::2]),
        "edge": torch.equal(edged[3], expected[1::2]),
        "inverted": torch.allclose(lines[1][:COUNT], 1.0 - soft[:COUNT]),
        "second": torch.allclose(lines[1][COUNT:], levels(soft[COUNT:], 0.5)),
        "preset": [preset.refine, preset.edges, preset.smooth, preset.white, preset.grow],
        "ranged": torch.allclose(ranged, levels(soft, 0.2, 0.7, 2.0), atol=1e-6),
        "still": torch.allclose(still, levels(soft, 0.3)),
        "knows": {name: hasattr(io, name) for name in ("Range", "Layers", "BoundingBox")},
        "outputs": info["output"],
        "inputs": {name: spec[0] for name, spec in info["input"]["optional"].items()},
        "layers": [(item["name"], list(item["image"].shape), item["mask"].mean().item()) for item in plain[4]["layers"]]
        if len(plain) > 4
        else None,
    }


def given(nodes: dict[str, Any]) -> dict[str, Any]:
    import torch

    soft = random(2 * COUNT, *SIZE)
    one, each, all_layers = random(1, *SIZE), random(COUNT, *SIZE), random(2 * COUNT, *SIZE)
    found = matte(nodes, mask=soft, include=one, hold_out=each, add=0.5 * all_layers)[1]
    expected = torch.maximum(soft * one * (1.0 - each.repeat(2, 1, 1)), 0.5 * all_layers)
    return {
        "all": torch.allclose(found, expected, atol=1e-6),
        "wrong number": sentence(lambda: matte(nodes, include=random(3, *SIZE))),
        "wrong size": sentence(lambda: matte(nodes, hold_out=random(1, 20, 20))),
        "unpainted": sentence(lambda: matte(nodes, include=torch.zeros(1, 64, 64))),
        "empty": sentence(lambda: matte(nodes, include=torch.zeros(1, *SIZE))),
    }


def hints(nodes: dict[str, Any]) -> dict[str, Any]:
    import torch

    model, clip, vae = nodes["LoadREM"].execute("REM-mini (bundled)").args
    conditioning = nodes["EncodeText"].execute(clip, "smoke: the smoke\n# the fog\nstar: the star").args[0]
    image, within = random(COUNT, *SIZE, 3), torch.zeros(1, *SIZE)
    within[:, 8:30, 10:40] = 1.0
    box = {"x": 10, "y": 8, "width": 30, "height": 22}

    def soft(**inputs: Any) -> Any:
        return segment(nodes, model, vae, conditioning, image, prompt=-1, **inputs)

    free, bound = soft(), soft(include=within)
    boxed = {form: soft(box=value) for form, value in {"one": box, "list": [box], "frames": [[box]] * COUNT}.items()}
    held = soft(hold_out=within)
    near = soft(include=within, close_up=True)
    return {
        "layers": len(free) // COUNT,
        "outside before": (free * (1.0 - within)).max().item(),
        "outside": (bound * (1.0 - within)).abs().max().item(),
        "outside close up": (near * (1.0 - within)).abs().max().item(),
        "inside": torch.equal(bound * within, free * within),
        "boxes": {form: torch.equal(masks, bound) for form, masks in boxed.items()},
        "held": (held * within).abs().max().item(),
        "no box": sentence(lambda: soft(box={"x": 1})),
        "far box": sentence(lambda: soft(box={**box, "x": 900})),
    }


def names(nodes: dict[str, Any], base: Path) -> dict[str, Any]:
    model, clip, vae = nodes["LoadREM"].execute("REM-mini (bundled)").args
    conditioning = nodes["EncodeText"].execute(clip, "smoke: the smoke\nstar: the star").args[0]
    image = random(COUNT, *SIZE, 3)
    soft = segment(nodes, model, vae, conditioning, image, prompt=-1)
    mattes = matte(nodes, mask=soft)[1]

    def saved(mask: Any, **inputs: Any) -> list[str]:
        form = {"format": "alpha", "start": 1001, "colour": "straight"}
        folder = Path(nodes["SaveMatte"].execute(image, mask, "names/shot", 24.0, **form, **inputs).args[0])
        return sorted(path.name for path in folder.iterdir() if path.is_dir())

    many = {f"mask_{number}": halves()[:COUNT] for number in range(5, 12)}
    return {
        "brought": saved(mattes),
        "written": saved(mattes, names="a\nb"),
        "twice": saved(mattes, mask_2=mattes),
        "strange": saved(mattes, mask_2=halves()),
        "many": saved(halves(), masks=many),
    }


def lines(nodes: dict[str, Any]) -> dict[str, Any]:
    layer = nodes["PromptLayer"]
    first = layer.execute("the smoke", "smoke", "the steam\n\n-the fog", "smoke", True).args[0]
    second = layer.execute("the car", "", "", "none", True, settings="grow: 2\nedge blur: 1", before=first).args[0]
    return {
        "lines": layer.execute("the lamp", "lamp", "", "none", False, before=second).args[0].splitlines(),
        "good": layer.validate_inputs("the smoke", "smoke", "the steam", "grow: 2"),
        "linked": layer.validate_inputs(None, "smoke", "", ""),
        "part": layer.validate_inputs("the smoke | -the fog", "", "", ""),
        "empty": layer.validate_inputs(" ", "smoke", "", ""),
        "setting": layer.validate_inputs("the smoke", "", "", "sharpen: 2"),
        "parted": layer.validate_inputs("the smoke", "", "the car | x", ""),
        "colon": layer.validate_inputs("a: b", "", "", ""),
        "words": layer.validate_inputs("the car: red", "", "", ""),
        "off": layer.validate_inputs("# smoke", "", "", ""),
        "minus": layer.validate_inputs("-smoke", "", "", ""),
        "time": layer.validate_inputs("the clock at 10:30", "", "", ""),
        "named": layer.validate_inputs("a: b", "smoke", "", ""),
    }


def mistakes(nodes: dict[str, Any]) -> dict[str, Any]:
    """What `validate_inputs` says."""

    def said(node: str, **widgets: Any) -> Any:
        return nodes[node].validate_inputs(**widgets)

    return {
        "prompt": said("EncodeText", text=" "),
        "without": said("EncodeText", text="-the steam"),
        "setting": said("EncodeText", text="car: the car | feather: much"),
        "good": said("EncodeText", text="car: the car | -the tree | feather: 2"),
        "linked": [said(node) for node in ("EncodeText", "SegmentVideo", "SegmentShot", "SaveMatte", "MaskToAlpha")],
        "prefix": said("SaveMatte", filename_prefix="../../x"),
        "names": said("SaveMatte", filename_prefix="a/shot", names="one two"),
        "levels": [said(node, black=0.8, white=0.2) for node in ("MaskToAlpha", "SegmentShot")],
        "lines": said("MaskToAlpha", layers="car | sharpen: 2"),
        "size": said("SegmentVideo", height=100, width=0),
        "overlap": said("SegmentVideo", window=9, overlap=8),
        "path": said("SegmentShot", path="absent.mov"),
    }


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
