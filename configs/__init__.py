"""One file per job; its docstring has the command, the hardware, the time and the expected result."""
