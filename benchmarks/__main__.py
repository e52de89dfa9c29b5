"""`python -m benchmarks`: every benchmark with the first line of what it measures and how it is called."""

import ast
from pathlib import Path

for path in sorted(Path(__file__).parent.glob("*.py")):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    text = ast.get_docstring(tree) or ""
    if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
        print(f"  python -m benchmarks.{path.stem:<12} {text.splitlines()[0]}")
print("each takes --help and --json; figures with their commands and dates: docs/performance/")
