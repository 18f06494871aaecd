"""Where in a file the weights lie that are wanted: what trainers keep beside them, and wrap around their names.

A file holds state dicts, each under the path of entries that leads to it ("state_dict", "ema.module"; "" where it is
the file itself), and the names of a state dict may have a prefix of their own ("model.diffusion_model."). Together they
are the root of a denoiser, which is told by names that only a denoiser has.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from os.path import commonprefix
from pathlib import Path

from .adapter import is_adapter

# What training wraps around modules at any depth: DistributedDataParallel and DeepSpeed, FSDP, activation
# checkpointing, torch.compile.
_WRAPPER = re.compile(r"(?:^|(?<=\.))(?:module|_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod)\.")

# Names by which a denoiser is known, whatever stands before them: Wan's under the original and under diffusers' names;
# UNets of diffusers and of Stability AI's code.
_DENOISER = re.compile(
    r"(|.*\.)(?:blocks\.0\.(?:modulation|scale_shift_table|(?:self_attn\.q|attn1\.to_q)\.weight)"
    r"|time_embedding\.linear_1\.weight|time_embed\.0\.weight)"
)
_VAE = re.compile(r"(|.*\.)decoder\.conv(?:_in|1)\.weight")

# Where the names of a component begin that no such name tells of: REM's trainer; ComfyUI's whole checkpoints.
_PREFIXES = ("backbone.dit.", "backbone.vae.", "backbone.unet.", "model.diffusion_model.", "first_stage_model.")

# What averages of weights and loops count, among the names of weights.
_COUNTERS = frozenset(("n_averaged", "num_updates", "decay", "initted", "step", "epoch", "iteration", "global_step"))

_WHOLE_FILE = "."  # the name of a denoiser whose root is the file itself

StateDicts = Mapping[str, Collection[str]]
"""The names in each state dict of a file, by the entries that lead to it."""
Place = tuple[str, str]
"""The state dict of a tensor and its name there."""


def chosen_part(path: Path) -> tuple[Path, str]:
    """A path with the name of one of several denoisers after it ("rem.pth:ema") as both; the name is mostly ""."""
    file, colon, part = path.name.rpartition(":")
    if not colon or not file or not part or path.exists():
        return path, ""
    return path.with_name(file), part


def select(state_dicts: StateDicts, part: str, label: str) -> dict[str, Place]:
    """Find the weights of a file: its one denoiser or adapter, with the VAE beside it; in other files, all there is.

    Args:
        state_dicts: the names in each state dict of the file.
        part: which of several denoisers; "" where there is one.
        label: the file's name, for messages.

    Returns:
        places by bare name, without wrapping and prefixes.

    Raises:
        ValueError: several denoisers and none chosen, none of that name, or a weight that is there twice.
    """
    roots = _roots(state_dicts)
    if not roots:
        if part:
            raise ValueError(f"{label} holds no denoiser, so that there is none called {part}: leave :{part} out.")
        return _all(state_dicts, label)
    names = _short_names([written for written, _, _ in roots])
    if part:
        whole = [written.rstrip(".") for written, _, _ in roots]
        found = next((number for number in range(len(roots)) if part in (names[number], whole[number])), None)
        if found is None:
            if len(roots) == 1:
                raise ValueError(f"{label} holds one denoiser, and none called {part}: leave :{part} out.")
            raise ValueError(f"{label} holds no {part}; there is {_listed(names)}.")
    elif len(roots) > 1:
        choices = [f"{label}:{name}" for name in names]
        raise ValueError(
            f"{label} holds {len(roots)} sets of weights, {_listed(names)}: say which one, as in {choices[0]} or "
            f"{choices[-1]}; for ComfyUI, python -m rem_engine convert {choices[-1]} -o NAME.safetensors takes it out."
        )
    else:
        found = 0
    _, state_dict, root = roots[found]
    places = [((state_dict, name), _unwrapped(name)) for name in state_dicts[state_dict]]
    if root is None:
        return _unique(places, label)
    vaes = {match[1] for _, name in places if (match := _VAE.fullmatch(name))}
    wanted = {root, max(sorted(vaes), key=lambda vae: len(commonprefix([vae, root])), default=root)}
    # A name belongs to the longest root it begins with: one denoiser may lie among the names of another.
    known = sorted({*vaes, *(other for _, its, other in roots if its == state_dict and other)} | wanted, key=len)
    bare = []
    for place, name in places:
        its_root = next((known_root for known_root in reversed(known) if name.startswith(known_root)), None)
        if its_root in wanted and name.removeprefix(its_root) not in _COUNTERS:
            bare.append((place, name.removeprefix(its_root)))
    return _unique(bare, label)


def _roots(state_dicts: StateDicts) -> list[tuple[str, str, str | None]]:
    """Of every denoiser and adapter: its root as the file writes it, its state dict, and its root there without
    wrapping; None for an adapter, whose own prefixes are read with it."""
    found: dict[tuple[str, str | None], str] = {}
    for state_dict, names in state_dicts.items():
        entry = f"{state_dict}." if state_dict else ""
        if is_adapter(dict.fromkeys(names)):
            found[state_dict, None] = entry
            continue
        for name in names:
            if match := _DENOISER.fullmatch(_unwrapped(name)):
                written = _DENOISER.fullmatch(name)
                found.setdefault((state_dict, match[1]), entry + (written or match)[1])
    return sorted((written, state_dict, root) for (state_dict, root), written in found.items())


def _all(state_dicts: StateDicts, label: str) -> dict[str, Place]:
    """What a file without a denoiser holds: its own tensors, those of its one entry, or of all entries with the entry
    before the name."""
    if "" in state_dicts or len(state_dicts) == 1:
        entry = "" if "" in state_dicts else next(iter(state_dicts))
        return _unique([((entry, name), _bare(name)) for name in state_dicts[entry]], label)
    return _unique(
        [((entry, name), f"{entry}.{_bare(name)}") for entry, names in state_dicts.items() for name in names], label
    )


def _bare(name: str) -> str:
    name = _unwrapped(name)
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _unwrapped(name: str) -> str:
    return _WRAPPER.sub("", name)


def _unique(places: Sequence[tuple[Place, str]], label: str) -> dict[str, Place]:
    bare: dict[str, Place] = {}
    for place, name in places:
        if name in bare:
            raise ValueError(f"{label} holds {name} twice, under different wrappings; one is expected.")
        bare[name] = place
    return bare


def _short_names(roots: Sequence[str]) -> list[str]:
    """Names for roots, without what all of them begin and end with."""
    parts = [[part for part in root.split(".") if part] for root in roots]
    if len(parts) > 1:
        while min(map(len, parts)) > 1 and len({part[0] for part in parts}) == 1:
            parts = [part[1:] for part in parts]
        while min(map(len, parts)) > 1 and len({part[-1] for part in parts}) == 1:
            parts = [part[:-1] for part in parts]
    return [".".join(part) or _WHOLE_FILE for part in parts]


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
