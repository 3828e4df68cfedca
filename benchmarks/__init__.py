"""What is claimed about speed, as commands: python -m benchmarks.eg3d, .semantic, .factory, .training."""
