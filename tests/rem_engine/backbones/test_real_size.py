"""Weights of the published width run in memory that holds a few of their blocks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BLOCKS = 4
# Of a block of Wan2.1-14B: eight matrices of attention, two of the feed-forward, and their biases (7 parameters of the
# width for norms, 6 for the modulation), by the authors' config.json.
WIDTH, FFN = 5120, 13824
MATRICES = 8 * (WIDTH * WIDTH + WIDTH) + 2 * WIDTH * FFN + FFN + WIDTH
LIMIT = 3e9 / 2**30


@pytest.mark.thorough
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_four_blocks_of_14b_run_in_3_gb_and_are_read_once(tmp_path: Path) -> None:
    if shutil.disk_usage(tmp_path).free < 8e9:
        pytest.skip("needs 8 GB of disk")

    def measure(*arguments: str) -> str:
        command = [sys.executable, "-m", "benchmarks.real_size", *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        measure("write", str(tmp_path), "--size", "14b", "--blocks", str(BLOCKS))
        assert (tmp_path / "transformer" / "diffusion_pytorch_model.safetensors").stat().st_size > LIMIT * 2**30
        run = ["run", str(tmp_path), "--side", "128", "--dtype", "bfloat16", "--limit", str(LIMIT)]
        first, second = (json.loads(measure(*run)) for _ in range(2))
    finally:
        for part in ("transformer", "text_encoder"):
            shutil.rmtree(tmp_path / part, ignore_errors=True)
    assert first["windows"] == 2
    assert max(first["peak_anonymous_gib_by_stage"].values()) < LIMIT
    # In bfloat16; norms and modulation stay float32.
    assert BLOCKS * 2 * MATRICES < first["denoiser_bytes_streamed"] < BLOCKS * (2 * MATRICES + 4 * 16 * WIDTH)
    assert second["denoiser_bytes_streamed"] == first["denoiser_bytes_streamed"]
    assert first["gigabytes_read_by_stage"]["encode_text"] > 1.0
    assert second["gigabytes_read_by_stage"]["encode_text"] < 0.02
