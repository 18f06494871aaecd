"""Runs inside a ComfyUI's own Python: IMAGE and MASK of every kind that graphs bring, through the nodes that take them;
writes JSON.

    python inputs_in_host.py HOST BASE PACK REPORT

The tests beside this file judge the report.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from host_session import sentence, start
from node_runs import difference, encode, random
from node_runs import segment as segment_video

FRAMES, SIZE = 3, (24, 32)
SIZE_SEEN = (32, 32)


def main(host: Path, base: Path, pack: Path, report: Path) -> None:
    nodes = start(host, base, pack)
    import torch

    image = torch.round(random(FRAMES, *SIZE, 3) * 255) / 255
    mask = torch.round(random(FRAMES, *SIZE) * 255) / 255
    given_images, given_masks = images(image), masks(mask)  # of which some require gradients
    with torch.inference_mode():
        results = {
            "images": {name: rgba(nodes, given, mask, wanted) for name, (given, wanted) in given_images.items()},
            "masks": {name: alpha(nodes, image, given, wanted) for name, (given, wanted) in given_masks.items()},
            "saved": {name: saved(nodes, image, given, wanted) for name, (given, wanted) in given_masks.items()},
            "segmented": segmented(nodes, given_images),
            "sentences": sentences(nodes, image, mask, base),
        }
    report.write_text(json.dumps(results))


def images(image: Any) -> dict[str, tuple[Any, Any]]:
    """IMAGEs, and the RGB pictures that each stands for."""
    import torch

    grey = image[..., :1].expand(-1, -1, -1, 3)
    return {
        "float32": (image, image),
        "half": (image.half(), image.half().float()),
        "bfloat16": (image.bfloat16(), image.bfloat16().float()),
        "double": (image.double(), image),
        "uint8": ((image * 255).round().byte(), image),
        "uint16": ((image * 65535).round().to(torch.uint16), image),
        "non-contiguous": (image.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0), image),
        "with gradient": (image.clone().requires_grad_(), image),
        "RGBA": (torch.cat([image, image[..., :1] * 0], dim=-1), image),
        "[H,W,C]": (image[0], image[:1]),
        "[T,H,W,1]": (image[..., :1], grey),
        "[T,H,W]": (image[..., 0], grey),
        "overshoot": (image * 1.07 - 0.02, (image * 1.07 - 0.02).clamp(0, 1)),
    }


def masks(mask: Any) -> dict[str, tuple[Any, Any]]:
    """MASKs, and the masks [T,H,W] that each stands for."""
    import torch

    solid = (mask > 0.5).float()
    one = mask[:1].expand(FRAMES, -1, -1)
    return {
        "float32": (mask, mask),
        "half": (mask.half(), mask.half().float()),
        "bfloat16": (mask.bfloat16(), mask.bfloat16().float()),
        "double": (mask.double(), mask),
        "uint8": ((mask * 255).round().byte(), mask),
        "uint16": ((mask * 65535).round().to(torch.uint16), mask),
        "dark uint8": ((mask * 100).byte(), (mask * 100).byte() / 255),
        "bool": (mask > 0.5, solid),
        "floats of 8 bits": (mask.to(torch.float8_e4m3fn), mask.to(torch.float8_e4m3fn).float()),
        "0 and 1 of int64": ((mask > 0.5).long(), solid),
        "0 and 1 of uint8": ((mask > 0.5).byte(), solid),
        "non-contiguous": (mask.permute(2, 1, 0).contiguous().permute(2, 1, 0), mask),
        "with gradient": (mask.clone().requires_grad_(), mask),
        "[H,W]": (mask[0], one),
        "[1,H,W]": (mask[:1], one),
        "[T,H,W,1]": (mask[..., None], mask),
        "[T,1,H,W]": (mask[:, None], mask),
        "[1,1,H,W]": (mask[:1, None], one),
        "overshoot": (mask * 1.07 - 0.02, (mask * 1.07 - 0.02).clamp(0, 1)),
    }


def rgba(nodes: dict[str, Any], image: Any, mask: Any, wanted: Any) -> list[Any]:
    """Mask to Alpha's type and difference to the pictures."""
    found = nodes["MaskToAlpha"].execute(image, mask[: len(wanted)], "straight").args[0]
    return [str(found.dtype), found.requires_grad, difference(found[..., :3], wanted)]


def alpha(nodes: dict[str, Any], image: Any, mask: Any, wanted: Any) -> list[Any]:
    """Mask to Alpha's type and difference to the masks."""
    found = nodes["MaskToAlpha"].execute(image, mask, "straight").args[1]
    return [str(found.dtype), found.requires_grad, difference(found, wanted)]


def save(nodes: dict[str, Any], image: Any, mask: Any, **optional: Any) -> Path:
    settings = {"format": "alpha", "start": 1001, "colour": "straight", "fps": 24.0}
    return Path(nodes["SaveMatte"].execute(image, mask, "inputs/shot", **settings, **optional).args[0])


def saved(nodes: dict[str, Any], image: Any, mask: Any, wanted: Any) -> float:
    """The difference of Save Matte's files to the masks."""
    import numpy as np
    import torch
    from PIL import Image

    files = sorted((save(nodes, image, mask) / "matte" / "alpha").iterdir())
    found = np.stack([np.asarray(Image.open(file)) for file in files]) / 65535.0
    return difference(torch.from_numpy(found), wanted)


def segmented(nodes: dict[str, Any], given_images: dict[str, Any]) -> dict[str, float]:
    """Segment Video's masks of IMAGEs against those of the same in float32."""
    model, clip, vae = nodes["LoadREM"].execute("REM-mini (bundled)").args
    conditioning = encode(nodes, clip, "smoke")

    def soft(given: Any) -> Any:
        return segment_video(nodes, model, vae, conditioning, given, size=SIZE_SEEN)

    return {
        name: difference(soft(given), soft(wanted))
        for name, (given, wanted) in given_images.items()
        if name in ("half", "bfloat16", "uint8", "with gradient", "RGBA", "[H,W,C]", "[T,H,W]", "overshoot")
    }


def sentences(nodes: dict[str, Any], image: Any, mask: Any, base: Path) -> dict[str, Any]:
    """What IMAGEs and MASKs that mean something else are answered with, by every node; and that nothing is written."""
    import torch

    model, clip, vae = nodes["LoadREM"].execute("REM-mini (bundled)").args
    conditioning = encode(nodes, clip, "smoke")
    nan = image.clone()
    nan[1, 2, 3, 0] = float("nan")
    wrong_images = {
        "0..255": image * 255,
        "-1..1": image * 2 - 1,
        "-1..1 of half": (image * 2 - 1).half(),
        "0..255 from the second frame on": image * torch.tensor([0.0, 255.0, 255.0]).view(-1, 1, 1, 1),
        "NaN": nan,
        "int64": (image * 255).long(),
        "two channels": image[..., :2],
        "no frames": image[:0],
        "list": [image],
    }
    wrong_masks = {
        "0..255": mask * 255,
        "-1..1": mask * 2 - 1,
        "NaN": mask / mask.floor(),
        "label map": (mask * 2.9).byte(),
        "label map of floats": (mask * 2.9).floor(),
        "int64": (mask * 255).long(),
        "[T,H,W,3]": mask[..., None].expand(-1, -1, -1, 3),
        "other size": mask[:, :16],
        "other count": mask[:2],
        "list": [mask],
    }
    takers: dict[str, Callable[[Any], Any]] = {
        "SegmentVideo": lambda given: segment_video(nodes, model, vae, conditioning, given, size=SIZE_SEEN),
        "MaskToAlpha": lambda given: nodes["MaskToAlpha"].execute(given, mask, "straight"),
        "SaveMatte": lambda given: save(nodes, given, mask),
        "foreground": lambda given: save(nodes, image, mask, foreground=given),
    }
    mask_takers: dict[str, Callable[[Any], Any]] = {
        "MaskToAlpha": lambda given: nodes["MaskToAlpha"].execute(image, given, "straight"),
        "SaveMatte": lambda given: save(nodes, image, given),
        "mask_3": lambda given: save(nodes, image, mask, mask_3=given),
    }
    before = written(base)
    found = {
        "images": {
            name: {node: sentence(lambda take=take, given=given: take(given)) for node, take in takers.items()}
            for name, given in wrong_images.items()
        },
        "masks": {
            name: {node: sentence(lambda take=take, given=given: take(given)) for node, take in mask_takers.items()}
            for name, given in wrong_masks.items()
        },
    }
    return {**found, "written": sorted(written(base) - before)}


def written(base: Path) -> set[str]:
    return {str(path) for path in (base / "output").rglob("*")}


if __name__ == "__main__":
    main(*(Path(argument).absolute() for argument in sys.argv[1:]))
