"""torchvision's ResNet and DeepLabV3 once more, by PyTorch's functions on narrow state dicts of random weights.

    python -m tests.converters.torch_segmentation      (with PyTorch) writes data/torch_segmentation.npz

Nothing here is shared with the package. A state dict is read by its names alone: a block has a third convolution or a
shortcut where the state has one. `published` is torchvision's own network with random weights, for a check by hand.
"""

from pathlib import Path

import numpy as np

from tests.converters.torch_losses import pictures, random_state_normed

RECORDED = Path(__file__).parent / "data" / "torch_segmentation.npz"
WIDTH, CLASSES, HEAD = 4, 5, 6
STRIDES = {32: (1, 2, 2, 2), 16: (1, 2, 2, 1), 8: (1, 2, 1, 1)}
# Blocks of each layer, whether they are bottlenecks, the output stride, whether DeepLab's head is on top.
CASES = {
    "basic": ((1, 2, 1, 1), False, 32, False),
    "bottleneck": ((1, 1, 2, 2), True, 32, False),
    "basic_deeplab_16": ((1, 1, 1, 2), False, 16, True),
    "bottleneck_deeplab_8": ((1, 1, 2, 2), True, 8, True),
}


def shapes(blocks, bottleneck: bool, deeplab: bool) -> dict[str, tuple[int, ...]]:
    """Tensors of torchvision's network."""
    found: dict[str, tuple[int, ...]] = {}

    def add(conv: str, norm: str, shape: tuple[int, ...]) -> None:
        found[f"{conv}.weight"] = shape
        found.update({f"{norm}.{part}": shape[:1] for part in ("weight", "bias", "running_mean", "running_var")})

    prefix, depth = "backbone." if deeplab else "", WIDTH
    add(f"{prefix}conv1", f"{prefix}bn1", (WIDTH, 3, 7, 7))
    for layer, count in enumerate(blocks, start=1):
        inner = WIDTH * 2 ** (layer - 1)
        outer = inner * (4 if bottleneck else 1)
        for index in range(count):
            name = f"{prefix}layer{layer}.{index}"
            kinds = [(inner, depth, 1, 1), (inner, inner, 3, 3), (outer, inner, 1, 1)]
            for number, shape in enumerate(kinds if bottleneck else [(inner, depth, 3, 3), (inner, inner, 3, 3)], 1):
                add(f"{name}.conv{number}", f"{name}.bn{number}", shape)
            if not index and (layer > 1 or bottleneck):
                add(f"{name}.downsample.0", f"{name}.downsample.1", (outer, depth, 1, 1))
            depth = outer
    if not deeplab:
        return found | {"fc.weight": (CLASSES, depth), "fc.bias": (CLASSES,)}
    for index, size in enumerate((1, 3, 3, 3)):
        add(f"classifier.0.convs.{index}.0", f"classifier.0.convs.{index}.1", (HEAD, depth, size, size))
    add("classifier.0.convs.4.1", "classifier.0.convs.4.2", (HEAD, depth, 1, 1))
    add("classifier.0.project.0", "classifier.0.project.1", (HEAD, 5 * HEAD, 1, 1))
    add("classifier.1", "classifier.2", (HEAD, HEAD, 3, 3))
    return found | {"classifier.4.weight": (CLASSES, HEAD, 1, 1), "classifier.4.bias": (CLASSES,)}


def state_of(name: str) -> dict[str, np.ndarray]:
    """The random weights of a case."""
    blocks, bottleneck, _, deeplab = CASES[name]
    return random_state_normed(shapes(blocks, bottleneck, deeplab), 7)


def images() -> np.ndarray:
    """What the networks see: of an odd height."""
    return pictures(6, 2, (49, 64))


def forward(state, images, output_stride: int):
    """Logits, (N, C) or (N, H, W, C), of images (N, H, W, 3) in [-1, 1]."""
    import torch
    import torch.nn.functional as F

    prefix = "backbone." if "backbone.conv1.weight" in state else ""

    def conv(x, name, norm, stride=1, dilation=1):
        weight = state[f"{name}.weight"]
        x = F.conv2d(x, weight, None, stride, dilation * (weight.shape[-1] // 2), dilation)
        parts = (state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, training=False, eps=1e-5)

    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = ((torch.tensor(images) + 1) / 2 - mean) / deviation
    x = F.relu(conv(x.permute(0, 3, 1, 2), f"{prefix}conv1", f"{prefix}bn1", stride=2))
    x, dilation = F.max_pool2d(x, 3, 2, 1), 1
    for layer, stride in enumerate(STRIDES[output_stride], start=1):
        before, dilation = dilation, dilation * (2 if layer > 1 and stride == 1 else 1)
        index = 0
        while f"{prefix}layer{layer}.{index}.conv1.weight" in state:
            name = f"{prefix}layer{layer}.{index}"
            step, apart = (1, dilation) if index else (stride, before)
            y, bottleneck = x, f"{name}.conv3.weight" in state
            for number in (1, 2, 3) if bottleneck else (1, 2):
                strided = number == (2 if bottleneck else 1)
                wide = state[f"{name}.conv{number}.weight"].shape[-1] > 1
                # torchvision dilates bottlenecks only; of our basic blocks both convolutions are dilated.
                y = conv(y, f"{name}.conv{number}", f"{name}.bn{number}", step if strided else 1, apart if wide else 1)
                y = y if number == 2 + bottleneck else F.relu(y)
            if f"{name}.downsample.0.weight" in state:
                x = conv(x, f"{name}.downsample.0", f"{name}.downsample.1", step)
            x, index = F.relu(x + y), index + 1
    if not prefix:
        return F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])
    unit, part = 96 // output_stride, "classifier.0.convs"
    views = [conv(x, f"{part}.0.0", f"{part}.0.1")]
    views += [conv(x, f"{part}.{i}.0", f"{part}.{i}.1", dilation=i * unit) for i in (1, 2, 3)]
    pooled = conv(F.adaptive_avg_pool2d(x, 1), f"{part}.4.1", f"{part}.4.2")
    views.append(F.interpolate(pooled, size=x.shape[-2:], mode="bilinear", align_corners=False))
    x = torch.cat([F.relu(view) for view in views], 1)
    x = F.relu(conv(x, "classifier.0.project.0", "classifier.0.project.1"))
    x = F.relu(conv(x, "classifier.1", "classifier.2"))
    x = F.conv2d(x, state["classifier.4.weight"], state["classifier.4.bias"])
    x = F.interpolate(x, size=images.shape[1:3], mode="bilinear", align_corners=False)
    return x.permute(0, 2, 3, 1)


def computed() -> dict[str, np.ndarray]:
    """What PyTorch makes of all cases."""
    import torch

    made = {}
    for name, (_, _, output_stride, _) in CASES.items():
        state = {entry: torch.tensor(value) for entry, value in state_of(name).items()}
        made[name] = forward(state, images(), output_stride).numpy()
    return made


def published(name: str):
    """torchvision's own network "resnet50", "deeplabv3_resnet101", ..., random in its running averages too."""
    import torch
    import torchvision

    torch.manual_seed(0)
    deeplab = name.startswith("deeplab")
    place = torchvision.models.segmentation if deeplab else torchvision.models
    options = {"weights_backbone": None, "num_classes": CLASSES} if deeplab else {}
    network = getattr(place, name)(weights=None, **options).eval()
    for entry, value in network.state_dict().items():
        if entry.endswith("running_mean"):
            value.normal_(0, 0.2)
        elif entry.endswith("running_var"):
            value.uniform_(0.5, 2.0)
    return network


def check(name: str) -> float:
    """How far our `forward` is from torchvision's own network, for one of `published`."""
    import torch

    network = published(name)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    seen = ((torch.tensor(images()) + 1) / 2 - mean) / deviation
    with torch.no_grad():
        found = network(seen.permute(0, 3, 1, 2))
        found = found["out"].permute(0, 2, 3, 1) if isinstance(found, dict) else found
        ours = forward(network.state_dict(), images(), 8 if "deeplab" in name else 32)
    return float((found - ours).abs().max())


if __name__ == "__main__":
    for case in ("resnet18", "resnet50", "deeplabv3_resnet50"):
        print(case, check(case))
    np.savez_compressed(RECORDED, **{name: value.astype(np.float32) for name, value in computed().items()})
