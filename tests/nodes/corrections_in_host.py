"""What controls_in_host.py asks of Correct Mask and Paint Key Mask, inside a ComfyUI's own Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from host_session import sentence

COUNT, SIZE = 12, (48, 64)
FIXED = 4  # frame, from 1


def corrections(nodes: dict[str, Any], base: Path) -> dict[str, Any]:
    return followed(nodes, base) | {"mistakes": mistakes(nodes, base), "painted": painted(nodes, base)}


def disc(frame: int) -> Any:
    """A disc that moves to the right, where it is at a frame, [H,W]."""
    import torch

    rows, columns = torch.meshgrid(*map(torch.arange, SIZE), indexing="ij")
    return ((rows - 24) ** 2 + (columns - 14 - 3 * frame) ** 2 <= 81).float()


def shot() -> tuple[Any, Any]:
    """Pictures of it over another texture, and where it is."""
    import torch

    draw = torch.Generator().manual_seed(3)
    ground = torch.rand(*SIZE, 3, generator=draw) * 0.4
    skin = 0.6 + torch.rand(*SIZE, 3, generator=draw) * 0.4
    truth = torch.stack([disc(frame) for frame in range(1, COUNT + 1)])
    moved = [torch.roll(skin, 3 * frame, dims=1) for frame in range(1, COUNT + 1)]
    pictures = [torch.lerp(ground, own, mask[..., None]) for own, mask in zip(moved, truth)]
    return torch.stack(pictures), truth


def correct(nodes: dict[str, Any], mask: Any, keys: Any = None, **given: Any) -> Any:
    widgets = {"layer": 1, "frames": "", "folder": "", "suggest": 2, "filename_prefix": "keys/of", **given}
    image = widgets.pop("image", None)
    return nodes["CorrectMask"].execute(shot()[0] if image is None else image, mask, keys=keys, **widgets).args


def followed(nodes: dict[str, Any], base: Path) -> dict[str, Any]:
    import numpy as np
    import torch
    from node_runs import counted_class, random
    from PIL import Image
    from refereverything_pack.rem_engine.correct import ShotMotion

    _, truth = shot()
    nothing, other = torch.zeros_like(truth), random(COUNT, *SIZE)
    key = truth[FIXED - 1 : FIXED]
    with counted_class(ShotMotion, "_find") as searches:
        before = correct(nodes, nothing)
        once = correct(nodes, nothing, {"key_1": key}, frames=str(FIXED))
        searched = len(searches)
    layered = correct(nodes, torch.cat([other, nothing]), {"key_1": key}, frames=str(FIXED), layer=2)[0]
    folder = base / "input" / "roto"
    folder.mkdir(parents=True)
    Image.fromarray((key[0].numpy() * 255).astype(np.uint8)).save(folder / f"star.{FIXED:04}.png")
    of_folder = correct(nodes, nothing, folder="roto")
    kept = Path(once[4])
    held = correct(nodes, nothing, {"key_1": key}, frames=str(FIXED), hold_out=disc(FIXED + 2)[None])[0]
    empty = correct(nodes, truth, {"key_1": torch.zeros(1, *SIZE)}, frames=str(FIXED))[0]
    rest = [place for place in range(COUNT) if place != FIXED - 1]
    both = ((once[0] > 0.5) & (truth > 0.5))[rest].sum() / ((once[0] > 0.5) | (truth > 0.5))[rest].sum()
    return {
        "as they came": torch.equal(before[0], nothing) and before[4] == "",
        "J": float(both),
        "exact": torch.equal(once[0][FIXED - 1], key[0]),
        "searched": searched,
        "layers": torch.equal(layered[:COUNT], other) and torch.equal(layered[COUNT:], once[0]),
        "folder": torch.equal(of_folder[0], once[0]),
        "kept": sorted(file.name for file in kept.iterdir()),
        "kept is key": bool((np.asarray(Image.open(kept / f"key.{1000 + FIXED}.png")) / 65535 == key[0].numpy()).all()),
        "kept once": of_folder[4] == once[4],
        "kept again": torch.equal(correct(nodes, nothing, folder=f"keys/{kept.name}")[0], once[0]),
        "held out": float(held[FIXED + 1][disc(FIXED + 2) > 0].max()),
        "nothing there": float(empty.mean()) / float(truth.mean()),
        "to fix": [int(line) for line in once[1].splitlines()],
        "pictures to fix": torch.equal(once[2], shot()[0][[int(line) - 1 for line in once[1].splitlines()]]),
        "masks to fix": torch.equal(once[3], once[0][[int(line) - 1 for line in once[1].splitlines()]]),
    }


def mistakes(nodes: dict[str, Any], base: Path) -> dict[str, str]:
    import comfy.model_management
    import torch

    _, truth = shot()
    key = truth[:1]

    def told(keys: Any = None, **given: Any) -> str:
        return sentence(lambda: correct(nodes, truth, keys, **given))

    def stopped() -> bool:
        comfy.model_management.interrupt_current_processing(True)
        try:
            correct(nodes, truth, {"key_1": key}, frames="1")
        except comfy.model_management.InterruptProcessingException:
            return True
        finally:
            comfy.model_management.interrupt_current_processing(False)
        return False

    return {
        "size": told({"key_1": torch.zeros(1, 20, 20)}, frames="1"),
        "outside": told({"key_1": key}, frames="13"),
        "twice": told({"key_1": key, "key_2": key}, frames="2, 2"),
        "all layers": told({"key_1": truth[:2]}, frames="2"),
        "unpainted": told({"key_1": torch.zeros(1, 64, 64)}, frames="2"),
        "no number": told({"key_1": key}),
        "no such number": str(nodes["CorrectMask"].validate_inputs(frames="two")),
        "layer": told({"key_1": key}, frames="1", layer=2),
        "outer folder": str(nodes["CorrectMask"].validate_inputs(folder="../secret")),
        "no folder": str(nodes["CorrectMask"].validate_inputs(folder="none")),
        "stopped": str(stopped()),
    }


def painted(nodes: dict[str, Any], base: Path) -> dict[str, Any]:
    import numpy as np
    import torch
    from PIL import Image

    image, truth = shot()

    def paint(frame: int, file: str = "") -> Any:
        return nodes["PaintKeyMask"].execute(image, frame, file, truth)

    output = paint(FIXED)
    (shown,) = output.ui.as_dict()["images"]
    file = base / "temp" / shown["subfolder"] / shown["filename"]
    pixels = np.array(Image.open(file))
    of_frame = np.abs(pixels[..., 3] / 255 - 1 + truth[FIXED - 1].numpy()).max()
    pixels[..., 3] = 255 - 255 * disc(FIXED + 1).numpy()  # as the mask editor saves it
    Image.fromarray(pixels).save(base / "input" / "painted.png")
    Image.fromarray(pixels[..., :3]).save(base / "input" / "plain.png")
    large = base / "input" / "damaged.png"  # of several chunks, of which the last one loses its name
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 4), np.uint8)).save(large)
    head, _, tail = large.read_bytes().rpartition(b"IDAT")
    large.write_bytes(head + b"\0DAT" + tail)
    key = paint(FIXED, "painted.png [input]").args[0]
    taken = correct(nodes, truth, {"key_1": key, "key_2": output.args[0]})[0]
    return {
        "before": list(output.args[0].shape),
        "shows": float(of_frame),
        "key": torch.equal(key[0], disc(FIXED + 1)),
        "taken": torch.equal(taken[FIXED - 1], disc(FIXED + 1)),
        "other frame": sentence(lambda: paint(FIXED + 3, "painted.png [input]")),
        "no mask": sentence(lambda: paint(FIXED, "plain.png [input]")),
        "damaged": sentence(lambda: paint(FIXED, "damaged.png [input]")),
        "gone": sentence(lambda: paint(FIXED, "none.png [input]")),
    }
