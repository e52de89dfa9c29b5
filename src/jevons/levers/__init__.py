"""The six levers. Each is one module or folder, imports no other lever, and is added by putting a file here."""
