"""Runs a script of this folder in a ComfyUI's own Python."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from comfy_hosts import PACK, host_python, make_base

_SECONDS = 1800  # idle cores take one or two minutes


def report_of(script: str, host: Path, folder: Path, *arguments: Path) -> dict[str, Any]:
    """What a script found in a ComfyUI, which it starts without a server.

    Args:
        script: its name.
        host: folder of the ComfyUI.
        folder: an empty one, for everything the host writes.
        arguments: further arguments of the script.
    """
    base = make_base(folder / "base")
    result = folder / "report.json"
    run = subprocess.run(
        [host_python(host), str(Path(__file__).with_name(script)), *map(str, (host, base, PACK, result, *arguments))],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        env=os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")},
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return json.loads(result.read_text())
