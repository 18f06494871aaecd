"""LoadREM over a MODEL of ComfyUI-GGUF's loader, inside each ComfyUI found that has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from in_comfyui import report_of

HALF_PRECISION = 2e-3  # in which ComfyUI-GGUF multiplies packed weights out


@pytest.fixture(scope="module")
def report(host: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/nodes/gguf_in_host.py found in one ComfyUI."""
    if not (host / "custom_nodes" / "ComfyUI-GGUF").is_dir():
        pytest.skip(f"{host} has no ComfyUI-GGUF")
    return report_of("gguf_in_host.py", host, tmp_path_factory.mktemp("gguf"))


def test_its_loader_reads_what_convert_writes(report: dict[str, Any]) -> None:
    assert 0.002 < report["itself"] < 0.02
    assert report["as it is unpacked"] < HALF_PRECISION


@pytest.mark.parametrize("file", ["rem.safetensors", "delta.safetensors", "lora.safetensors", "rem.gguf"])
def test_rem_is_laid_over_it_with_loras(report: dict[str, Any], file: str) -> None:
    assert report[file] < HALF_PRECISION
    assert report["after"] == report["as it is unpacked"]


def test_a_delta_goes_over_its_own_base_alone(report: dict[str, Any]) -> None:
    assert report["its own delta"] == "no error"
    assert "and the model it is laid over is another" in report["another's delta"]
    assert not report["shown"]
