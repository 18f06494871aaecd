"""Runs inside a ComfyUI's own Python: REM on ModelScope through LoadREM, EncodeText and SegmentVideo; writes JSON.

    python modelscope_in_host.py HOST BASE PACK REPORT GOLDEN

The tests beside this file judge the report.
"""

from __future__ import annotations

import gc
import json
import shutil
import sys
import weakref
from pathlib import Path
from typing import Any

from host_session import sentence, start
from node_runs import difference, encode, golden_frames

PROMPTS = ("the red square moving right", "smoke rising from the table")
COUNT, SIZE, WINDOW = 5, (64, 128), 2
SEED = 7
RANK = 4


def main(host: Path, base: Path, pack: Path, report: Path, golden: Path) -> None:
    nodes = start(host, base, pack)
    import torch

    models = base / "models"
    shutil.copy(golden / "modelscope" / "rem_ms.pth", models / "rem" / "rem_ms.pth")
    results: dict[str, Any] = {"without base": sentence(lambda: nodes["LoadREM"].execute("rem_ms.pth"))}
    shutil.copytree(golden / "modelscope" / "base", models / "diffusers" / "text-to-video-ms-1.7b")
    with torch.inference_mode():
        parts = nodes["LoadREM"].execute("rem_ms.pth").args
        frames = golden_frames(golden, COUNT)
        results["broken"] = contract(nodes, parts)
        results["types"] = [f"{type(part).__module__}.{type(part).__name__}" for part in parts]
        results["difference"] = {
            protocol: differences(nodes, parts, frames, golden, protocol) for protocol in ("shot", "paper")
        }
        results["seed"] = differences(nodes, parts, frames, golden, "shot", seed=SEED)
        results["seeds differ"] = difference(*(segment(nodes, parts, frames, "shot", seed=seed) for seed in (0, SEED)))
        results["model_state"] = model_state(nodes, models, golden, parts)
        results["precision"] = precision(nodes, models, golden)
        results["changes"] = changes(nodes, models, golden, parts[0])
        results["cancel"] = cancel(nodes, parts, frames)
        results["memory"] = memory(nodes, parts, frames)
        results["sentences"] = sentences(nodes, parts, frames)
        del parts
        results["let go"] = let_go(nodes, frames)
    report.write_text(json.dumps(results))


def segment(
    nodes: dict[str, Any], parts: tuple[Any, Any, Any], frames: Any, protocol: str, prompt: int = 1, seed: int = 0
) -> Any:
    """SegmentVideo's soft mask of a prompt."""
    model, clip, vae = parts
    conditioning = encode(nodes, clip, "\n".join(PROMPTS))
    overlap = 1 if protocol == "shot" else 0
    run = nodes["SegmentVideo"].execute(
        model, vae, conditioning, frames, prompt, 0.5,
        protocol=protocol, height=SIZE[0], width=SIZE[1], window=WINDOW, overlap=overlap, seed=seed,
    )  # fmt: skip
    return run.args[0]


def contract(nodes: dict[str, Any], parts: tuple[Any, Any, Any]) -> list[str]:
    """The promises of a backbone that the host's breaks."""
    from backbone_contract import broken
    from refereverything_pack.nodes.host.conditioning import read_layers
    from refereverything_pack.nodes.host.open_backbone import host_backbone

    model, clip, vae = parts
    backbone = host_backbone(model, vae)
    return broken(backbone, read_layers(encode(nodes, clip, "\n".join(PROMPTS)), backbone.family.text_width)[1])


def engine(golden: Path, protocol: str = "shot", checkpoint: Path | None = None, **settings: Any) -> Any:
    from refereverything_pack.rem_engine import load_segmenter

    return load_segmenter(
        golden / "modelscope" / "base",
        checkpoint=checkpoint or golden / "modelscope" / "rem_ms.pth",
        protocol=protocol,
        size=SIZE,
        window=WINDOW,
        overlap=1 if protocol == "shot" else None,
        device="cpu",
        **settings,
    )


def differences(
    nodes: dict[str, Any], parts: Any, frames: Any, golden: Path, protocol: str, seed: int = 0
) -> list[float]:
    """The largest difference to the engine alone, of every prompt's soft mask as the node clips it."""
    soft = engine(golden, protocol, seed=seed).segment(frames, PROMPTS).soft.clamp(0.0, 1.0)
    found = [segment(nodes, parts, frames, protocol, number + 1, seed) for number in range(len(PROMPTS))]
    return [difference(mask, expected) for mask, expected in zip(found, soft)]


def converted(golden: Path, out: Path, *options: Any) -> str:
    """The name of a file that `convert` makes of the official one."""
    from refereverything_pack.rem_engine.commands.cli import main as command_line

    arguments = [golden / "modelscope" / "rem_ms.pth", "-o", out, *options]
    assert command_line(["convert", *map(str, arguments)]) == 0
    return out.name


def weights_of(model: Any) -> dict[str, Any]:
    """What the host would run a MODEL with."""
    import comfy.model_management as management

    management.load_models_gpu([model], force_full_load=True)
    return {name.removeprefix("diffusion_model."): value.clone() for name, value in model.model.state_dict().items()}


def largest_difference(weights: dict[str, Any], expected: dict[str, Any]) -> float:
    assert weights.keys() == expected.keys()
    return max(difference(value.float(), expected[name].float()) for name, value in weights.items())


def model_state(nodes: dict[str, Any], models: Path, golden: Path, official: Any) -> list[float]:
    """A checkpoint of the form `model_state`, with a VAE of its own: how far UNet and VAE are from what it holds."""
    import torch
    from refereverything_pack.rem_engine.checkpoints import read_state_dict

    vae = {
        name: value.float() + 0.01 for name, value in read_state_dict(golden / "modelscope" / "base" / "vae").items()
    }
    unet = read_state_dict(golden / "modelscope" / "rem_ms.pth")
    state = {f"backbone.unet.{name}": value for name, value in unet.items()}
    state |= {f"backbone.vae.{name}": value for name, value in vae.items()}
    torch.save({"model_state": state, "epoch": 1}, models / "rem" / "model_state.pth")
    model, _, loaded = nodes["LoadREM"].execute("model_state.pth").args
    of_folder = official[2].first_stage_model.state_dict()
    moved = largest_difference(loaded.first_stage_model.state_dict(), of_folder)
    return [largest_difference(weights_of(model), unet), abs(moved - 0.01)]


def precision(nodes: dict[str, Any], models: Path, golden: Path) -> dict[str, str]:
    """What the UNet computes in, by what it is stored in: here, and on a device that the host takes 16 bits for."""
    import comfy.model_management as management
    import torch

    found = {}
    kept = management.should_use_fp16, management.should_use_bf16
    for dtype in ("float32", "float16", "bfloat16"):
        name = converted(golden, models / "rem" / f"{dtype}.safetensors", "--dtype", dtype)
        for where, sixteen_bits in (("CPU", None), ("GPU", lambda *_, **__: True)):
            if sixteen_bits:
                management.should_use_fp16 = management.should_use_bf16 = sixteen_bits
            model = nodes["LoadREM"].execute(name).args[0]
            management.should_use_fp16, management.should_use_bf16 = kept
            (kinds,) = {value.dtype for value in model.model.state_dict().values()}
            found[f"{dtype} on a {where}"] = str(kinds)
    assert torch.get_default_dtype() == torch.float32
    return found


def changes(nodes: dict[str, Any], models: Path, golden: Path, rem: Any) -> dict[str, Any]:
    """A delta and a LoRA, by LoadREM and by the host's own loader over a MODEL of the base alone: how far the weights
    are from those expected."""
    import nodes as host_nodes

    unet = golden / "modelscope" / "base" / "unet"
    folder = models / "rem"
    delta = converted(golden, folder / "delta.safetensors", "--as", "delta", "--base", unet)
    lora = converted(golden, folder / "lora.safetensors", "--as", "lora", "--base", unet, "--rank", RANK)
    shutil.copytree(folder, models / "loras", dirs_exist_ok=True)
    shutil.copy(unet / "diffusion_pytorch_model.safetensors", folder / "base.safetensors")

    def load(name: str, **options: Any) -> Any:
        return nodes["LoadREM"].execute(name, **options).args[0]

    def stock(model: Any, name: str, strength: float) -> Any:
        return host_nodes.LoraLoaderModelOnly().load_lora_model_only(model, name, strength)[0]

    def of_engine(name: str, strength: float) -> dict[str, Any]:
        backbone = engine(golden, checkpoint=folder / name, strength=strength).backbone
        return backbone.denoiser.unet.state_dict()

    whole, base = weights_of(rem), load("base.safetensors")
    of_base = weights_of(base)
    return {
        "base": largest_difference(of_base, whole),
        "delta": largest_difference(weights_of(load(delta)), whole),
        "half a LoRA": largest_difference(weights_of(load(lora, strength=0.5)), of_engine(lora, 0.5)),
        "LoRA less REM": largest_difference(of_engine(lora, 1.0), whole),
        "stock delta": largest_difference(weights_of(stock(base, delta, 1.0)), whole),
        "half a stock LoRA": largest_difference(weights_of(stock(base, lora, 0.5)), of_engine(lora, 0.5)),
        "base afterwards": largest_difference(weights_of(base), of_base),
        "sampler": sentence(lambda: sample(host_nodes, rem)),
        "FreeU": sentence(lambda: free_u(rem)),
    }


def free_u(model: Any) -> None:
    from comfy_extras.nodes_freelunch import FreeU

    patch = getattr(FreeU, "execute", None) or FreeU().patch  # as later, and as earlier hosts have it
    patch(model, 1.1, 1.2, 0.9, 0.2)


def sample(host_nodes: Any, model: Any) -> None:
    import torch

    conditioning = [[torch.zeros(1, 77, 32), {}]]
    latents = {"samples": torch.zeros(1, 4, 8, 8)}
    host_nodes.KSampler().sample(model, 0, 1, 1.0, "euler", "normal", conditioning, conditioning, latents, 1.0)


def cancel(nodes: dict[str, Any], parts: Any, frames: Any) -> dict[str, Any]:
    """A cancel in the middle of a pass: whether it ends before the UNet's last layer, and the next run is whole."""
    import comfy.model_management as management

    unet = parts[0].model.diffusion_model
    expected, passes = segment(nodes, parts, frames, "paper"), []
    hooks = [
        unet.up_blocks[0].resnets[0].register_forward_pre_hook(lambda *_: management.interrupt_current_processing()),
        unet.conv_out.register_forward_pre_hook(lambda *_: passes.append(1)),
    ]
    try:
        segment(nodes, parts, frames, "paper")
    except management.InterruptProcessingException:
        ended = True
    else:
        ended = False
    finally:
        for hook in hooks:
            hook.remove()
    return {
        "ended": ended,
        "whole passes": len(passes),
        "next": difference(segment(nodes, parts, frames, "paper"), expected),
    }


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
    hook = model.model.diffusion_model.conv_out.register_forward_pre_hook(fail)
    try:
        segment(nodes, parts, frames, "paper")
    except RuntimeError as error:
        found["error"] = str(error)
    finally:
        hook.remove()
    found["after an error"] = state()
    found["works again"] = bool(segment(nodes, parts, frames, "paper").isfinite().all())
    return found


def let_go(nodes: dict[str, Any], frames: Any) -> list[bool]:
    """Whether the UNet leaves memory with its MODEL, after a run and after an error."""
    gone = []
    for failing in (False, True):
        parts = nodes["LoadREM"].execute("rem_ms.pth").args
        unet = weakref.ref(parts[0].model.diffusion_model)
        if failing:
            unet().conv_out.register_forward_pre_hook(fail)
        answer = sentence(lambda: segment(nodes, parts, frames, "paper"))  # noqa: B023  called at once
        assert answer == ("RuntimeError: no more of this" if failing else "no error"), answer
        parts = None
        free_all_memory()
        gone.append(unet() is None)
    return gone


def free_all_memory() -> None:
    """As the host does it when its models are to be unloaded."""
    import comfy.model_management as management

    management.unload_all_models()
    management.cleanup_models()
    gc.collect()
    management.soft_empty_cache()


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


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
