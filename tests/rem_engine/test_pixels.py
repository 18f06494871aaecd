"""Values in 0..1 become integers by one rounding, whichever way they come."""

from __future__ import annotations

import numpy as np
import torch

from rem_engine.pixels import to_uint8, to_uint16


def values() -> np.ndarray:
    """float32 in 0..1: random ones, and those at and next to the halves, where roundings differ."""
    halves = ((np.arange(255) + 0.5) / 255.0).astype(np.float32)
    near = [halves, np.nextafter(halves, np.float32(0)), np.nextafter(halves, np.float32(1))]
    steps = np.arange(256, dtype=np.float32) / np.float32(255.0)
    return np.concatenate([np.random.default_rng(0).random(100_000, np.float32), *near, steps])


def test_eight_bits_are_rounded_as_numpy_and_torch_round() -> None:
    given = values()
    kept, found = given.copy(), to_uint8(given)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.rint(given * 255.0).astype(np.uint8))
    np.testing.assert_array_equal(found, (torch.from_numpy(given) * 255.0).round().byte().numpy())
    np.testing.assert_array_equal(given, kept)
    # Where no neighbour is as near, it is the nearest.
    exact = given.astype(np.float64) * 255.0
    assert np.abs(found - exact).max() <= 0.5 + 1e-4


def test_every_8_bit_number_survives_the_way_through_floats() -> None:
    numbers = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(numbers.astype(np.float32) / 255.0), numbers)
    assert to_uint8(numbers) is numbers


def test_halves_go_to_the_even_number_and_what_lies_outside_is_clipped() -> None:
    given = np.array([-3.0, -0.1, 0.5 / 255, 1.5 / 255, 2.5 / 255, 1.0001, 9.0])
    np.testing.assert_array_equal(to_uint8(given), [0, 0, 0, 2, 2, 255, 255])
    given = np.array([-3.0, -0.1, 0.5 / 65535, 1.5 / 65535, 2.5 / 65535, 1.0001, 9.0])
    np.testing.assert_array_equal(to_uint16(given), [0, 0, 0, 2, 2, 65535, 65535])


def test_every_16_bit_number_survives_the_way_through_floats() -> None:
    numbers = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(to_uint16(numbers.astype(np.float32) / np.float32(65535.0)), numbers)


def test_sixteen_bits_are_those_of_double_precision_in_any_shape() -> None:
    given = np.concatenate([values(), np.float32([-0.5, 1.5])])
    expected = np.clip(np.rint(given.astype(np.float64) * 65535.0), 0, 65535).astype(np.uint16)
    found = to_uint16(given)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, expected)
    box, box16 = (array[:60].reshape(3, 4, 5) for array in (given, expected))
    np.testing.assert_array_equal(to_uint16(box[:, :, ::2]), box16[:, :, ::2])
