"""What `make test` needs beyond pip: a Chromium for the dashboard's tests, and the local model. Exits 0 in any case.

What is decided here: what may be fetched. A browser is installed only where that was asked for (CI=true or
JEVONS_APT=1) and this is root on a system with apt. Whatever can't be had is said loudly, and its tests skip.
"""

import os
import shutil
import subprocess
import sys

from jevons.engines.local_gguf import ModelError
from jevons.engines.modelfile import fetch

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
APT_TIMEOUT_S = 600.0


def browser() -> str:
    """The path of a Chromium, or an empty text. JEVONS_CHROMIUM names one that is elsewhere."""
    named = os.environ.get("JEVONS_CHROMIUM", "")
    return named or next((path for path in map(shutil.which, BROWSERS) if path), "")


def loud(text: str) -> None:
    """A line that is seen in a long log, in colour on a terminal."""
    line = f"!!! {text}"
    print(f"\033[1;31m{line}\033[0m" if sys.stdout.isatty() else line, flush=True)


def may_install() -> bool:
    """Whether apt was asked for and could work."""
    asked = os.environ.get("CI", "").lower() == "true" or os.environ.get("JEVONS_APT") == "1"
    return asked and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None


def install_browser() -> None:
    """Chromium by apt. What apt says is shown only when it fails."""
    print("setting up: chromium by apt, for the dashboard's tests ...", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
    for command in (["apt-get", "update", "-qq"], install):
        try:
            done = subprocess.run(
                command, env=quiet, capture_output=True, text=True, timeout=APT_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            loud(f"{' '.join(command)}: {error}")
            return
        if done.returncode:
            loud(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")


def fetch_model() -> None:
    """The local model into .jevons/models; checked by its hash when it is there."""
    said: set[str] = set()

    def report(stage: str, _done: int, _total: int) -> None:
        if stage not in said and stage != "here already":
            said.add(stage)
            print(f"setting up: the local model, {stage} ...", flush=True)

    try:
        fetch(report=report)
    except (ModelError, OSError) as error:
        loud(f"NO LOCAL MODEL: tests marked `local` will skip. {error}")


def main() -> int:
    if not browser() and may_install():
        install_browser()
    if not browser():
        loud(
            "NO CHROMIUM: tests marked `browser` will skip. Install chromium, or name one with JEVONS_CHROMIUM; "
            "as root, JEVONS_APT=1 make test installs it."
        )
    fetch_model()
    return 0


if __name__ == "__main__":
    sys.exit(main())
