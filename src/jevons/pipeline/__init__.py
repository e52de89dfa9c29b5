"""One call from start to end, as a pure generator of asks. Read run.py first: it is the map."""
