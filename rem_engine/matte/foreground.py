"""Multi-level foreground estimation (Germer, Uelwer, Conrad and Harmeling 2020), compiled.

Importing it brings numba, and compiles where that has not been done on this machine: a few seconds once, a moment from
then on.
"""

from __future__ import annotations

import numpy as np

from .compiled import compiled

# Of the paper (section 3.2): weight of smoothness where the alpha is flat, iterations of small and of large levels, and
# the longest side of a small one.
_REGULARISATION = np.float32(1e-5)
_SMALL, _SMALL_ITERATIONS, _LARGE_ITERATIONS = 32, 10, 2


@compiled("f4[:,:,::1](f4[:,:,::1], f4[:,::1])")
def estimated_foreground(image, alpha):
    """The foreground F of an image that is alpha F + (1 - alpha) B, where F and B are smooth along with the alpha.

    From one pixel up to the full size, each level begun with the one before it, and sure pixels with their own colour.

    Args:
        image: float32 [H,W,3] in 0..1.
        alpha: float32 [H,W] in 0..1.

    Returns:
        float32 [H,W,3] in 0..1.
    """
    height, width = alpha.shape
    front = np.zeros((1, 1, 3), np.float32)
    back = np.zeros((1, 1, 3), np.float32)
    sums = np.zeros((2, 3), np.float64)
    counts = np.full(2, 1e-5)
    for y in range(height):
        for x in range(width):
            side = 0 if alpha[y, x] > 0.9 else 1 if alpha[y, x] < 0.1 else 2
            if side < 2:
                counts[side] += 1.0
                for c in range(3):
                    sums[side, c] += image[y, x, c]
    for c in range(3):
        front[0, 0, c] = sums[0, c] / counts[0]
        back[0, 0, c] = sums[1, c] / counts[1]

    one = np.float32(1.0)
    zero = np.float32(0.0)
    levels = int(np.ceil(np.log2(max(width, height, 2))))
    for level in range(levels + 1):
        w = int(round(width ** (level / levels)))
        h = int(round(height ** (level / levels)))
        columns = np.arange(w) * width // w
        rows = np.arange(h) * height // h
        old_columns = np.arange(w) * front.shape[1] // w
        old_rows = np.arange(h) * front.shape[0] // h
        # With a rim that repeats the last pixels, so that no neighbour has to be looked for.
        f = np.empty((h + 2, w + 2, 3), np.float32)
        b = np.empty((h + 2, w + 2, 3), np.float32)
        a = np.empty((h + 2, w + 2), np.float32)
        for y in range(h + 2):
            inner_y = min(max(y - 1, 0), h - 1)
            for x in range(w + 2):
                inner_x = min(max(x - 1, 0), w - 1)
                a[y, x] = alpha[rows[inner_y], columns[inner_x]]
                for c in range(3):
                    colour = image[rows[inner_y], columns[inner_x], c]
                    f[y, x, c] = colour if a[y, x] >= one else front[old_rows[inner_y], old_columns[inner_x], c]
                    b[y, x, c] = colour if a[y, x] <= zero else back[old_rows[inner_y], old_columns[inner_x], c]
        for _ in range(_SMALL_ITERATIONS if max(w, h) <= _SMALL else _LARGE_ITERATIONS):
            for y in range(1, h + 1):
                for x in range(1, w + 1):
                    a0 = a[y, x]
                    a1 = one - a0
                    left = _REGULARISATION + abs(a0 - a[y, x - 1])
                    right = _REGULARISATION + abs(a0 - a[y, x + 1])
                    above = _REGULARISATION + abs(a0 - a[y - 1, x])
                    below = _REGULARISATION + abs(a0 - a[y + 1, x])
                    weight = left + right + above + below
                    a00 = a0 * a0 + weight
                    a01 = a0 * a1
                    a11 = a1 * a1 + weight
                    scale = one / (a00 * a11 - a01 * a01)
                    for c in range(3):
                        colour = image[rows[y - 1], columns[x - 1], c]
                        f0 = a0 * colour + left * f[y, x - 1, c] + right * f[y, x + 1, c]
                        f0 += above * f[y - 1, x, c] + below * f[y + 1, x, c]
                        b0 = a1 * colour + left * b[y, x - 1, c] + right * b[y, x + 1, c]
                        b0 += above * b[y - 1, x, c] + below * b[y + 1, x, c]
                        f[y, x, c] = min(max(scale * (a11 * f0 - a01 * b0), zero), one)
                        b[y, x, c] = min(max(scale * (a00 * b0 - a01 * f0), zero), one)
        front = f[1:-1, 1:-1].copy()
        back = b[1:-1, 1:-1].copy()
    return front
