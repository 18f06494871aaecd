"""The JSON files of a model folder: data from outside, which decide neither what runs nor how much memory is taken."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ..input_files import NotJson, is_refusal, load_json
from .base import LARGEST_SIDE, LONGEST_WINDOW, Family

_ADVICE = "download it again, or take the file of the model's own release"
_FILE_LIMIT = 16_000_000  # bytes; the longest of published folders, a tokenizer's, has 17 MB and is not read here
_ENTRIES = 1000  # in a list
_LARGEST = 2**31 - 1

_LARGEST_TABLES = {"rope_max_seq_len": 2**16, "num_train_timesteps": 10**5, "max_position_embeddings": 2**16}
"""Settings by which tables are computed that no weight tells the size of."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a model folder.

    Raises:
        ValueError: no JSON object, or one that asks for code of its own.
    """
    try:
        content = load_json(path, _FILE_LIMIT)
    except NotJson as error:
        raise ValueError(f"{path} cannot be read: {error}; {_ADVICE}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object, as a configuration is; {_ADVICE}.")
    if "auto_map" in content:
        raise ValueError(
            f"{path} asks for code that comes with it (auto_map), and nothing that a model folder brings is run here; "
            "take a folder without."
        )
    return content


def read_config(folder: Path, model_class: type, family: str) -> dict[str, Any]:
    """The settings in config.json of a component of diffusers.

    Args:
        folder: the component's.
        model_class: of diffusers.
        family: whose it is, for messages.

    Raises:
        ValueError: of another class, or a setting of the wrong type.
    """
    path, name = folder / "config.json", model_class.__name__
    config = read_json(path)
    if config.get("_class_name") != name:
        raise ValueError(f"{folder} holds a {config.get('_class_name')}, where a {name} ({family}) is expected.")
    if name == "AutoencoderKLWan" and config.get("patch_size") not in (None, 1):  # of which no weight tells
        given = _shown(config["patch_size"])
        raise ValueError(f"{path} gives patch_size as {given}; null is expected: patches are Wan2.2's, not supported.")
    return of_class(config, path, model_class)


def of_class(config: dict[str, Any], path: Path, model_class: type) -> dict[str, Any]:
    """The settings of a class of diffusers in a configuration, once they are of the class's types.

    Raises:
        ValueError: one is not, or is larger than any table is.
    """
    parameters = inspect.signature(model_class).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    _check_types(config, path, defaults)
    for name, value in config.items():
        # Nothing else tells of a null that is no size of a weight before the network computes with it.
        if value is None and name in parameters and not _may_be_null(parameters[name]):
            raise ValueError(f"{path} gives {name} as null; something like {json.dumps(defaults[name])} is expected.")
    return {name: value for name, value in config.items() if name in parameters}


def of_transformers(path: Path, config_class: type) -> dict[str, Any]:
    """Settings in a config.json of transformers that bear on the network; where one is null, its default holds.

    Raises:
        ValueError: one is of the wrong type, or larger than any table is.
    """
    # Others have the class make things by their number: num_labels a name each.
    defaults = {
        name: value for name, value in config_class().to_dict().items() if isinstance(value, (bool, int, float, str))
    }
    given = read_json(path).items()
    config = {name: value for name, value in given if name in defaults and value is not None}
    for name, value in config.items():
        if isinstance(value, list):  # which diffusers alone takes for one of each block
            raise ValueError(f"{path} gives {name} as {_shown(value)}; something like {defaults[name]} is expected.")
    _check_types(config, path, defaults)
    return config


def build(path: Path, make: Callable[[], nn.Module], weights: Mapping[str, Any]) -> nn.Module:
    """A network of a configuration, without memory for its weights.

    Args:
        path: of the configuration, for messages.
        make: makes it.
        weights: that it is for: one that would have many times more is not built.

    Raises:
        ValueError: a configuration of which no network can be made.
    """
    # Room for what `check` has to say of weights that are missing.
    most = 2 * len(weights) + 1000
    try:
        with torch.device("meta"), _parameters_at_most(most):
            return make()
    except _TooManyParametersError as error:
        raise ValueError(
            f"{path} asks for a model of more than {most} weights, and its file holds {len(weights)}; {_ADVICE}."
        ) from error
    except Exception as error:  # whatever a setting may lead to in the libraries
        if is_refusal(error):
            raise
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path} is no configuration of a model ({reason or type(error).__name__}); {_ADVICE}."
        ) from error


def read_defaults(folder: Path, family: Family, tuned: bool = False) -> dict[str, Any]:
    """rem.json as arguments of a backbone; a plain base model has none.

    Args:
        folder: of the model.
        family: its own.
        tuned: whether other weights are laid over the folder's; what words these know is not said.

    Raises:
        ValueError: it lacks something, or gives what the family cannot take.
    """
    path = folder / "rem.json"
    if not path.is_file():
        return {}
    card = read_json(path)
    name, size, window, overlap = (card.get(key) for key in ("name", "size", "window", "overlap"))
    if not (
        isinstance(name, str)
        and isinstance(size, list)
        and len(size) == 2
        and all(map(_is_int, size))
        and _is_int(window)
        and _is_int(overlap)
    ):
        raise ValueError(f"{path} must give name, size [H, W], window and overlap.")
    multiple = family.size_multiple
    if any(not multiple <= side <= LARGEST_SIDE or side % multiple for side in size):
        raise ValueError(
            f"{path} gives the size {size}; multiples of {multiple} from {multiple} to {LARGEST_SIDE} are expected."
        )
    if not 1 <= window <= LONGEST_WINDOW or family.pad_frame_count(window) != window:
        nearest = family.pad_frame_count(min(max(window, 1), LONGEST_WINDOW))
        raise ValueError(
            f"{path} gives windows of {window} frames, which {family.name} cannot take; {nearest} could be."
        )
    if not 0 <= overlap <= window // 2:
        raise ValueError(
            f"{path} gives an overlap of {overlap} frames; 0 to half of the window of {window} are expected."
        )
    words = card.get("words", [])
    if not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
        raise ValueError(f"{path} gives words that are no list of texts; leave them out, or list what the model knows.")
    return {
        "name": name,
        "default_size": (size[0], size[1]),
        "default_window": window,
        "default_overlap": overlap,
        "known_words": frozenset(() if tuned else words),
    }


class _TooManyParametersError(Exception):
    pass


@contextmanager
def _parameters_at_most(most: int) -> Iterator[None]:
    """Within `with`, end whatever gives modules of this thread more parameters."""
    thread, count = threading.get_ident(), 0

    def counted(*_: Any) -> None:
        nonlocal count
        count += threading.get_ident() == thread
        if count > most:
            raise _TooManyParametersError

    handle = register_module_parameter_registration_hook(counted)
    try:
        yield
    finally:
        handle.remove()


def _check_types(config: Mapping[str, Any], path: Path, defaults: Mapping[str, Any]) -> None:
    for name, value in config.items():
        default = defaults.get(name)
        if value is None or default is None or default is inspect.Parameter.empty:
            continue
        if not _is_like(value, default):
            expected = json.dumps(default)
            raise ValueError(f"{path} gives {name} as {_shown(value)}; something like {expected} is expected.")
        most = _LARGEST_TABLES.get(name)
        if most is not None and not (_is_int(value) and 1 <= value <= most):
            raise ValueError(f"{path} gives {name} as {_shown(value)}; 1 to {most} are expected.")


def _may_be_null(parameter: inspect.Parameter) -> bool:
    told = str(parameter.annotation)
    return parameter.default in (None, inspect.Parameter.empty) or "None" in told or "Optional" in told


def _is_like(value: Any, default: Any) -> bool:
    """Whether a value is of the type of a setting's default; where that is a whole number, a list of such too."""
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, int):
        return _is_int(value) or (isinstance(value, list) and 0 < len(value) <= _ENTRIES and all(map(_is_int, value)))
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST
    if isinstance(default, str):
        return isinstance(value, str)
    if isinstance(default, (list, tuple)):
        if not isinstance(value, list) or len(value) > _ENTRIES or (default and not value):
            return False
        return not default or all(_is_like(one, default[0]) for one in value)
    return True


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
