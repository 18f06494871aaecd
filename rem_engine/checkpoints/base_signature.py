"""Which weights a delta or LoRA was made over: a few of their values, which the file carries with it.

A change laid over another base than its own gives a model that is neither, and looks well while it loads. Of up to 32
matrices the signature has up to 48 values of one row each. How far those of a loaded model turn away from them,
the sine of the angle between the two rows, does not depend on a scale, so that scaled fp8 need not be multiplied out.
Rounding turns a row by little, fine-tuning by much:

    the same weights in float16, bfloat16                         0.0007, 0.0021 at most
    in fp8 (e4m3, e5m2), plain and scaled                         0.065, 0.072 at most
    REM-mini in int8; in GGUF's Q8_0, Q5_0, Q4_0                  0.0094; 0.0068, 0.056, 0.116 (the most)
    REM-mini after 20 steps of AdamW at a rate of 1e-5, 1e-4      0.006, 0.059 (the row that turned most)
    REM-mini against its text-to-video weights                    1.0 (half of the rows more than 0.94)
    the reference cases' REM against their Wan, ModelScope        0.50 to 0.73, 0.21 to 0.47
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .names import Shaped
from .stored import COARSE, StoredTensor

KEY = "rem.base_signature"
"""Its name among the metadata of a safetensors file."""

_MATRICES, _VALUES = 32, 48
_TURNED, _TURNED_IN_EIGHT_BITS, _TURNED_IN_FEWER = 0.005, 0.1, 0.3
_LIMIT = 100_000  # characters; a signature takes some 7,000


@dataclass(frozen=True)
class BaseSignature:
    """What a change was made over.

    Attributes:
        rows: values of the middle row of some matrices, by the original names of these.
        is_coarse: whether they came out of eight bits or fewer.
    """

    rows: Mapping[str, Tensor]
    is_coarse: bool

    def to_text(self) -> str:
        """As metadata of a file."""
        rows = {name: base64.b64encode(row.numpy().astype("<f4").tobytes()).decode() for name, row in self.rows.items()}
        return json.dumps({"float8": self.is_coarse, "rows": rows})


def sign_base(weights: Mapping[str, Shaped], row_of: Callable[[str, int], tuple[Tensor, torch.dtype]]) -> BaseSignature:
    """The signature of a denoiser.

    Args:
        weights: all of them, or their shapes, under the original names.
        row_of: (name, number) -> a row of a weight seen as [out, everything else], and the type it is kept in.
    """
    names = [name for name, weight in weights.items() if name.endswith(".weight") and len(weight.shape) >= 2]
    rows, is_coarse = {}, False
    # In no order that has to do with blocks, of which every n-th layer would always be of one kind.
    for name in sorted(names, key=lambda name: hashlib.blake2b(name.encode()).digest())[:_MATRICES]:
        row, dtype = row_of(name, weights[name].shape[0] // 2)
        rows[name] = _values(row)
        is_coarse = is_coarse or dtype in COARSE
    return BaseSignature(rows, is_coarse)


def row_of_stored(weights: Mapping[str, StoredTensor]) -> Callable[[str, int], tuple[Tensor, torch.dtype]]:
    """For `sign_base`: reads a row out of a file, and no more where the format permits."""

    def row(name: str, number: int) -> tuple[Tensor, torch.dtype]:
        return weights[name].row(number), weights[name].stored_dtype

    return row


def read_signature(metadata: Mapping[str, str], label: str) -> BaseSignature | None:
    """The signature in a file's metadata; None where it has none.

    Raises:
        ValueError: it is damaged.
    """
    text = metadata.get(KEY)
    if text is None:
        return None
    try:
        if len(text) > _LIMIT:
            raise ValueError("too long")
        content = json.loads(text)
        rows = {str(name): _decoded(row) for name, row in content["rows"].items()}
        return BaseSignature(rows, bool(content["float8"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"The {KEY} of {label} is damaged; download the file again.") from error


def check_base(
    signature: BaseSignature | None,
    weights: Mapping[str, Shaped],
    row_of: Callable[[str, int], tuple[Tensor, torch.dtype]],
    label: str,
    base: str = "",
) -> None:
    """Make sure that a change is laid over what it was made over.

    Args:
        signature: of the file; None passes.
        weights: of the loaded denoiser, or their shapes, under the original names.
        row_of: as of `sign_base`.
        label: the file with the change, for the message.
        base: the name of its base, for the message.

    Raises:
        ValueError: another base.
    """
    if signature is None:
        return
    for name, expected in signature.rows.items():
        if name not in weights:
            continue
        row, dtype = row_of(name, weights[name].shape[0] // 2)
        limit = _TURNED_IN_EIGHT_BITS if signature.is_coarse or dtype in COARSE else _TURNED
        if dtype == torch.uint8:  # GGUF's, which may have four bits
            limit = _TURNED_IN_FEWER
        values = _values(row)
        if values.shape != expected.shape or _turned(values, expected) > limit:
            made_over = f"was made over {base}" if base else "was made over other weights"
            raise ValueError(
                f"{label} {made_over}, and the model it is laid over is another ({name} differs): load its own base, "
                "or first lay what it was trained over (--checkpoint several times, LoadREM after LoadREM)."
            )


def _values(row: Tensor) -> Tensor:
    """Up to 48 values of a row, evenly spaced, float32."""
    row = row.detach().reshape(-1)
    places = torch.linspace(0, len(row) - 1, min(_VALUES, len(row))).round().long()
    return row[places.to(row.device)].float().cpu()


def _turned(one: Tensor, other: Tensor) -> float:
    """Sine of the angle between two rows; 1 beyond a right angle, and where one of them alone is 0."""
    if not (one.any() or other.any()):
        return 0.0
    smallest = torch.finfo(torch.float64).tiny
    cosine = torch.cosine_similarity(one.double(), other.double(), dim=0, eps=smallest).clamp(0.0, 1.0)
    return float((1.0 - cosine.square()).sqrt())


def _decoded(text: str) -> Tensor:
    raw = base64.b64decode(text, validate=True)
    if not raw or len(raw) % 4 or len(raw) > 4 * _VALUES:
        raise ValueError("no values")
    row = torch.from_numpy(np.frombuffer(raw, "<f4").astype(np.float32))
    if not row.isfinite().all():
        raise ValueError("not finite")
    return row
