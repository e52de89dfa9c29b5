"""Burn and rebound sit on the gateway's import path: they may bring no numerical library into its memory."""

import subprocess
import sys


def test_burn_and_rebound_import_no_numerical_library():
    check = (
        "import sys, jevons.burn, jevons.burn.capacity, jevons.burn.materials, jevons.burn.meter, jevons.rebound, "
        "jevons.rebound.forecast; "
        "print(sorted({'numpy', 'scipy', 'pandas', 'sqlite3', 'asyncio'} & sys.modules.keys()))"
    )
    out = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
