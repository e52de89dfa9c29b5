"""What all tests share: hypothesis draws the same examples on every CI run, so that only a change fails it."""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("CI") == "true":
    settings.load_profile("ci")
