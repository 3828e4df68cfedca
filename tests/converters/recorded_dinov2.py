"""What DINOv2's own code makes of random weights: names, shapes, and recorded features.

`state` and `images` were given to DinoVisionTransformer of facebookresearch/dinov2 (img_size=70, embed_dim=128,
depth=2, num_heads=2, init_values=1, block_chunks=0, all else as its hub has it; PyTorch 2.13, float32), and its
x_norm_patchtokens recorded: of images of its own size ("square"), and of others, for which it interpolates ("wide").
"""

from pathlib import Path

import numpy as np

RECORDED = Path(__file__).parent / "data" / "dinov2.npz"
WIDTH, DEPTH, GRID, PATCH = 128, 2, 5, 14


def state() -> dict[str, np.ndarray]:
    """A state dict as DINOv2 saves it."""
    shapes = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + GRID**2, WIDTH),
        "mask_token": (1, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
    }
    for index in range(DEPTH):
        layers = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
        for name, (out, given) in layers.items():
            shapes[f"blocks.{index}.{name}.weight"] = (out * WIDTH, given * WIDTH)
            shapes[f"blocks.{index}.{name}.bias"] = (out * WIDTH,)
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            shapes[f"blocks.{index}.{name}"] = (WIDTH,)
    draws, found = np.random.default_rng(0), {}
    for name in sorted(shapes):
        shape = shapes[name]
        spread = 0.5 if len(shape) == 3 else 0.1 if len(shape) == 1 else 1 / np.sqrt(np.prod(shape[1:]))
        about = float(name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "gamma")))
        found[name] = (about + spread * draws.standard_normal(shape)).astype(np.float32)
    return found


def images() -> dict[str, np.ndarray]:
    """Images (N, H, W, 3) by the names of what was recorded, as the network is given them."""
    draws = np.random.default_rng(1)
    shapes = {"square": (1, GRID * PATCH, GRID * PATCH, 3), "wide": (2, 3 * PATCH, 6 * PATCH, 3)}
    return {name: draws.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
