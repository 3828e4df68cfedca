"""One file per job; its docstring has the command, the hardware, the time and the expected result.

`--config heads` finds configs/heads.py from any folder: what is here is installed with the package, as
`dnerf_jax.configs`. A configuration that changes another loads it by name, with `cli.load_config`.
"""
