"""Changes to the weights of a Wan transformer: full differences (a delta) and low-rank ones (a LoRA).

Both are stored as ComfyUI stores LoRAs, so that the host's own LoRA loader reads what it can:

    diffusion_model.<layer>.lora_up.weight, .lora_down.weight, .alpha    a low-rank change of <layer>.weight
    diffusion_model.<layer>.diff, .diff_b                                a full one of <layer>.weight, of <layer>.bias
    diffusion_model.<block>.modulation.diff                              a full one of the bare <block>.modulation

That loader accepts the last form too, and never applies it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Size, Tensor

from .names import Shaped, name_to_original

_HOST_PREFIX = "diffusion_model."

# Where trainers put the transformer in a LoRA: ComfyUI and musubi-tuner; diffusers; PEFT.
_PREFIXES = (_HOST_PREFIX, "transformer.", "base_model.model.")
_KOHYA_PREFIX = "lora_unet_"

# The field's names for the parts of a change. (.default is PEFT's name for an adapter without one.)
_PARTS = {
    ".lora_up.weight": "up",
    ".lora_down.weight": "down",
    ".lora_B.weight": "up",
    ".lora_A.weight": "down",
    ".lora_B.default.weight": "up",
    ".lora_A.default.weight": "down",
    ".alpha": "alpha",
    ".diff": "weight",
    ".diff_b": "bias",
}
_OTHER_KINDS = re.compile(
    r"\.(dora_scale|hada_w\d_\w|lokr_w\d\w*|lora_mid\.weight|diff_m|set_weight|oft_blocks|w_norm)$"
)

# kohya's names have underscores for dots.
_KOHYA = (
    (re.compile(r"^blocks_(\d+)_"), r"blocks.\1."),
    (re.compile(r"(self_attn|cross_attn|ffn|text_embedding|time_embedding|time_projection|head)_"), r"\1."),
)


@dataclass(frozen=True)
class LowRank:
    """A change of one weight: scale * up @ down, in the weight's shape.

    Attributes:
        up: [out, r].
        down: [r, in], where `in` is everything but the weight's first dimension, flattened.
        scale: alpha / r.
    """

    up: Tensor
    down: Tensor
    scale: float

    def full(self, shape: Size | tuple[int, ...]) -> Tensor:
        """The change itself, float32, in the weight's shape.

        Raises:
            RuntimeError: the shape has another number of elements.
        """
        return (self.up.float() @ self.down.float()).mul_(self.scale).reshape(shape)


Change = Tensor | LowRank
"""A full difference, in the weight's shape, or a low-rank one."""


def is_adapter(state_dict: Mapping[str, object]) -> bool:
    """Whether a file's names are those of a delta or a LoRA, and not of a whole model."""
    return any(_split(name)[1] or _OTHER_KINDS.search(name) for name in state_dict)


def read_changes(state_dict: Mapping[str, Tensor]) -> dict[str, Change]:
    """The changes a delta or LoRA file makes to a Wan transformer.

    Args:
        state_dict: the file's tensors: the form above, or a LoRA as PEFT, diffusers, musubi-tuner or kohya's scripts
            name it. Without an alpha the scale is 1, as in ComfyUI.

    Returns:
        changes under the original (ComfyUI) names of the weights, such as "blocks.0.self_attn.q.weight".

    Raises:
        ValueError: half a change, or one of another kind (DoRA, LoHa, LoKr).
    """
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state_dict.items():
        layer, part = _split(name)
        if part is None:
            raise ValueError(
                f"{name} is no part of a delta or LoRA this reads; plain LoRA (lora_up and lora_down, or lora_B and "
                "lora_A) and full differences (diff, diff_b) are."
            )
        layers.setdefault(_layer_name(layer), {})[part] = tensor
    changes: dict[str, Change] = {}
    for layer, parts in layers.items():
        weight = layer if layer.endswith("modulation") else f"{layer}.weight"
        if "weight" in parts:
            changes[weight] = parts["weight"]
        if "bias" in parts:
            changes[f"{layer}.bias"] = parts["bias"]
        if "up" in parts or "down" in parts:
            if weight in changes:
                raise ValueError(f"{layer} has both a low-rank and a full difference; one of them is expected.")
            changes[weight] = _low_rank(layer, parts)
    return changes


def apply_change(weight: Tensor, change: Change, strength: float = 1.0) -> Tensor:
    """One weight with its change: weight + strength * change, computed in float32, kept in the weight's own type.

    A strength, 0..1, of 0 gives the weight back bit by bit. The weight given is left as it is.
    """
    if strength == 0.0:
        return weight.clone()
    full = change.full(weight.shape) if isinstance(change, LowRank) else change.float()
    return weight.float().add(full.to(weight.device), alpha=strength).to(weight.dtype)


def change_row(change: Change, number: int) -> Tensor:
    """One row of a change, [everything but the first dimension], float32."""
    if isinstance(change, LowRank):
        return change.up[number].float() @ change.down.float() * change.scale
    return change[number].float().reshape(-1)


def check_changes(
    weights: Mapping[str, Shaped], changes: Mapping[str, Change], label: str = "The delta or LoRA"
) -> None:
    """Make sure that every change has its weight.

    Args:
        weights, changes: under the same names.
        label: what the changes are, for the message.

    Raises:
        ValueError: names the first that has none, or one of another shape.
    """
    for name, change in changes.items():
        if name not in weights:
            raise ValueError(f"{label} changes {name}, which the model does not have; choose one made for this model.")
        shape = Size(weights[name].shape)
        given = [change.up.shape[0], change.down.shape[1]] if isinstance(change, LowRank) else list(change.shape)
        expected = [shape[0], shape[1:].numel()] if isinstance(change, LowRank) else list(shape)
        if given != expected:
            raise ValueError(
                f"{label} is for another size of model: its change of {name} is {given}, and the model has "
                f"{expected}; choose one made for this model."
            )


def check_strength(strength: float) -> None:
    """Raises ValueError where a strength is outside 0..1."""
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"A strength of {strength} is out of range; 0 (the base alone) to 1 (REM) is expected.")


def stored_change(name: str, change: Change) -> dict[str, Tensor]:
    """The tensors that a file holds for the change of a weight: the inverse of `read_changes`.

    Args:
        name: of the weight, original (ComfyUI).
        change: its change.
    """
    layer, _, kind = name.rpartition(".")
    if isinstance(change, LowRank):
        alpha = change.up.new_tensor(change.scale * change.up.shape[1])
        return {
            f"{_HOST_PREFIX}{layer}.lora_up.weight": change.up,
            f"{_HOST_PREFIX}{layer}.lora_down.weight": change.down,
            f"{_HOST_PREFIX}{layer}.alpha": alpha,
        }
    if kind not in ("weight", "bias"):
        return {f"{_HOST_PREFIX}{name}.diff": change}
    return {f"{_HOST_PREFIX}{layer}.{'diff' if kind == 'weight' else 'diff_b'}": change}


def _split(name: str) -> tuple[str, str | None]:
    """A stored name as layer and part of a change; the part is None where it is neither."""
    for suffix, part in _PARTS.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix), part
    return name, None


def _layer_name(layer: str) -> str:
    """The original name of a layer, whatever wrapping and manner a trainer named it in."""
    if layer.startswith(_KOHYA_PREFIX):
        layer = layer.removeprefix(_KOHYA_PREFIX)
        for pattern, dotted in _KOHYA:
            layer = pattern.sub(dotted, layer)
    for prefix in _PREFIXES:
        layer = layer.removeprefix(prefix)
    # Layers are renamed as their weights are; what hangs on a name without ".weight" is a bare parameter.
    return name_to_original(f"{layer}.weight").removesuffix(".weight")


def _low_rank(layer: str, parts: Mapping[str, Tensor]) -> LowRank:
    if "up" not in parts or "down" not in parts:
        raise ValueError(f"{layer} has half a LoRA: both lora_up and lora_down (lora_B and lora_A) are expected.")
    up, down = parts["up"].flatten(1), parts["down"].flatten(1)
    rank = down.shape[0]
    if up.shape[1] != rank:
        raise ValueError(f"{layer} has a LoRA whose halves do not fit: ranks {up.shape[1]} and {rank}.")
    return LowRank(up, down, float(parts["alpha"]) / rank if "alpha" in parts else 1.0)
