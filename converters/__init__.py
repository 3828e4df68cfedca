"""PyTorch in, Flax out: EG3D's network pickles become checkpoints of dnerf_jax. PyTorch is not needed.

In a checkout this package is `converters`, installed it is `dnerf_jax.converters`, so that no common name is taken. So
its modules import each other relatively.
"""
