"""Whether weights fit a model, and what they look like when they do not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

_NAMED = 3  # differences a message names; one usually tells the story


def check(state_dict: Mapping[str, Tensor], expected_shapes: Mapping[str, Sequence[int]], label: str) -> None:
    """Make sure that weights are exactly those a model has.

    Args:
        state_dict: the weights, under the names the model uses.
        expected_shapes: shape of every weight of the model, by name.
        label: what the weights are, for the message ("rem.pth (transformer)").

    Raises:
        ValueError: names or shapes differ; the message says what the weights look like and the first differences.
    """
    missing = [name for name in expected_shapes if name not in state_dict]
    unexpected = [name for name in state_dict if name not in expected_shapes]
    reshaped = [
        f"{name} is {list(tensor.shape)} instead of {list(expected_shapes[name])}"
        for name, tensor in state_dict.items()
        if name in expected_shapes and tuple(tensor.shape) != tuple(expected_shapes[name])
    ]
    differences = [
        f"{word}{_first(names)}"
        for word, names in (("", reshaped), ("missing: ", missing), ("not known to the model: ", unexpected))
        if names
    ]
    if differences:
        raise ValueError(
            f"{label} does not fit this model: it looks like {describe(state_dict)} ({'; '.join(differences)}). "
            "Choose a checkpoint made for the same architecture and size."
        )


def describe(state_dict: Mapping[str, Tensor]) -> str:
    """Say in a few words what weights look like, from their names and shapes."""
    if not state_dict:
        return "no weights at all"
    if any(re.search(r"\.lora_|lora_(up|down|A|B)\b", name) for name in state_dict):
        return "a LoRA, not a whole model"
    if "patch_embedding.weight" in state_dict:
        width = state_dict["patch_embedding.weight"].shape[0]
        blocks = {match[1] for name in state_dict if (match := re.match(r"blocks\.(\d+)\.", name))}
        return f"a Wan transformer of width {width} with {len(blocks)} blocks"
    if any(name.startswith(("encoder.", "decoder.")) and name.endswith(".gamma") for name in state_dict):
        return "a Wan VAE"
    if any(name.startswith("down_blocks.") and ".temp_attentions." in name for name in state_dict):
        return "a ModelScope text-to-video UNet"
    if any(name.startswith("down_blocks.") for name in state_dict):
        return "a diffusion UNet"
    if any(name.startswith("encoder.block.") for name in state_dict):
        return "a T5 text encoder"
    return "a model of another kind"


def _first(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
