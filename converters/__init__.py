"""PyTorch in, Flax out: EG3D's network pickles become checkpoints of dnerf_jax. PyTorch is not needed."""
