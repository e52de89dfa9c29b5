"""Small models in place of large ones where answers recur: a classifier head, and examples for a small local model."""
