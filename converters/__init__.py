"""PyTorch in, Flax out: EG3D's network pickles become checkpoints that `dnerf_jax.load` reads. No torch needed."""
