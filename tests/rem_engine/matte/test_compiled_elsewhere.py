"""Loops that numba compiles once and keeps on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CODE = """
from compiled import compiled

@compiled("i8(i8)")
def twice(number):
    return 2 * number
"""
CALL = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location(sys.argv[1], "loops.py")
loops = importlib.util.module_from_spec(spec)
sys.modules[sys.argv[1]] = loops
spec.loader.exec_module(loops)
print(loops.twice(21))
"""
"""As a ComfyUI loads a pack: under a name that no other process knows."""


def test_loops_are_kept_where_a_relative_folder_says(tmp_path: Path) -> None:
    import rem_engine.matte.compiled as module

    assert module.__file__
    (tmp_path / "compiled.py").write_text(Path(module.__file__).read_text("utf-8"), "utf-8")
    (tmp_path / "loops.py").write_text(CODE, "utf-8")
    command, environment = [sys.executable, "-c", CALL, "loops"], os.environ | {"NUMBA_CACHE_DIR": "kept/loops"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "42" and done.stderr == ""
    assert len(list((tmp_path / "kept" / "loops").rglob("*.nbi"))) == 1


def test_what_one_program_compiled_stops_no_other(tmp_path: Path) -> None:
    import rem_engine.matte.compiled as module

    assert module.__file__
    (tmp_path / "compiled.py").write_text(Path(module.__file__).read_text("utf-8"), "utf-8")
    (tmp_path / "loops.py").write_text(CODE, "utf-8")

    def called(name: str) -> str:
        command = [sys.executable, "-c", CALL, name]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    assert called("/a/host/custom_nodes/pack.loops") == "42"
    assert called("loops") == "42"
