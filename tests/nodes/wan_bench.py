"""A small Wan2.1 with random weights in a ComfyUI, REM weights for it in every form, and what is compared."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

WIDTH, FFN_WIDTH, BLOCKS = 128, 256, 2
RANK, ALPHA = 4, 2.0
LATENTS = (1, 16, 2, 8, 8)


class Bench:
    """The weights, files and loaders all cases use.

    Attributes:
        base, rem, delta, low_rank: weights of Wan, of REM, their difference, and a difference that a LoRA can hold.
        lora: what a LoRA from elsewhere adds to the weight of one layer, `layer`.
        models: the host's model folder.
        shown: texts on the node.
    """

    def __init__(self, load_rem: Any, models: Path) -> None:
        import torch

        random = torch.Generator().manual_seed(11)
        shapes = {name: value.shape for name, value in new_network("meta").state_dict().items()}

        def weights(scale: float) -> dict[str, Any]:
            return {name: torch.randn(shape, generator=random) * scale for name, shape in shapes.items()}

        self._load_rem, self.models = load_rem, models
        self.shown: list[str] = []
        sys.modules[load_rem.__module__].show_text = lambda text, node: self.shown.append(text)
        self.base, self.delta = weights(0.05), weights(0.02)
        self.rem = {name: value + self.delta[name] for name, value in self.base.items()}
        factors = {
            name: (
                torch.randn(shape[0], RANK, generator=random) / 10,
                torch.randn(RANK, shape[1], generator=random) / 10,
            )
            for name, shape in shapes.items()
            if name.endswith("weight") and len(shape) == 2
        }
        self.low_rank = self.delta | {name: up @ down * (ALPHA / RANK) for name, (up, down) in factors.items()}
        self.layer = "blocks.1.ffn.0"
        up, down = factors[f"{self.layer}.weight"]
        self.lora = 3 * up @ down
        self._write(factors, {"lora_up.weight": 3 * up, "lora_down.weight": down})
        _, self.clip, self.vae = load_rem.execute("REM-mini (bundled)").args
        self.latents = torch.randn(*LATENTS, generator=random)
        self.embeds = torch.randn(1, 77, 4096, generator=random)

    def _write(self, factors: dict[str, tuple[Any, Any]], lora: dict[str, Any]) -> None:
        """All forms as files, under the names of ComfyUI's LoRAs."""
        import torch
        from safetensors.torch import save_file

        suffixes = {"weight": "diff", "bias": "diff_b", "modulation": "modulation.diff"}
        delta, low_rank = {}, {}
        for name, value in self.delta.items():
            layer, _, kind = name.rpartition(".")
            key = f"diffusion_model.{layer}"
            delta[f"{key}.{suffixes[kind]}"] = value
            if name in factors:
                low_rank[f"{key}.lora_up.weight"], low_rank[f"{key}.lora_down.weight"] = factors[name]
                low_rank[f"{key}.alpha"] = torch.tensor(ALPHA)
            else:
                low_rank[f"{key}.{suffixes[kind]}"] = value
        (self.models / "loras").mkdir(exist_ok=True)
        save_file(self.base, self.models / "diffusion_models" / "wan.safetensors")
        save_file(self.rem, self.models / "rem" / "rem.safetensors")
        save_file(delta, self.models / "rem" / "delta.safetensors")
        save_file(low_rank, self.models / "rem" / "lora.safetensors")
        save_file(
            {f"diffusion_model.{self.layer}.{part}": value for part, value in lora.items()},
            self.models / "loras" / "other.safetensors",
        )

    def wan(self, weight_dtype: str = "default") -> Any:
        """The MODEL that the stock loader makes."""
        from nodes import UNETLoader

        return UNETLoader().load_unet("wan.safetensors", weight_dtype)[0]

    def load(self, checkpoint: str, model: Any, strength: float = 1.0) -> Any:
        """LoadREM's MODEL."""
        return self._load_rem.execute(checkpoint, model=model, clip=self.clip, vae=self.vae, strength=strength).args[0]

    def add_lora(self, model: Any, strength: float) -> Any:
        """What the stock LoRA loader makes of a MODEL."""
        from nodes import LoraLoaderModelOnly

        return LoraLoaderModelOnly().load_lora_model_only(model, "other.safetensors", strength)[0]

    def predict(self, model: Any) -> Any:
        """The mask latents SegmentVideo would decode, normalised."""
        from refereverything_pack.nodes.host.backbone import HostBackbone

        latent_format = model.get_model_object("latent_format")
        predicted = HostBackbone(model, self.vae).predict_mask_latents(
            latent_format.process_out(self.latents), self.embeds
        )
        return latent_format.process_in(predicted)

    def bare(self, weights: dict[str, Any]) -> Any:
        """The same by a plain forward of the network with these weights."""
        import torch

        network = new_network("cpu")
        network.load_state_dict(weights)
        return network(self.latents, torch.zeros(1), self.embeds)

    def changed(self, delta: dict[str, Any], strength: float) -> dict[str, Any]:
        return {name: value + strength * delta[name] for name, value in self.base.items()}


def new_network(device: str, width: int = WIDTH, ffn_width: int = FFN_WIDTH, blocks: int = BLOCKS) -> Any:
    import comfy.ldm.wan.model
    import comfy.ops
    import torch

    with torch.device(device):
        return comfy.ldm.wan.model.WanModel(
            dim=width,
            ffn_dim=ffn_width,
            num_heads=width // 128,
            num_layers=blocks,
            operations=comfy.ops.disable_weight_init,
        ).eval()


def seen_weights(bench: Bench, model: Any) -> dict[str, Any]:
    """Every parameter as the network computes with it in a run, whatever the host does to it on the way."""
    from comfy.patcher_extension import WrappersMP

    found = {}

    def look(executor: Any, *args: Any, **kwargs: Any) -> Any:
        for name, weight in executor.class_obj.named_parameters():
            layer, _, kind = name.rpartition(".")
            value = weight.detach().clone()
            for function in getattr(executor.class_obj.get_submodule(layer), f"{kind}_function", []):
                value = function(value)
            found[name] = value
        return executor(*args, **kwargs)

    model = model.clone()
    model.add_wrapper(WrappersMP.DIFFUSION_MODEL, look)
    bench.predict(model)
    return found


def differences(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """Largest difference over all parameters, and which are missing."""
    return {
        "largest": max(difference(found[name].float(), value) for name, value in expected.items() if name in found),
        "missing": sorted(expected.keys() - found.keys()),
    }


def difference(a: Any, b: Any) -> float:
    return (a - b).abs().max().item()


def relative(a: Any, b: Any) -> float:
    """Norm of the difference against the norm of `b`."""
    return ((a - b).norm() / b.norm()).item()


def digest(model: Any) -> str:
    """Of every parameter of a MODEL's network, as it lies in memory."""
    import torch

    total = hashlib.sha256()
    for name, weight in sorted(model.model.diffusion_model.state_dict().items()):
        stored = getattr(weight, "_qdata", weight)  # of a quantised tensor; its scales are parameters of their own
        total.update(name.encode() + stored.reshape(-1).view(torch.uint8).cpu().numpy().tobytes())
    return total.hexdigest()


def write_zeros(path: Path, shapes: dict[str, Any]) -> None:
    """A safetensors file of bfloat16 zeros in the shapes of tensors, which takes no room on the disk."""
    header, end = {}, 0
    for name, value in shapes.items():
        start, end = end, end + 2 * value.numel()
        header[name] = {"dtype": "BF16", "shape": list(value.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
