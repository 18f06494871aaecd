"""Whatever happens to a file that comes from outside: a command does its work, or says in one sentence why it does not.

No traceback, no hang, no signal, no more memory than is free, nothing half-written and no values that are not finite.
`python tests/fuzz/cases.py KIND --first NUMBER --count 1` runs a case again that a failure names.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from kinds import KINDS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forks processes and bounds their memory as Linux does"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused_in_a_sentence(kind: str, request: pytest.FixtureRequest) -> None:
    count = request.config.getoption("--mutations")
    # In a process that has one thread: what others hold at the moment of a fork stays held in it for ever.
    command = [sys.executable, str(Path(__file__).with_name("cases.py")), kind, "--count", str(count)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30 * 60)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-4000:]
    told = re.fullmatch(r"0 faults in (\d+) cases, (\d+) of them refused", ended.stdout.splitlines()[-1])
    assert told and int(told[1]) == count
    assert count < 60 or int(told[2]) > count // 4  # most damage is of consequence
