"""Runs inside a ComfyUI's own Python: REM on ModelScope through LoadREM, EncodeText and SegmentVideo; writes JSON.

    python modelscope_in_host.py HOST BASE PACK REPORT GOLDEN

The tests beside this file judge the report.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from host_session import start

PROMPTS = ("the red square moving right", "smoke rising from the table")
COUNT, SIZE, WINDOW = 5, (64, 128), 2


def main(host: Path, base: Path, pack: Path, report: Path, golden: Path) -> None:
    nodes = start(host, base, pack)
    import torch

    models = base / "models"
    shutil.copy(golden / "modelscope" / "rem_ms.pth", models / "rem" / "rem_ms.pth")
    results: dict[str, Any] = {"without base": sentence(lambda: nodes["LoadREM"].execute("rem_ms.pth"))}
    shutil.copytree(golden / "modelscope" / "base", models / "diffusers" / "text-to-video-ms-1.7b")
    with torch.inference_mode():
        parts = nodes["LoadREM"].execute("rem_ms.pth").args
        frames = clip_frames(golden)
        results["types"] = [f"{type(part).__module__}.{type(part).__name__}" for part in parts]
        results["difference"] = {
            protocol: differences(nodes, parts, frames, golden, protocol) for protocol in ("shot", "paper")
        }
        results["cached"] = encoded_again(nodes, parts, frames)
        results["memory"] = memory(nodes, parts, frames)
        results["sentences"] = sentences(nodes, parts, frames)
    report.write_text(json.dumps(results))


def clip_frames(golden: Path) -> Any:
    import numpy as np
    import torch
    from PIL import Image

    files = sorted((golden / "clip" / "frames").glob("*.png"))[:COUNT]
    return torch.from_numpy(np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])).float() / 255.0


def segment(nodes: dict[str, Any], parts: tuple[Any, Any, Any], frames: Any, protocol: str, prompt: int = 1) -> Any:
    """SegmentVideo's soft mask of a prompt."""
    model, clip, vae = parts
    conditioning = nodes["EncodeText"].execute(clip, "\n".join(PROMPTS)).args[0]
    run = nodes["SegmentVideo"].execute(
        model, vae, conditioning, frames, prompt, 0.5, protocol, *SIZE, WINDOW, 1 if protocol == "shot" else 0
    )
    return run.args[0]


def engine(golden: Path, protocol: str) -> Any:
    from refereverything_pack.rem_engine import load_segmenter

    base, rem = golden / "modelscope" / "base", golden / "modelscope" / "rem_ms.pth"
    overlap = 1 if protocol == "shot" else None
    return load_segmenter(
        base, checkpoint=rem, protocol=protocol, size=SIZE, window=WINDOW, overlap=overlap, device="cpu"
    )


def differences(nodes: dict[str, Any], parts: Any, frames: Any, golden: Path, protocol: str) -> list[float]:
    """The largest difference to the engine alone, of every prompt's soft mask as the node clips it, and its range."""
    soft = engine(golden, protocol).segment(frames, PROMPTS).soft.clamp(0.0, 1.0)
    found = [segment(nodes, parts, frames, protocol, number + 1) for number in range(len(PROMPTS))]
    return [(mask - expected).abs().max().item() for mask, expected in zip(found, soft)]


def encoded_again(nodes: dict[str, Any], parts: Any, frames: Any) -> int:
    """How often the VAE encodes in a run on frames it has encoded before."""
    calls, encode = [], parts[2].encode
    parts[2].encode = lambda pixels: calls.append(1) or encode(pixels)
    try:
        segment(nodes, parts, frames, "paper")
    finally:
        del parts[2].encode
    return len(calls)


def memory(nodes: dict[str, Any], parts: Any, frames: Any) -> dict[str, Any]:
    """What the host holds of the model after a run and after an error, and once it asked for all memory back."""
    import comfy.model_management as management

    model = parts[0]

    def state() -> list[bool]:
        held = any(loaded.model is model for loaded in management.current_loaded_models)
        management.free_memory(1e30, model.load_device)
        return [held, any(loaded.model is model for loaded in management.current_loaded_models)]

    segment(nodes, parts, frames, "paper")
    found = {"after a run": state()}
    hook = model.model.unet.conv_out.register_forward_pre_hook(fail)
    try:
        segment(nodes, parts, frames, "paper")
    except RuntimeError as error:
        found["error"] = str(error)
    finally:
        hook.remove()
    found["after an error"] = state()
    found["works again"] = bool(segment(nodes, parts, frames, "paper").isfinite().all())
    return found


def fail(*_: Any) -> None:
    raise RuntimeError("no more of this")


def sentences(nodes: dict[str, Any], parts: Any, frames: Any) -> dict[str, str]:
    """What wrong combinations are answered with."""
    mini = nodes["LoadREM"].execute("REM-mini (bundled)").args
    load = nodes["LoadREM"].execute
    return {
        "a MODEL beside it": sentence(lambda: load("rem_ms.pth", model=mini[0])),
        "strength": sentence(lambda: load("rem_ms.pth", strength=0.5)),
        "Wan's VAE": sentence(lambda: segment(nodes, (parts[0], parts[1], mini[2]), frames, "shot")),
        "Wan's CLIP": sentence(lambda: segment(nodes, (parts[0], mini[1], parts[2]), frames, "shot")),
        "its VAE for Wan": sentence(lambda: segment(nodes, (mini[0], mini[1], parts[2]), frames, "shot")),
    }


def sentence(call: Any) -> str:
    try:
        call()
    except (ValueError, FileNotFoundError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
