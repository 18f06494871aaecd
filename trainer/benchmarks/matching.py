"""Which predicted sequence stands for which object, in DAVIS's unsupervised task."""

from __future__ import annotations

import numpy as np


def match(j: np.ndarray, f: np.ndarray) -> list[tuple[int, int]]:
    """Pair proposals with objects so that the sum of mean (J+F)/2 is largest (DAVIS 2017 evaluation, unsupervised).

    Args:
        j, f: [P,N,T], of each proposal with each object in every frame; at least as many proposals as objects.

    Returns:
        N pairs (proposal, object), in the order of the proposals.

    Raises:
        ValueError: fewer proposals than objects; the evaluation adds empty ones.
    """
    from scipy.optimize import linear_sum_assignment

    if j.shape[0] < j.shape[1]:
        raise ValueError(f"{j.shape[0]} proposals cannot stand for {j.shape[1]} objects; add empty ones.")
    agreement = (j.mean(axis=2) + f.mean(axis=2)) / 2
    proposals, objects = linear_sum_assignment(agreement, maximize=True)
    return [(int(proposal), int(object_)) for proposal, object_ in zip(proposals, objects)]
