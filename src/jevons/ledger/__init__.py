"""What was burned, what it cost, what it would have cost: pure values and arithmetic. Rows are written by `store`."""
