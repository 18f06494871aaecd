"""Changes to the weights of a Wan transformer: full differences (a delta) and low-rank ones (a LoRA).

Both are stored as ComfyUI stores LoRAs, so that the host's own LoRA loader reads what it can:

    diffusion_model.<layer>.lora_up.weight, .lora_down.weight, .alpha    a low-rank change of <layer>.weight
    diffusion_model.<layer>.diff, .diff_b                                a full one of <layer>.weight, of <layer>.bias
    diffusion_model.<block>.modulation.diff                              a full one of the bare <block>.modulation

That loader accepts the last form too, and never applies it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from torch import Tensor

from .change import Change, Hadamard, Kronecker, LowRank
from .names import name_to_diffusers, name_to_original

_HOST_PREFIX = "diffusion_model."

# Words that trainers put before a layer's name, with dots or underscores between: "diffusion_model.", "transformer.",
# "base_model.model.", "pipe.dit.", "lora_unet_", "lora_unet__", "lycoris_", ...
_PREFIX = re.compile(r"(?:lora|lycoris|unet|transformer|base|model|diffusion|module|pipe|dit|net)(?:\.|_+)")
_DOTTED_PREFIX = re.compile(r"^(?:(?:unet|transformer|base_model|model|diffusion_model|module|pipe|dit|net)\.)+")

# The field's names for the parts of a change. (.default is PEFT's name for an adapter without one.)
_PARTS = {
    ".lora_up.weight": "up",
    ".lora_down.weight": "down",
    ".lora_B.weight": "up",
    ".lora_A.weight": "down",
    ".lora_B.default.weight": "up",
    ".lora_A.default.weight": "down",
    ".lora.up.weight": "up",
    ".lora.down.weight": "down",
    ".alpha": "alpha",
    ".diff": "weight",
    ".diff_b": "bias",
    ".w_norm": "weight",
    ".b_norm": "bias",
    **{f".{part}": part for part in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")},
    **{f".{part}": part for part in ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b")},
}
# Other kinds, by what their names end in.
_OTHER_KINDS = {
    ".dora_scale": "DoRA",
    ".lora_mid.weight": "LoCon with a Tucker decomposition",
    ".hada_t1": "LoHa with a Tucker decomposition",
    ".hada_t2": "LoHa with a Tucker decomposition",
    ".lokr_t2": "LoKr with a Tucker decomposition",
    ".oft_blocks": "OFT",
    ".oft_diag": "OFT",
    ".on_input": "IA3",
    ".diff_m": "a difference in magnitude",
    ".set_weight": "weights that are set",
}
_READ = "plain LoRA, LoCon, LoHa, LoKr and full differences (diff, diff_b)"


def is_adapter(state_dict: Mapping[str, object]) -> bool:
    """Whether a file's names are those of a delta or a LoRA, and not of a whole model."""
    return any(_split(name)[1] or name.endswith(tuple(_OTHER_KINDS)) for name in state_dict)


def read_changes(state_dict: Mapping[str, Tensor], weights: Collection[str]) -> dict[str, Change]:
    """The changes a delta or LoRA file makes to a model.

    Args:
        state_dict: the file's tensors: the form above, or a LoRA, LoHa or LoKr as PEFT, diffusers, musubi-tuner,
            LyCORIS or kohya's scripts name it. Without an alpha the scale is 1, as in ComfyUI.
        weights: the names of all weights of the model, diffusers' or original, by which a layer is known whatever
            stands before it, and with underscores for its dots. What none is known by keeps its name.

    Returns:
        changes under the original (ComfyUI) names of the weights, such as "blocks.0.self_attn.q.weight".

    Raises:
        ValueError: half a change, two of one weight, or one of another kind (DoRA, OFT, IA3, ...).
    """
    layer_name = _resolver(weights)
    layers: dict[str, dict[str, Tensor]] = {}
    sources: dict[tuple[str, str], str] = {}
    for name, tensor in state_dict.items():
        layer, part = _split(name)
        if part is None:
            kind = next((kind for end, kind in _OTHER_KINDS.items() if name.endswith(end)), "no part of one")
            raise ValueError(f"{name} is of a kind of delta or LoRA that is not read ({kind}); {_READ} are.")
        original = layer_name(layer)
        if earlier := sources.get((original, part)):
            raise ValueError(f"{earlier} and {name} are both for {original}; leave one of them in the file.")
        sources[original, part] = name
        layers.setdefault(original, {})[part] = tensor
    changes: dict[str, Change] = {}
    for layer, parts in layers.items():
        weight = layer if layer.endswith("modulation") else f"{layer}.weight"
        if "weight" in parts:
            changes[weight] = parts["weight"]
        if "bias" in parts:
            changes[f"{layer}.bias"] = parts["bias"]
        if factored := _factored(layer, parts):
            if weight in changes:
                raise ValueError(f"{layer} has both a low-rank and a full difference; one of them is expected.")
            changes[weight] = factored
    return changes


def stored_change(name: str, change: Tensor | LowRank) -> dict[str, Tensor]:
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


def _resolver(weights: Collection[str]) -> Callable[[str], str]:
    """From a layer as a file names it to the original name of the model's."""
    layers: dict[str, set[str]] = {}
    for name in weights:
        original = name_to_original(name)
        for known in (original, name_to_diffusers(original)):
            layers.setdefault(_underscored(_layer(known)), set()).add(_layer(original))

    def resolved(layer: str) -> str:
        rest = layer
        while True:
            found = layers.get(_underscored(rest), ())
            if len(found) == 1:
                return next(iter(found))
            prefix = _PREFIX.match(rest)
            if prefix is None:
                # Layers are renamed as their weights are; what hangs on a name without ".weight" is a bare parameter.
                return _layer(name_to_original(f"{_DOTTED_PREFIX.sub('', layer, count=1)}.weight"))
            rest = rest[prefix.end() :]

    return resolved


def _layer(weight: str) -> str:
    return weight.removesuffix(".weight").removesuffix(".bias")


def _underscored(name: str) -> str:
    return name.replace(".", "_")


def _factored(layer: str, parts: Mapping[str, Tensor]) -> Change | None:
    """A change out of its factors; None where there are none."""
    alpha = float(parts["alpha"]) if "alpha" in parts else None
    kinds = {kind for kind in ("hada", "lokr") if any(part.startswith(kind) for part in parts)}
    if "up" in parts or "down" in parts:
        kinds.add("lora")
    if len(kinds) > 1:
        raise ValueError(f"{layer} has changes of several kinds ({', '.join(sorted(kinds))}); one of them is expected.")
    if "lora" in kinds:
        if "up" not in parts or "down" not in parts:
            raise ValueError(f"{layer} has half a LoRA: both lora_up and lora_down (lora_B and lora_A) are expected.")
        return _low_rank(layer, parts["up"], parts["down"], alpha)
    if "hada" in kinds:
        names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
        if missing := [name for name in names if name not in parts]:
            raise ValueError(f"{layer} has part of a LoHa: {missing[0]} is missing.")
        one, other = (_low_rank(layer, parts[f"{half}_a"], parts[f"{half}_b"], None) for half in ("hada_w1", "hada_w2"))
        if one.sides != other.sides:
            raise ValueError(f"{layer} has a LoHa whose halves do not fit: {one.sides} and {other.sides}.")
        scale = 1.0 if alpha is None else alpha / one.down.shape[0]
        return Hadamard(LowRank(one.up, one.down, scale), other)
    if "lokr" in kinds:
        return _kronecker(layer, parts, alpha)
    return None


def _kronecker(layer: str, parts: Mapping[str, Tensor], alpha: float | None) -> Kronecker:
    matrices, rank = [], None
    for half in ("lokr_w1", "lokr_w2"):
        if half in parts:
            matrices.append(parts[half])
        elif f"{half}_a" in parts and f"{half}_b" in parts:
            product = _low_rank(layer, parts[f"{half}_a"], parts[f"{half}_b"], None)
            rank = product.down.shape[0]
            matrices.append(product.full(product.sides))
        else:
            raise ValueError(f"{layer} has part of a LoKr: {half}, or both {half}_a and {half}_b, is missing.")
    one, other = matrices
    if one.ndim != 2 or other.ndim < 2:
        raise ValueError(f"{layer} has a LoKr of shapes {[*one.shape]} and {[*other.shape]}; matrices are expected.")
    # Of two whole matrices there is no rank, and alpha says nothing: as in LyCORIS and ComfyUI.
    return Kronecker(one.float() * (alpha / rank if alpha is not None and rank else 1.0), other)


def _low_rank(layer: str, up: Tensor, down: Tensor, alpha: float | None) -> LowRank:
    up, down = up.flatten(1), down.flatten(1)
    rank = down.shape[0]
    if up.shape[1] != rank:
        raise ValueError(f"{layer} has a LoRA whose halves do not fit: ranks {up.shape[1]} and {rank}.")
    return LowRank(up, down, 1.0 if alpha is None else alpha / rank)
