"""The low-rank part of a matrix, by randomised singular value decomposition."""

from __future__ import annotations

import torch
from torch import Tensor

from .change import LowRank

# Halko, Martinsson, Tropp: "Finding structure with randomness" (2011), algorithms 4.4 and 5.1. With this much
# oversampling and two power iterations every layer of REM-mini keeps, at ranks 4 to 64, within 0.2 % of the energy
# that the best product of that rank would.
OVERSAMPLING = 16
POWER_ITERATIONS = 2
_SEED = 0  # the same file every time


def low_rank(matrix: Tensor, rank: int) -> tuple[LowRank, float]:
    """A matrix as the product of two thin ones.

    Args:
        matrix: float32 [out, in].
        rank: of the product.

    Returns:
        the product, its two factors of equal size; and the share of the energy it keeps,
        1 - ||matrix - product||^2 / ||matrix||^2 (Frobenius), 0..1.
    """
    columns = min(rank + OVERSAMPLING, *matrix.shape)
    generator = torch.Generator().manual_seed(_SEED)
    basis = _orthonormal(matrix @ torch.randn(matrix.shape[1], columns, generator=generator))
    for _ in range(POWER_ITERATIONS):
        basis = _orthonormal(matrix @ _orthonormal(matrix.mT @ basis))
    left, singular, right = torch.linalg.svd(basis.mT @ matrix, full_matrices=False)
    root = singular[:rank].sqrt()
    up, down = basis @ left[:, :rank] * root, root[:, None] * right[:rank]
    # The rows kept are orthogonal to what is left out, so energies subtract.
    total = float(torch.linalg.vector_norm(matrix)) ** 2
    kept = float(singular[:rank].double().square().sum()) / total if total else 1.0
    return LowRank(up, down, 1.0), min(kept, 1.0)


def _orthonormal(matrix: Tensor) -> Tensor:
    return torch.linalg.qr(matrix).Q
