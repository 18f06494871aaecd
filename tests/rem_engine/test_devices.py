"""The name of a device, whatever torch takes, becomes the device or a sentence."""

from __future__ import annotations

import pytest
import torch

from rem_engine.devices import find_device

HAS_CUDA = torch.cuda.is_available()


def test_a_device_may_have_a_number() -> None:
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("cpu:0") == torch.device("cpu", 0)


@pytest.mark.skipif(HAS_CUDA, reason="there is a GPU here")
def test_auto_is_the_cpu_where_there_is_no_gpu() -> None:
    assert find_device("auto") == torch.device("cpu")


@pytest.mark.skipif(not HAS_CUDA, reason="needs a GPU")
def test_auto_is_the_gpu_where_there_is_one() -> None:
    assert find_device("auto") == torch.device("cuda")


@pytest.mark.parametrize("name", ["abacus", "", "cuda:x"])
def test_what_is_no_device_is_told(name: str) -> None:
    with pytest.raises(ValueError, match=f"^There is no device '{name}'; use 'auto', 'cpu', or one that PyTorch has, "):
        find_device(name)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        # It computes nothing, so it stands for any device that torch knows and cannot use.
        ("meta", "PyTorch cannot use the device 'meta' here; use the device 'cpu' or 'auto'."),
        pytest.param(
            "cuda:1",
            "A CUDA GPU was asked for and PyTorch sees none; use the device 'cpu' or 'auto'.",
            marks=pytest.mark.skipif(HAS_CUDA, reason="there is a GPU here"),
        ),
        pytest.param(
            "cuda:99",
            "PyTorch cannot use the device 'cuda:99' here; use the device 'cpu' or 'auto'.",
            marks=pytest.mark.skipif(not HAS_CUDA, reason="needs a GPU"),
        ),
    ],
)
def test_what_is_not_available_is_told(name: str, sentence: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        find_device(name)
    assert str(caught.value) == sentence
