"""What of a run may be other when it goes on, and what may not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_FREE = re.compile(
    r"save_every|keep_last|evaluate_every|evaluate_videos|evaluation|evaluation\.(batch|workers|on_broken)"
    r"|streams\.\d+\.(workers|on_broken)|(evaluation|streams\.\d+)\.sources\.\d+\.(root|keep_frames)"
)
"""What changes no weight: how often is saved and evaluated, how data are read, and where they lie."""
_BATCH = re.compile(r"world_size|optim\.accumulate|streams\.\d+\.batch")
"""What together makes the global batch of a step."""
_LENGTH = re.compile(r"steps|epochs|optim\.schedule(\..+)?")
"""What a run that is extended has more of, or otherwise."""
_EVALUATION = "evaluation"


def accepted_changes(folder: Path, earlier: Mapping[str, Any], now: Mapping[str, Any], extend: bool) -> list[str]:
    """What a run goes on with that it did not begin with, a sentence for each.

    Args:
        folder: of the run, for messages.
        earlier, now: what it began with and what is asked for: settings as `dump_settings` has them, and the fields of
            its `Start`.
        extend: whether it may have more steps, or another schedule from here on.

    Raises:
        ValueError: something that changes what is trained; the message names the first.
    """
    before, after = _without_turned_evaluation(_flat(earlier), _flat(now))
    same_batch = _global_batches(earlier) == _global_batches(now)
    sentences = []
    for name in (*after, *(name for name in before if name not in after)):
        was, given = before.get(name), after.get(name)
        if was == given:
            continue
        sentence = f"{name} was {was} and is {given} from here on"
        if _FREE.fullmatch(name):
            sentences.append(f"{sentence}; it changes no weight.")
        elif _BATCH.fullmatch(name) and same_batch:
            sentences.append(f"{sentence}; the global batch is the same, and weights are but for rounding.")
        elif _LENGTH.fullmatch(name) and extend:
            if isinstance(was, int) and isinstance(given, int) and given < was:
                raise ValueError(f"{folder} is extended to more {name}, and {given} are fewer than {was}.")
            sentences.append(f"{sentence}.")
        else:
            advice = "; --extend goes on so" if _LENGTH.fullmatch(name) else ""
            if _BATCH.fullmatch(name):
                advice = f"; with {_as_words(_global_batches(earlier))} clips in a step in all it could go on"
            raise ValueError(
                f"{folder} was begun with {name} = {was} and this command gives {given}{advice}; go on with the same, "
                "or name another folder."
            )
    return sentences


def _global_batches(values: Mapping[str, Any]) -> list[int]:
    """Clips in a step of each stream, over all processes and accumulated batches."""
    together = values["world_size"] * values["optim"]["accumulate"]
    return [stream["batch"] * together for stream in values["streams"]]


def _as_words(batches: Sequence[int]) -> str:
    return " and ".join(map(str, dict.fromkeys(batches)))


def _without_turned_evaluation(before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both without the parts of an evaluation that only one of them has: it was turned on or off, as a whole."""
    if (_EVALUATION in before) == (_EVALUATION in after):
        return before, after

    def whole(values: dict[str, Any]) -> dict[str, Any]:
        rest = {name: value for name, value in values.items() if not name.startswith(f"{_EVALUATION}.")}
        return rest | {_EVALUATION: "none" if _EVALUATION in values else "on"}

    return whole(before), whole(after)


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested values under dotted names, as `--set` names them."""
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        items = enumerate(value)
    else:
        return {name: value}
    flat: dict[str, Any] = {}
    for key, inner in items:
        flat |= _flat(inner, f"{name}.{key}" if name else str(key))
    return flat
