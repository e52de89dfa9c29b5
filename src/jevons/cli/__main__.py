"""`python -m jevons.cli` is `jevons`."""

from jevons.cli import main

main()
