"""REM weights onto a MODEL that is loaded already: on a clone, as the host's own patches, so that LoRAs, wrappers,
compiled modules and offloading keep working."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import comfy.sd
import torch
from comfy.model_patcher import ModelPatcher
from comfy.weight_adapter import LoHaAdapter, LoKrAdapter, LoRAAdapter, WeightAdapterBase
from torch import Tensor
from torch.nn import Module, Parameter

from ...rem_engine.checkpoints.change import (
    Change,
    Hadamard,
    Kronecker,
    LowRank,
    apply_change,
    change_row,
    check_changes,
    check_strength,
)
from ...rem_engine.checkpoints.stored import COARSE, FLOAT8
from .quantised import FULL_PRECISION, is_packed, is_quantised, row_of_weight, stored_type

_NETWORK = "diffusion_model"
# Under this name the host's TorchCompileModel keeps its wrapper, which runs the modules it compiled.
_COMPILED = "torch.compile"

Patch: TypeAlias = tuple[Any, ...] | WeightAdapterBase


def is_rounded(model: ModelPatcher) -> bool:
    """Whether the host rounds the weights of a MODEL, once changed, to less than 16 bits (fp8, scaled or not; int8)."""
    return any(is_quantised(weight) and not is_packed(weight) for weight in model.model.diffusion_model.parameters())


def is_in_float8(model: ModelPatcher) -> bool:
    """Whether some of a MODEL's weights are in fp8, scaled or not."""
    return any(stored_type(weight) in FLOAT8 for weight in model.model.diffusion_model.parameters())


def with_weights(model: ModelPatcher, weights: Mapping[str, Tensor]) -> ModelPatcher:
    """A MODEL like `model`, with other weights of the same architecture; `model` stays as it is.

    LoRAs that `model` carries lie on top of the new weights. A quantised MODEL would round them to its own few bits, or
    unpack what they replace: it gets a network of its own for them, in the host's usual precision, with everything else
    carried over.

    Args:
        model: a Wan2.1 MODEL.
        weights: every weight of its network, under the original (ComfyUI) names.

    Raises:
        ValueError: a quantised MODEL whose modules were compiled or replaced.
        RuntimeError: the host does not take all of the weights.
    """
    if any(is_quantised(weight) for weight in model.model.diffusion_model.parameters()):
        return _with_own_network(model, weights)
    clone = model.clone()
    carried, clone.patches = clone.patches, {}
    unreached = _unreached(model.model.diffusion_model)
    for name in unreached:
        _replace(clone, name, weights[name])
    _add_patches(clone, {name: ("set", (weight,)) for name, weight in weights.items() if name not in unreached}, 1.0)
    for key, entries in carried.items():
        clone.patches.setdefault(key, []).extend(_after_last_set(entries))
    return clone


def with_changes(model: ModelPatcher, changes: Mapping[str, Change], strength: float, label: str) -> ModelPatcher:
    """A MODEL like `model` with a delta or LoRA laid over its weights; `model` stays as it is.

    Args:
        model: a Wan2.1 MODEL. On a quantised one the host rounds the changed weights to its few bits again.
        changes: under the original (ComfyUI) names.
        strength: 0..1.
        label: what the changes are, for messages.

    Raises:
        ValueError: changes for another model, or a strength out of range.
        RuntimeError: the host does not take all of them.
    """
    check_strength(strength)
    network = model.model.diffusion_model
    check_changes(dict(network.named_parameters()), changes, label)
    clone = model.clone()
    unreached = _unreached(network)
    for name in unreached & changes.keys():
        base = clone.get_model_object(f"{_NETWORK}.{name}")
        _replace(clone, name, apply_change(base.detach().float(), changes[name], strength))
    _add_patches(clone, {name: _patch(change) for name, change in changes.items() if name not in unreached}, strength)
    return clone


def row_of(
    model: ModelPatcher, laid_over: Sequence[tuple[Mapping[str, Change], float]], is_coarse: bool
) -> Callable[[str, int], tuple[Tensor, torch.dtype]]:
    """For the engine's `check_base`: rows of the weights of a MODEL as LoadREM has left them, without other LoRAs.

    Args:
        model: which may be loaded and patched at the time.
        laid_over, is_coarse: see `Card`.
    """
    network = dict(model.model.diffusion_model.named_parameters())

    def row(name: str, number: int) -> tuple[Tensor, torch.dtype]:
        key = f"{_NETWORK}.{name}"
        sets = [patch for _, patch, _, offset, _ in model.patches.get(key, ()) if _is_set(patch) and offset is None]
        backup = model.backup.get(key)
        weight = sets[-1][1][0] if sets else network[name] if backup is None else backup.weight
        values, dtype = row_of_weight(weight, number)
        for changes, strength in laid_over:
            if name in changes:
                values = values + strength * change_row(changes[name], number).cpu()
        return values, COARSE[0] if is_coarse else dtype

    return row


def _unreached(network: Module) -> set[str]:
    """Parameters the host's patches never reach, and drop without a word: those of modules that hold further modules
    with parameters (in Wan the modulation of the blocks and of the head)."""
    return {
        f"{module_name}.{name}"
        for module_name, module in network.named_modules()
        for name, _ in module.named_parameters(recurse=False)
        if any(True for child in module.children() for _ in child.parameters())
    }


def _replace(model: ModelPatcher, name: str, value: Tensor) -> None:
    """Give a MODEL another value of a parameter, as an object patch, which the host puts in and takes out with the
    weights; kept in the parameter's own type, and moved from device to device with the network."""
    key = f"{_NETWORK}.{name}"
    dtype = model.get_model_object(key).dtype
    if dtype not in FULL_PRECISION:
        dtype = value.dtype
    model.add_object_patch(key, Parameter(value.to("cpu", dtype, copy=True), requires_grad=False))


def _patch(change: Change) -> Patch:
    if isinstance(change, LowRank):
        alpha = change.scale * change.down.shape[0]
        return LoRAAdapter(set(), (change.up, change.down, alpha, None, None, None))
    if isinstance(change, Hadamard):
        one, other = change.one, change.other
        alpha = one.scale * one.down.shape[0]
        return LoHaAdapter(set(), (one.up, one.down, alpha, other.up, other.down, None, None, None))
    if isinstance(change, Kronecker):
        return LoKrAdapter(set(), (change.one, change.other, None, None, None, None, None, None, None))
    return ("diff", (change,))


def _add_patches(model: ModelPatcher, patches: Mapping[str, Patch], strength: float) -> None:
    named = {f"{_NETWORK}.{name}": patch for name, patch in patches.items()}
    dropped = named.keys() - set(model.add_patches(named, strength))
    if dropped:
        raise RuntimeError(
            f"The MODEL does not take {len(dropped)} of {len(named)} weights ({min(dropped)} first): "
            "connect LoadREM directly to the model loader, and other nodes after it."
        )


def _after_last_set(entries: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Patches of a weight without those of an earlier LoadREM that replaced it, and what lay below."""
    sets = [place for place, (_, patch, _, offset, _) in enumerate(entries) if _is_set(patch) and offset is None]
    return entries[sets[-1] + 1 :] if sets else entries


def _is_set(patch: Any) -> bool:
    return isinstance(patch, tuple) and len(patch) == 2 and patch[0] == "set"


def _with_own_network(model: ModelPatcher, weights: Mapping[str, Tensor]) -> ModelPatcher:
    """A clone around a network of its own, which shares no state of loading with the network of `model`."""
    clone = model.clone()
    for name in _unreached(model.model.diffusion_model):
        clone.object_patches.pop(f"{_NETWORK}.{name}", None)
    bound = [name for name in clone.object_patches if name.split(".")[0] == _NETWORK]
    bound += [_COMPILED for wrappers in clone.wrappers.values() if wrappers.get(_COMPILED)]
    if bound:
        raise ValueError(
            f"The MODEL is quantised and its modules were compiled or replaced ({bound[0]}), which would go on with "
            "its own weights: connect LoadREM directly to the model loader, and those nodes after it."
        )
    clone.model = comfy.sd.load_diffusion_model_state_dict(dict(weights)).model
    clone.size = 0  # to be measured anew
    clone.backup, clone.object_patches_backup, clone.hook_backup = {}, {}, {}
    clone.cached_hook_patches = {}
    clone.pinned, clone.is_injected = set(), False
    clone.patches_uuid = uuid.uuid4()
    return clone
