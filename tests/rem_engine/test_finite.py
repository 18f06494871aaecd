"""Values are looked at as a whole, and none of them is overlooked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rem_engine.finite import all_finite

KINDS = [np.float16, np.float32, np.float64, torch.float16, torch.bfloat16, torch.float32]


def given(kind: type | torch.dtype, *last: float) -> np.ndarray | torch.Tensor:
    values = np.concatenate([np.full(1000, 0.5), last]).reshape(1, -1)
    return torch.from_numpy(values).to(kind) if isinstance(kind, torch.dtype) else values.astype(kind)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_one_value_is_found_among_many(kind: type | torch.dtype) -> None:
    assert all_finite(given(kind, 0.0))
    for last in ([np.nan], [np.inf], [-np.inf], [np.inf, -np.inf]):
        assert not all_finite(given(kind, *last))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_sum_that_overflows_is_no_value(kind: type | torch.dtype) -> None:
    largest = float(torch.finfo(kind).max if isinstance(kind, torch.dtype) else np.finfo(kind).max)
    assert all_finite(given(kind, largest, largest))
