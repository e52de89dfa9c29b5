"""Fewer prompt tokens carried: what says the same in fewer bytes, and what is no longer needed when it pays."""
