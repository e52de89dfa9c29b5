"""Who may burn what: keys, plans, limits and budgets. Pure: allow or deny, given counters."""
