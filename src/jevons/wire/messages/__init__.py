"""Anthropic Messages, as its API reference and the types of the `anthropic` SDK describe them."""
