"""What the gateway imports must stay light: the online parts load neither numpy nor scipy nor scikit-learn."""

import subprocess
import sys

ONLINE = (
    "jevons.judge.betting",
    "jevons.judge.conformal",
    "jevons.judge.drift",
    "jevons.judge.mismatch",
    "jevons.judge.moments",
    "jevons.judge.sequence",
    "jevons.judge.thresholds",
    "jevons.ledger.experiment",
    "jevons.levers.route.cascade_lever",
    "jevons.levers.route.gates",
    "jevons.levers.route.pairing",
    "jevons.levers.route.prerouter_lever",
    "jevons.levers.route.promotion_lever",
    "jevons.levers.small.examples",
    "jevons.levers.small.lever",
)


def test_deciding_loads_no_numeric_library():
    code = f"import sys, {', '.join(ONLINE)}; print(sorted({{'numpy', 'scipy', 'sklearn'}} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
