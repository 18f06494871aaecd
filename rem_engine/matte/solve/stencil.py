"""Rows of the matting Laplacian, of the pixels that are unknown alone, compiled.

Importing it brings numba, and compiles where that has not been done on this machine: a few seconds once, a moment from
then on.
"""

from __future__ import annotations

import numpy as np

from ..compiled import compiled

OWN = 12
"""Place of a pixel's own count in its row."""
_NINTH = 1.0 / 9.0


@compiled("f4[:,::1](f4[:,:,::1], i4[:,::1], i8, f8)")
def laplacian_rows(picture, places, count, epsilon):
    """Rows of the Laplacian of windows of 3x3 pixels (Levin, Lischinski and Weiss 2008, equation 12).

    Args:
        picture: float32 [h,w,3].
        places: int32 [h,w], of a pixel's row among `count`; -1 for pixels that have none.
        count: rows.
        epsilon: added to the scatter of a window's colours.

    Returns:
        float32 [count,25]: what the 5x5 pixels around a row's own count, line by line; 0 beyond the picture.
    """
    height, width = places.shape
    values = np.zeros((count, 25), np.float32)
    rows = np.empty(9, np.int64)
    colours = np.empty((9, 3))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            last = -1
            for k in range(9):
                rows[k] = places[y + k // 3 - 1, x + k % 3 - 1]
                last = max(last, rows[k])
            if last < 0:
                continue
            for channel in range(3):
                mean = 0.0
                for k in range(9):
                    colours[k, channel] = picture[y + k // 3 - 1, x + k % 3 - 1, channel]
                    mean += colours[k, channel] * _NINTH
                for k in range(9):
                    colours[k, channel] -= mean
            a, b, c, d, e, f = epsilon, 0.0, 0.0, epsilon, 0.0, epsilon
            for k in range(9):
                red, green, blue = colours[k, 0], colours[k, 1], colours[k, 2]
                a += red * red
                b += red * green
                c += red * blue
                d += green * green
                e += green * blue
                f += blue * blue
            # The inverse of the scatter matrix: the adjugate over the determinant.
            p, q, r = d * f - e * e, c * e - b * f, b * e - c * d
            s, t, u = a * f - c * c, b * c - a * e, a * d - b * b
            scale = 1.0 / (a * p + b * q + c * r)
            for k in range(9):
                if rows[k] < 0:
                    continue
                red, green, blue = colours[k, 0] * scale, colours[k, 1] * scale, colours[k, 2] * scale
                x0 = p * red + q * green + r * blue
                x1 = q * red + s * green + t * blue
                x2 = r * red + t * green + u * blue
                row = values[rows[k]]
                for j in range(9):
                    explained = x0 * colours[j, 0] + x1 * colours[j, 1] + x2 * colours[j, 2]
                    row[(j // 3 - k // 3 + 2) * 5 + j % 3 - k % 3 + 2] -= _NINTH + explained
                row[OWN] += 1.0
    return values


@compiled("f8[:,::1](f4[:,::1], i4[::1], f8[:,::1])")
def times(values, pixels, plane):
    """Rows times a plane.

    Args:
        values: float32 [n,25], as `laplacian_rows` makes them.
        pixels: int32 [n], where they are in the plane, counted line by line.
        plane: float64 [h,w].

    Returns:
        float64 [h,w]; 0 where there is no row.
    """
    height, width = plane.shape
    image = np.zeros((height, width))
    for n in range(len(pixels)):
        y, x = pixels[n] // width, pixels[n] % width
        # A row's sum is 0. In float32 it is up to 1e-6, which would pull alpha to 0; differences do not see it.
        own = plane[y, x]
        total = 0.0
        if 2 <= y < height - 2 and 2 <= x < width - 2:
            for i in range(5):
                line = 0.0
                for j in range(5):
                    line += values[n, 5 * i + j] * (plane[y + i - 2, x + j - 2] - own)
                total += line
        else:
            for i in range(max(0, 2 - y), min(5, height + 2 - y)):
                for j in range(max(0, 2 - x), min(5, width + 2 - x)):
                    total += values[n, 5 * i + j] * (plane[y + i - 2, x + j - 2] - own)
        image[y, x] = total
    return image
