"""Answers to questions that were asked before in other words: lossy, off by default, served only under a bound."""
