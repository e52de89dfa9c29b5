"""Prices what the levers offer, picks, and explains itself: choose.py decides, bill.py is the arithmetic."""

from jevons.governor.bill import Facts
from jevons.governor.choose import HOLD_OUT, Decision, Governor, render, weigh

__all__ = ["HOLD_OUT", "Decision", "Facts", "Governor", "render", "weigh"]
