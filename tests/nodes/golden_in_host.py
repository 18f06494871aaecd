"""The golden cases of both backbones through the nodes of a ComfyUI, and what else the authors' weights are put to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_runs import counted, counted_class, difference, encode, golden_frames, segment

LENGTHS = (10, 13, 21, 30)
WINDOW = 9
LENGTHS_SIZE = (64, 128)


@dataclass(frozen=True)
class Official:
    """The authors' weights for one backbone, loaded by LoadREM.

    Attributes:
        folder: its golden folder.
        checkpoint: their file in it.
        parts: MODEL, CLIP and VAE.
        backbone: the pack's class that SegmentVideo runs them by.
        as_recorded: mask latents of one prompt, as the backbone gives them, in the form the cases have them.
    """

    folder: Path
    checkpoint: Path
    parts: tuple[Any, Any, Any]
    backbone: type
    as_recorded: Callable[[Any], Any]


def load_wan(nodes: dict[str, Any], golden: Path) -> Official:
    """With the text encoder of the case's base, which Load CLIP cannot load."""
    import folder_paths
    from refereverything_pack.nodes.host.backbone import HostBackbone
    from refereverything_pack.nodes.host.weights import load_small_clip

    folder = golden / "wan"
    folder_paths.add_model_folder_path("rem", str(folder))
    parts = nodes["LoadREM"].execute("rem_wan.pth", clip=load_small_clip(folder / "base")).args
    normalised = parts[0].get_model_object("latent_format").process_in
    return Official(folder, folder / "rem_wan.pth", parts, HostBackbone, normalised)


def load_modelscope(nodes: dict[str, Any], golden: Path) -> Official:
    """With the golden folder's `base` among the host's `diffusers` models."""
    import folder_paths
    from refereverything_pack.nodes.host.modelscope import ModelScopeHostBackbone

    folder = golden / "modelscope"
    folder_paths.add_model_folder_path("rem", str(folder))
    folder_paths.add_model_folder_path("diffusers", str(folder))
    parts = nodes["LoadREM"].execute("rem_ms.pth").args
    return Official(
        folder, folder / "rem_ms.pth", parts, ModelScopeHostBackbone, lambda latents: latents[0].transpose(0, 1)
    )


def golden_cases(nodes: dict[str, Any], golden: Path, official: Official) -> dict[str, dict[str, Any]]:
    """Every case of a backbone through the nodes."""
    import numpy as np
    import torch
    from PIL import Image
    from safetensors.torch import load_file

    model, clip, vae = official.parts
    results = {}
    for folder in sorted((official.folder / "cases").iterdir()):
        case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "tensors.safetensors")
        with np.load(folder / "mask_continuous.npz") as file:
            halves = dict(file)
        prompts = case["prompts"]
        conditioning = encode(nodes, clip, "\n".join(entry["prompt"] for entry in prompts))
        image = golden_frames(golden, case["n_frames"])
        windows = len(case["windows"] if "windows" in case else case["chunks"])
        found: dict[str, Any] = {"soft": [], "half": [], "flipped": [], "predicted": [], "windows": windows}
        with counted_class(official.backbone, "predict_mask_latents") as outputs, counted(vae, "encode") as encoded:
            for index in range(len(prompts)):
                soft = segment(
                    nodes, model, vae, conditioning, image, "paper", tuple(case["model_size"]), case["num_frames_arg"],
                    index + 1, seed=prompts[0].get("noise_seeds", [0])[0],
                )  # fmt: skip
                if f"mask_continuous_{index}" in tensors:
                    found["soft"].append(difference(soft, tensors[f"mask_continuous_{index}"].clamp(0, 1)))
                half = next(value for name, value in halves.items() if name.endswith(str(index)))
                found["half"].append(difference(soft, torch.from_numpy(half).float().clamp(0, 1)))
                files = sorted((folder / "masks" / f"prompt_{index}").glob("*.png"))
                expected = np.stack([np.asarray(Image.open(file)) for file in files]) == 1
                found["flipped"].append(int(((soft > 0.5).numpy() != expected).sum()))
        for index in range(len(prompts)):
            if windows == 1 and f"pred_latents_{index}" in tensors:
                predicted = official.as_recorded(outputs[0][index : index + 1])
                found["predicted"].append(difference(predicted, tensors[f"pred_latents_{index}"]))
        results[folder.name] = found | {"encoded": len(encoded)}
    return results


def lengths(nodes: dict[str, Any], golden: Path, official: Official) -> dict[str, Any]:
    """Lengths that take several windows and a tail, against the engine's own backbone."""
    from refereverything_pack.rem_engine import load_segmenter

    model, clip, vae = official.parts
    prompt = "the red square moving right"
    engine = load_segmenter(
        official.folder / "base",
        checkpoint=official.checkpoint,
        protocol="paper",
        size=LENGTHS_SIZE,
        window=WINDOW,
        device="cpu",
    )
    results = {}
    for count in LENGTHS:
        frames = golden_frames(golden, count)
        expected = engine.segment(frames, [prompt]).soft[0]
        soft = segment(nodes, model, vae, encode(nodes, clip, prompt), frames, "paper", LENGTHS_SIZE, WINDOW)
        results[str(count)] = {
            "soft": difference(soft, expected.clamp(0, 1)),
            "flipped": int(((soft > 0.5) != (expected > 0.5)).sum()),
        }
    return results


def laid_over(nodes: dict[str, Any], wan: Official, models: Path) -> dict[str, float]:
    """Mask latents of the official file and of what `convert` makes of it, by the stock loader or over its MODEL."""
    from refereverything_pack.nodes.host.backbone import HostBackbone
    from refereverything_pack.rem_engine.commands.cli import main as command_line
    from safetensors.torch import load_file

    import nodes as host_nodes

    official, base = wan.checkpoint, wan.folder / "base" / "transformer"
    rem, clip, vae = wan.parts
    whole = models / "diffusion_models"
    conversions = {
        whole / "base.safetensors": [base],
        whole / "full.safetensors": [official],
        whole / "fp8.safetensors": [official, "--dtype", "float8_e4m3fn"],
        models / "rem" / "delta.safetensors": [official, "--as", "delta", "--base", base],
        # No rank left out.
        models / "rem" / "lora.safetensors": [official, "--as", "lora", "--base", base, "--rank", "256"],
    }
    for out, arguments in conversions.items():
        assert command_line(["convert", *map(str, arguments), "-o", str(out)]) == 0

    tensors = load_file(wan.folder / "cases" / "f9_half" / "tensors.safetensors")
    latent_format = rem.get_model_object("latent_format")
    latents, expected = latent_format.process_out(tensors["img_latents"]), tensors["pred_latents_0"]

    def predict(model: Any) -> Any:
        found = HostBackbone(model, vae).predict_mask_latents(latents, tensors["prompt_embeds_0"])
        return latent_format.process_in(found)

    def stock(file: str) -> Any:
        return host_nodes.UNETLoader().load_unet(file, "default")[0]

    def over_base(file: str) -> Any:
        return nodes["LoadREM"].execute(file, model=stock("base.safetensors"), clip=clip, vae=vae).args[0]

    return {
        "base": difference(predict(stock("base.safetensors")), expected),
        "official over base": difference(predict(over_base("rem_wan.pth")), expected),
        "delta over base": difference(predict(over_base("delta.safetensors")), expected),
        "lora over base": difference(predict(over_base("lora.safetensors")), expected),
        "full by the stock loader": difference(predict(stock("full.safetensors")), expected),
        "fp8 by the stock loader": ((predict(stock("fp8.safetensors")) - expected).norm() / expected.norm()).item(),
    }
