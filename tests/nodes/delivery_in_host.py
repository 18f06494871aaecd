"""Runs inside a ComfyUI's own Python: SaveMatte and SegmentShot write files, which the tests beside this read; writes
JSON.

    python delivery_in_host.py HOST BASE PACK REPORT SHOTS

SHOTS holds `shot.mov` and `plates/`, which are put into the host's input folder.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from host_session import sentence, start

SIZE = (40, 64)
FRAMES = 3
NAMES = "smoke\nfire-1"
PROMPTS = "smoke: the smoke | -the red star\ncircle: the orange circle"
SHOT_SETTINGS = {
    "path": "connected video", "format": "exr", "start": 1001, "colour": "straight", "fps": 24.0,
    "black": 0.0, "white": 1.0, "grow": 0, "feather": 0.0, "refine": 0, "smooth": 1,
    "height": 0, "width": 0, "window": 5, "overlap": 2,
}  # fmt: skip

Segment = Callable[..., Any]


def main(host: Path, base: Path, pack: Path, report: Path, shots: Path) -> None:
    shutil.copytree(shots, base / "input", dirs_exist_ok=True)
    nodes = start(host, base, pack)
    import torch

    with torch.inference_mode():
        model, clip, vae = nodes["LoadREM"].execute("REM-mini (bundled)").args
        conditioning = nodes["EncodeText"].execute(clip, PROMPTS).args[0]

        def segment(prefix: str, **settings: Any) -> Any:
            settings = SHOT_SETTINGS | settings
            return nodes["SegmentShot"].execute(model, vae, conditioning, filename_prefix=prefix, **settings)

        results = {
            "saved": saved(nodes),
            "names": names(nodes),
            "shots": segmented(segment, base),
            "cancelled": cancelled(nodes, segment, base),
            "full": full_disk(nodes),
            "listed": nodes["SegmentShot"].GET_NODE_INFO_V1()["input"]["required"]["path"][1]["options"],
            "valid": [nodes["SegmentShot"].validate_inputs(path) for path in ("shot.mov", None, "absent.mov", "../x")],
            "fingerprints": fingerprints(nodes, base),
            "sentences": sentences(nodes, segment),
            "devices": devices(nodes, segment),
        }
    report.write_text(json.dumps(results))


def picture() -> Any:
    """Frames [T,H,W,3] of 8-bit values."""
    import torch

    values = torch.randint(0, 256, (FRAMES, *SIZE, 3), generator=torch.Generator().manual_seed(3))
    return values.float() / 255.0


def alphas(layers: int = 2) -> Any:
    """Masks [L*T,H,W] that differ from frame to frame and layer to layer."""
    import torch

    ramp = torch.linspace(0.0, 1.0, SIZE[0] * SIZE[1]).view(1, *SIZE)
    shares = torch.linspace(0.3, 1.0, layers * FRAMES).view(-1, 1, 1)
    return ramp * shares


def save(nodes: dict[str, Any], image: Any, mask: Any, prefix: str, **settings: Any) -> Any:
    settings = {"format": "exr", "start": 1001, "colour": "straight", "fps": 23.976} | settings
    return nodes["SaveMatte"].execute(image, mask, prefix, **settings)


def saved(nodes: dict[str, Any]) -> dict[str, Any]:
    """Folder and files of each format."""
    import torch

    image, mask = picture(), alphas()
    runs = {
        "exr": {"names": NAMES, "start": 7, "padding": 6, "also": "png16"},
        "premultiplied": {"names": NAMES, "colour": "premultiplied", "exr_type": "float", "exr_linear": False},
        "prores": {"names": NAMES, "format": "prores", "also": "webm"},
        "alpha": {"format": "alpha"},
    }
    results = {name: outputs(save(nodes, image, mask, f"saved/{name}", **run)) for name, run in runs.items()}
    one, two = mask.split(FRAMES)
    results["sockets"] = outputs(save(nodes, image, one, "saved/sockets", mask_3=two[:1], names=NAMES))
    green = torch.tensor([0.0, 1.0, 0.0]).expand(2 * FRAMES, *SIZE, 3)
    results["foreground"] = outputs(save(nodes, image, mask, "saved/foreground", foreground=green, names=NAMES))
    results["again"] = outputs(save(nodes, image, mask, "saved/alpha", format="alpha", file_names=None))
    torch.save({"image": image, "mask": mask}, Path(results["exr"]["folder"]).parent / "given.pt")
    return results


def outputs(result: Any) -> dict[str, Any]:
    folder, files = result.args
    shown = result.ui
    return {"folder": folder, "files": files.splitlines(), "pictures": len(shown["images"]), "text": shown["text"]}


def names(nodes: dict[str, Any]) -> dict[str, Any]:
    """Where files go, by their prefix."""
    image, mask = picture()[:1], alphas(1)[:1]
    prefixes = ["plain", "a/b/c", "%date:yyyy-MM-dd_hh%/x_%width%x%height%", "%year%/y"]
    return {prefix: save(nodes, image, mask, prefix, format="alpha").args[0] for prefix in prefixes}


def segmented(segment: Segment, base: Path) -> dict[str, Any]:
    """SegmentShot on every kind of shot."""
    import torch
    from comfy_api.latest import InputImpl, Types
    from refereverything_pack.rem_engine.media import open_shot
    from refereverything_pack.rem_engine.pixels import unit_values

    video = base / "input" / "shot.mov"
    with open_shot(video) as shot:
        frames = torch.from_numpy(unit_values(shot.read(0, shot.frame_count)))
    components = Types.VideoComponents(images=frames, audio=None, frame_rate=Fraction(25))
    shots = {
        "path": {"path": "shot.mov", "also": "prores"},
        "file": {"video": InputImpl.VideoFromFile(str(video))},
        "bytes": {"video": InputImpl.VideoFromFile(io.BytesIO(video.read_bytes()))},
        "tensors": {"video": InputImpl.VideoFromComponents(components)},
        "plates": {"path": "plates/", "fps": 30.0, "exr_type": "float"},
        "chosen": {"path": "plates/", "frames": " 102-103", "layer": "spec"},
        "space": {"path": "plates/", "plate_space": " aces ", "exposure": 1.0, "also": "png16"},
        "one of two": {"path": "two/b.##.png", "format": "alpha"},
        "held": {"path": "holes/", "gaps": "hold", "format": "alpha"},
        "renumbered": {"path": "plates/", "frames": "102-103", "format": "alpha", "renumber": True},
        "other start": {"path": "plates/", "frames": "102-103", "format": "alpha", "start": 1, "padding": 6},
        "exclusive": {"path": "shot.mov", "format": "alpha", "combine": "exclusive"},
        "close_up": {"path": "shot.mov", "format": "alpha", "close_up": True},
        "varying": {"path": "varying.mov", "format": "prores", "sound": True},
    }
    runs = {name: outputs(segment(f"segmented/{name}", **settings)) for name, settings in shots.items()}
    for name, path in (("own", "plates/"), ("own video", "shot.mov")):
        runs[name] = outputs(segment("ReferEverything/shot", path=path, format="alpha"))
    return runs


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def cancelled(nodes: dict[str, Any], segment: Segment, base: Path) -> dict[str, Any]:
    """A cancel after the first frames are written, in both nodes."""
    import comfy.model_management as management
    from refereverything_pack.rem_engine.run.delivery import Delivery

    write = Delivery.write

    def write_and_cancel(self: Any, frame: Any) -> None:
        write(self, frame)
        if frame.index == 1:
            management.interrupt_current_processing()

    Delivery.write = write_and_cancel
    results = {}
    runs: dict[str, Callable[[str], Any]] = {
        "SaveMatte": lambda prefix: save(nodes, picture(), alphas(1), prefix, also="prores"),
        "SegmentShot": lambda prefix: segment(prefix, path="shot.mov", also="prores"),
    }
    for name, run in runs.items():
        try:
            run(f"cancelled/{name}")
        except management.InterruptProcessingException:
            results[name] = files_below(base / "output" / "cancelled" / f"{name}_00001")
    Delivery.write = write
    return results


def full_disk(nodes: dict[str, Any]) -> dict[str, Any]:
    """A disk that is full from the second frame on."""
    import errno

    from refereverything_pack.rem_engine.run import delivery

    write, count = Path.write_bytes, 0

    def write_or_not(self: Path, data: bytes) -> int:
        nonlocal count
        count += ".exr." in self.name  # a temporary one, of a name of its own
        if count > 1:
            write(self, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    delivery.Path.write_bytes = write_or_not
    try:
        save(nodes, picture(), alphas(1), "full/shot")
    except RuntimeError as error:
        sentence = str(error)
    finally:
        delivery.Path.write_bytes = write
    import folder_paths

    return {"sentence": sentence, "files": files_below(Path(folder_paths.get_output_directory()) / "full")}


def devices(nodes: dict[str, Any], segment: Segment) -> dict[str, list[str]]:
    """Where the matte stage computes, in both nodes, if the host computes on cpu:0."""
    import comfy.model_management as management
    import torch
    from refereverything_pack.rem_engine.matte import chain

    make, host_device, found = chain._Stage, management.get_torch_device, []

    def noted(settings: Any, device: Any, cuts: Any) -> Any:
        found.append(str(device))
        return make(settings, device, cuts)

    chain._Stage, management.get_torch_device = noted, lambda: torch.device("cpu", 0)
    results = {}
    runs: dict[str, Callable[[], Any]] = {
        "MaskToAlpha": lambda: nodes["MaskToAlpha"].execute(picture(), alphas(1), colour="straight"),
        "SegmentShot": lambda: segment("devices", path="shot.mov"),
    }
    for name, run in runs.items():
        found.clear()
        run()
        results[name] = sorted(set(found))
    chain._Stage, management.get_torch_device = make, host_device
    return results


def fingerprints(nodes: dict[str, Any], base: Path) -> list[bool]:
    """Whether the shot's fingerprint changes: not at all, with a frame, with another file."""
    node, plates = nodes["SegmentShot"], base / "input" / "plates"

    def now() -> Any:
        return node.fingerprint_inputs(path="plates/", model=None)

    first, again = now(), now()
    frame = sorted(plates.iterdir())[0]
    frame.write_bytes(frame.read_bytes() + b" ")
    return [again == first, now() == first, node.fingerprint_inputs(path=None) == first]


def sentences(nodes: dict[str, Any], segment: Segment) -> dict[str, str]:
    """What wrong input is answered with."""
    from comfy_api.latest import InputImpl, Types

    image, mask = picture(), alphas()
    video = InputImpl.VideoFromFile("shot.mov")
    parts = Types.VideoComponents(images=image, audio=None, frame_rate=Fraction(25))
    pictures = InputImpl.VideoFromComponents(parts)
    calls: dict[str, Callable[[], Any]] = {
        "size": lambda: save(nodes, image, mask[:, :20], "x"),
        "count": lambda: save(nodes, image, mask[:4], "x"),
        "no frames": lambda: save(nodes, image[:0], mask, "x"),
        "foreground size": lambda: save(nodes, image, mask, "x", foreground=image[:, :20]),
        "foreground count": lambda: save(nodes, image, mask, "x", foreground=image),
        "name count": lambda: save(nodes, image, mask, "x", names="smoke"),
        "name": lambda: save(nodes, image, mask, "x", names="a/b\nc"),
        "name twice": lambda: save(nodes, image, mask, "x", names="a\nA"),
        "outside": lambda: save(nodes, image, mask, "../x"),
        "absolute": lambda: save(nodes, image, mask, "/x"),
        "zero byte": lambda: save(nodes, image, mask, "a\0b"),
        "long name": lambda: save(nodes, image, mask, "n" * 300),
        "long shot": lambda: segment("n" * 300, path="shot.mov"),
        "shot with a zero byte": lambda: segment("x", path="shot\0.mov"),
        "shot of a long name": lambda: segment("x", path="n" * 300 + ".mov"),
        "null for an image": lambda: save(nodes, None, mask, "x"),
        "null for a clip": lambda: nodes["EncodeText"].execute(None, "the star"),
        "not a number": lambda: save(nodes, image, mask * float("nan"), "x"),
        "format": lambda: save(nodes, image, mask, "x", format="tiff"),
        "no shot": lambda: segment("x"),
        "two shots": lambda: segment("x", video=video, path="shot.mov"),
        "space": lambda: segment("x", path="shot.mov", plate_space="acess"),
        "space of pictures": lambda: segment("x", video=pictures, plate_space="logc3"),
        "absent": lambda: segment("x", path="absent.mov"),
        "outside shot": lambda: segment("x", path="../../shot.mov"),
    }
    return {name: sentence(call) for name, call in calls.items()}


if __name__ == "__main__":
    main(*(Path(argument).absolute() for argument in sys.argv[1:]))
