"""Whatever happens to a file that comes from outside: a command does its work, or says in one sentence why it does not.

No traceback, no hang, no signal, no more memory than is free, nothing half-written and no values that are not finite.
`python tests/fuzz/cases.py KIND --first NUMBER --count 1` runs a case again that a failure names.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
from cases import run_cases
from kinds import KINDS

CASES = 60

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forks processes and bounds their memory as Linux does"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_damaged_file_is_read_or_refused_in_a_sentence(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    models = {}
    if KINDS[kind].loads:
        models = {name: request.getfixturevalue(f"tiny_{name}") for name in ("wan", "modelscope")}
    outcomes = run_cases(kind, models, range(CASES), tmp_path)
    faults = [f"case {outcome.case}, {outcome.what}: {outcome.fault}" for outcome in outcomes if outcome.fault]
    assert not faults, f"{len(faults)} of {CASES} cases of {kind}:\n" + "\n\n".join(faults)
    assert [outcome.case for outcome in outcomes] == list(range(CASES))
    assert Counter(outcome.code for outcome in outcomes)[2] > CASES // 4  # most damage is of consequence
