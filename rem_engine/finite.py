"""Whether values are finite numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def all_finite(values: np.ndarray | Tensor) -> bool:
    """Whether none of the values, floats of any shape (no fp8), is NaN or infinite."""
    # A sum is finite only if every term is, and costs a third of looking at each of them.
    with np.errstate(invalid="ignore", over="ignore"):
        if math.isfinite(values.sum()):
            return True
    return bool((np.isfinite(values) if isinstance(values, np.ndarray) else values.isfinite()).all())
