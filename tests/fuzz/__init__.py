"""Broken and hostile files against every reader: `python -m tests.fuzz --minutes 5`."""
