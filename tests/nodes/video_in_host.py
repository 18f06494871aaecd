"""Runs inside a ComfyUI's own Python: SegmentVideo's latents cache, its second VAE, a cancel between windows, and the
golden cases; writes JSON.

    python video_in_host.py HOST BASE PACK REPORT [GOLDEN]

The tests beside this file judge the report.
"""

from __future__ import annotations

import gc
import json
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from host_session import start

SIZE = (32, 48)
LENGTHS = (10, 13, 21, 30)
WINDOW = 9
LENGTHS_SIZE = (64, 64)


def main(host: Path, base: Path, pack: Path, report: Path, golden: Path | None = None) -> None:
    nodes = start(host, base, pack)
    import torch

    with torch.inference_mode():
        results = {
            "cache": cache(nodes),
            "decoder": decoder(nodes, base / "models"),
            "cancel": cancel(nodes),
            "notes": notes(nodes),
            "golden": golden_case(nodes, golden, base / "models") if golden else None,
            "lengths": lengths(nodes, golden) if golden else None,
        }
    report.write_text(json.dumps(results))


def load_mini(nodes: dict[str, Any]) -> tuple[Any, Any, Any]:
    return nodes["LoadREM"].execute("REM-mini (bundled)").args


def segment(
    nodes: dict[str, Any],
    model: Any,
    vae: Any,
    conditioning: Any,
    image: Any,
    protocol: str = "shot",
    size: tuple[int, int] = SIZE,
    window: int = 5,
    prompt: int = 1,
    **optional: Any,
) -> Any:
    """SegmentVideo's soft mask."""
    overlap = 2 if protocol == "shot" else 0
    return (
        nodes["SegmentVideo"]
        .execute(model, vae, conditioning, image, prompt, 0.5, protocol, size[0], size[1], window, overlap, **optional)
        .args[0]
    )


def encode(nodes: dict[str, Any], clip: Any, text: str) -> Any:
    return nodes["EncodeText"].execute(clip, text).args[0]


def random(*shape: int) -> Any:
    import torch

    return torch.rand(*shape, generator=torch.Generator().manual_seed(7))


def difference(a: Any, b: Any) -> float:
    return (a - b).abs().max().item()


@contextmanager
def counted(target: Any, method: str) -> Iterator[list[Any]]:
    """The first arguments of every call of a method, while it is asked for."""
    calls, call = [], getattr(target, method)

    def counting(*args: Any, **kwargs: Any) -> Any:
        calls.append(args[0])
        return call(*args, **kwargs)

    setattr(target, method, counting)
    try:
        yield calls
    finally:
        delattr(target, method)


def cache(nodes: dict[str, Any]) -> dict[str, Any]:
    """How often the VAE encodes, over runs that differ in prompt, frames, size and VAE."""
    import copy

    import torch
    from refereverything_pack.nodes.latents import LATENTS_BYTES, LatentsCache, frames_key, latents_cache

    model, clip, vae = load_mini(nodes)
    one, other = encode(nodes, clip, "the smoke"), encode(nodes, clip, "the red square")
    image = random(7, 40, 50, 3)  # two windows of five frames
    changed = image.clone()
    changed[3, 20, 25, 1] = 1.0 - changed[3, 20, 25, 1].round()
    counts = {}
    with counted(vae, "encode") as calls:

        def count(name: str, *args: Any, **settings: Any) -> Any:
            before = len(calls)
            soft = segment(nodes, model, vae, *args, **settings)
            counts[name] = len(calls) - before
            return soft

        count("first", one, image)
        again = count("other prompt", other, image)
        held = latents_cache(vae).size
        count("changed pixel", one, changed)
        count("other size", one, image, size=(48, 48))
        vae.first_stage_model, network = copy.deepcopy(vae.first_stage_model), vae.first_stage_model
        count("other network", one, image)
        vae.first_stage_model = network
    fresh = segment(nodes, *load_mini(nodes)[::2], other, image)

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
        "same masks": difference(again, fresh),
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
    from refereverything_pack.nodes.host import HostBackbone

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

    import nodes as host_nodes

    calls: dict[str, Callable[[], Any]] = {
        "pixels": lambda: HostBackbone(model, vae, host_nodes.VAELoader().load_vae("pixel_space")[0])
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


def cancel(nodes: dict[str, Any]) -> dict[str, Any]:
    """A cancel while a window is encoded ends the run at the end of that; the next run is whole."""
    import comfy.model_management as management

    model, clip, vae = load_mini(nodes)
    conditioning, image = encode(nodes, clip, "the smoke"), random(12, 40, 50, 3)
    encode_frames, held = vae.encode, []

    def encode_and_cancel(frames: Any) -> Any:
        latents = encode_frames(frames)
        held.extend((weakref.ref(frames), weakref.ref(latents)))
        management.interrupt_current_processing()
        return latents

    vae.encode = encode_and_cancel
    try:
        segment(nodes, model, vae, conditioning, image)
    except management.InterruptProcessingException:
        ended = True
    else:
        ended = False
    del vae.encode
    gc.collect()
    expected = segment(nodes, *load_mini(nodes)[::2], conditioning, image)
    return {
        "ended": ended,
        "windows": len(held) // 2,
        "freed": [reference() is None for reference in held],
        "next": difference(segment(nodes, model, vae, conditioning, image), expected),
    }


def notes(nodes: dict[str, Any]) -> list[str]:
    """What the node says of two prompts on a shot of two takes of six frames."""
    import torch

    model, clip, vae = load_mini(nodes)
    ramp = torch.linspace(0.0, 0.4, 64).expand(48, 64)
    takes = torch.stack([ramp, 1.0 - ramp.flip(0, 1)]).repeat_interleave(6, dim=0)
    shown: list[str] = []
    module = sys.modules[nodes["SegmentVideo"].__module__]
    kept, module.show_text = module.show_text, lambda text, node: shown.append(text)
    segment(nodes, model, vae, encode(nodes, clip, "smoke\nfire"), takes[..., None].repeat(1, 1, 1, 3))
    module.show_text = kept
    return shown


def load_golden(nodes: dict[str, Any], golden: Path) -> tuple[Any, Any, Any]:
    """The official file through LoadREM, with the text encoder of the case's base, which Load CLIP cannot load."""
    import folder_paths
    from refereverything_pack.nodes.weights import load_small_clip

    folder_paths.add_model_folder_path("rem", str(golden / "wan"))
    return nodes["LoadREM"].execute("rem_wan.pth", clip=load_small_clip(golden / "wan" / "base")).args


def golden_frames(golden: Path, count: int) -> Any:
    import numpy as np
    import torch
    from PIL import Image

    files = sorted((golden / "clip" / "frames").glob("*.png"))[:count]
    return torch.from_numpy(np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])).float() / 255.0


def golden_case(nodes: dict[str, Any], golden: Path, models: Path) -> dict[str, Any]:
    """Every case under wan/cases through the nodes, from the official file."""
    import numpy as np
    import torch
    from PIL import Image
    from refereverything_pack.nodes.host import HostBackbone
    from safetensors.torch import load_file

    model, clip, vae = load_golden(nodes, golden)
    latent_format = model.get_model_object("latent_format")
    results = {"precision": [str(vae.vae_dtype), str(model.model_dtype())]}
    for folder in sorted((golden / "wan" / "cases").iterdir()):
        case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "tensors.safetensors")
        with np.load(folder / "mask_continuous.npz") as file:
            halves = dict(file)
        prompts = [entry["prompt"] for entry in case["prompts"]]
        conditioning = encode(nodes, clip, "\n".join(prompts))
        image = golden_frames(golden, case["n_frames"])
        soft_differences, half_differences, flipped, predicted = [], [], [], []
        with counted_class(HostBackbone, "predict_mask_latents") as outputs, counted(vae, "encode") as encoded:
            for index in range(len(prompts)):
                soft = segment(
                    nodes, model, vae, conditioning[index : index + 1], image, "paper", tuple(case["model_size"]),
                    case["num_frames_arg"],
                )  # fmt: skip
                if f"mask_continuous_{index}" in tensors:
                    soft_differences.append(difference(soft, tensors[f"mask_continuous_{index}"].clamp(0, 1)))
                half = next(value for name, value in halves.items() if name.endswith(str(index)))
                half_differences.append(difference(soft, torch.from_numpy(half).float().clamp(0, 1)))
                files = sorted((folder / "masks" / f"prompt_{index}").glob("*.png"))
                expected = np.stack([np.asarray(Image.open(file)) for file in files]) == 1
                flipped.append(int(((soft > 0.5).numpy() != expected).sum()))
        for index, output in enumerate(outputs):
            if len(outputs) == len(prompts) and f"pred_latents_{index}" in tensors:
                predicted.append(difference(latent_format.process_in(output), tensors[f"pred_latents_{index}"]))
        results[folder.name] = {
            "soft": soft_differences,
            "half": half_differences,
            "flipped": flipped,
            "predicted": predicted,
            "encoded": len(encoded),
            "windows": len(case["windows"]),
        }

    return results | laid_over(nodes, golden, models, model, clip, vae)


def laid_over(nodes: dict[str, Any], golden: Path, models: Path, rem: Any, clip: Any, vae: Any) -> dict[str, float]:
    """Mask latents of the official file and of what `convert` makes of it, by the stock loader or over its MODEL."""
    from refereverything_pack.nodes.host import HostBackbone
    from refereverything_pack.rem_engine.cli import main as command_line
    from safetensors.torch import load_file

    import nodes as host_nodes

    official, base = golden / "wan" / "rem_wan.pth", golden / "wan" / "base" / "transformer"
    whole = models / "diffusion_models"
    conversions = {
        whole / "base.safetensors": [base],
        whole / "full.safetensors": [official],
        whole / "fp8.safetensors": [official, "--dtype", "float8_e4m3fn"],
        models / "rem" / "delta.safetensors": [official, "--as", "delta", "--base", base],
        models / "rem" / "lora.safetensors": [
            official,
            "--as",
            "lora",
            "--base",
            base,
            "--rank",
            "256",
        ],  # no rank left out
    }
    for out, arguments in conversions.items():
        assert command_line(["convert", *map(str, arguments), "-o", str(out)]) == 0

    tensors = load_file(golden / "wan" / "cases" / "f9_half" / "tensors.safetensors")
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


@contextmanager
def counted_class(target: type, method: str) -> Iterator[list[Any]]:
    """What every call of a class's method returned, while it is asked for."""
    outputs, call = [], getattr(target, method)

    def recording(self: Any, *args: Any) -> Any:
        outputs.append(call(self, *args))
        return outputs[-1]

    setattr(target, method, recording)
    try:
        yield outputs
    finally:
        setattr(target, method, call)


def lengths(nodes: dict[str, Any], golden: Path) -> dict[str, Any]:
    """Lengths that take several windows and a tail, against the engine's own backbone."""
    from refereverything_pack.rem_engine import load_segmenter

    model, clip, vae = load_golden(nodes, golden)
    prompt = "the red square moving right"
    engine = load_segmenter(
        golden / "wan" / "base",
        checkpoint=golden / "wan" / "rem_wan.pth",
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


if __name__ == "__main__":
    main(*(Path(argument).absolute() for argument in sys.argv[1:]))
