"""Statistics that decide: e-processes, confidence sequences, thresholds, abstention. Plain Python, pure."""
