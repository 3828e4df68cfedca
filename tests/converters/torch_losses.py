"""Loss networks once more, by PyTorch's functions on state dicts with the names of the usual files, of random weights.

    python -m tests.converters.torch_losses        (with PyTorch) writes data/torch_losses.npz, what tests compare with

Nothing here is shared with the package: layers follow from lists such as torchvision and InsightFace_Pytorch have.
"""

from pathlib import Path

import numpy as np

RECORDED = Path(__file__).parent / "data" / "torch_losses.npz"
VGG_LAYERS = [4, 4, "M", 8, 8, "M", 8, 8, 8, "M", 12, 12, 12, "M", 12, 12, 12]
FIRE_LAYERS = ["M", 4, 4, "M", 8, 8, "M", 8, 12, 12, 16]
IR_LAYERS = [(8, 8, 2), (8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 24, 2)]


def random_state(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Weights whose activations neither vanish nor explode."""
    rng, state = np.random.default_rng(seed), {}
    for name, shape in shapes.items():
        value = rng.standard_normal(shape)
        if len(shape) > 1:
            value /= np.sqrt(np.prod(shape[1:]) / 2)
        elif "running_var" in name or name.endswith(("0.weight", "1.weight", "3.weight", "4.weight")):
            value = 1 + 0.3 * np.abs(value)
        else:
            value = 0.2 * value
        state[name] = (np.abs(value) if name.startswith("lin") else value).astype(np.float32)
    return state


def random_state_normed(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """The same of a network with batch norm, whose weights are factors about 1."""
    made = random_state(shapes, seed)
    return {name: 1 + x if name.endswith("weight") and x.ndim == 1 else x for name, x in made.items()}


def vgg_shapes() -> dict[str, tuple[int, ...]]:
    """Tensors of torchvision's VGG, as narrow as VGG_LAYERS, and LPIPS's weights on it."""
    shapes, index, width, ends = {}, 0, 3, []
    for layer in VGG_LAYERS:
        if layer == "M":
            ends.append(width)
            index += 1
            continue
        shapes |= {f"features.{index}.weight": (layer, width, 3, 3), f"features.{index}.bias": (layer,)}
        width, index = layer, index + 2
    shapes["classifier.0.weight"] = (5, width)
    return shapes | {f"lin{i}.model.1.weight": (1, c, 1, 1) for i, c in enumerate([*ends, width])}


def fire_shapes() -> dict[str, tuple[int, ...]]:
    """Tensors of torchvision's SqueezeNet 1.1, as narrow as FIRE_LAYERS."""
    shapes, width = {"features.0.weight": (8, 3, 3, 3), "features.0.bias": (8,)}, 8
    for index, layer in enumerate(FIRE_LAYERS, start=2):
        if layer == "M":
            continue
        parts = {"squeeze": (layer, width, 1, 1), "expand1x1": (4 * layer, layer, 1, 1)}
        for name, shape in (parts | {"expand3x3": (4 * layer, layer, 3, 3)}).items():
            shapes |= {f"features.{index}.{name}.weight": shape, f"features.{index}.{name}.bias": shape[:1]}
        width = 8 * layer
    return shapes


def ir_shapes() -> dict[str, tuple[int, ...]]:
    """Tensors of InsightFace_Pytorch's IR-SE network, as small as IR_LAYERS, for faces of 32 pixels."""

    def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}

    shapes = {"input_layer.0.weight": (8, 3, 3, 3), **norm("input_layer.1", 8), "input_layer.2.weight": (8,)}
    for index, (width, depth, _) in enumerate(IR_LAYERS):
        res, short = f"body.{index}.res_layer", f"body.{index}.shortcut_layer"
        if width != depth:
            shapes |= {f"{short}.0.weight": (depth, width, 1, 1), **norm(f"{short}.1", depth)}
        shapes |= {**norm(f"{res}.0", width), f"{res}.1.weight": (depth, width, 3, 3), f"{res}.2.weight": (depth,)}
        shapes |= {f"{res}.3.weight": (depth, depth, 3, 3), **norm(f"{res}.4", depth)}
        shapes |= {f"{res}.5.fc1.weight": (depth // 4, depth, 1, 1), f"{res}.5.fc2.weight": (depth, depth // 4, 1, 1)}
    shapes |= {**norm("output_layer.0", 24), "output_layer.3.weight": (10, 24 * 16), "output_layer.3.bias": (10,)}
    return shapes | norm("output_layer.4", 10)


def pictures(seed: int, count: int, size: tuple[int, int]) -> np.ndarray:
    """Random images (count, H, W, 3) in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, (count, *size, 3)).astype(np.float32)


def vgg_features(state, x):
    """LPIPS's five feature maps of torchvision's VGG."""
    import torch.nn.functional as F

    found, index = [], 0
    for layer in VGG_LAYERS:
        if layer == "M":
            found.append(x)
            x, index = F.max_pool2d(x, 2), index + 1
        else:
            x = F.relu(F.conv2d(x, state[f"features.{index}.weight"], state[f"features.{index}.bias"], padding=1))
            index += 2
    return [*found, x]


def fire_features(state, x):
    """LPIPS's seven feature maps of torchvision's SqueezeNet 1.1."""
    import torch
    import torch.nn.functional as F

    def conv(name, x, padding=0, stride=1):
        return F.relu(F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, padding))

    x = conv("features.0", x, stride=2)
    found = {1: x}
    for index, layer in enumerate(FIRE_LAYERS, start=2):
        if layer == "M":
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        else:
            y = conv(f"features.{index}.squeeze", x)
            x = torch.cat([conv(f"features.{index}.expand1x1", y), conv(f"features.{index}.expand3x3", y, 1)], 1)
        found[index] = x
    return [found[index] for index in (1, 4, 7, 9, 10, 11, 12)]


def lpips(features, state, a, b):
    """LPIPS (N,) of images (N, H, W, 3); without its weights in the state, all of them are 1."""
    import torch

    mean, deviation = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    maps = []
    for images in (a, b):
        x = torch.tensor(images).permute(0, 3, 1, 2)
        maps.append(features(state, (x - mean[:, None, None]) / deviation[:, None, None]))
    total = 0
    for layer, (one, other) in enumerate(zip(*maps, strict=True)):
        one, other = (x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for x in (one, other))
        weights = state.get(f"lin{layer}.model.1.weight", torch.ones(1, one.shape[1], 1, 1))
        total = total + torch.nn.functional.conv2d((one - other) ** 2, weights).mean((1, 2, 3))
    return total


def ir_embeddings(state, faces):
    """Unit embeddings (N, D) of faces (N, H, W, 3) in [-1, 1] by the IR-SE network."""
    import torch
    import torch.nn.functional as F

    def norm(name, x):
        parts = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, training=False)

    x = F.conv2d(torch.tensor(faces).permute(0, 3, 1, 2), state["input_layer.0.weight"], padding=1)
    x = F.prelu(norm("input_layer.1", x), state["input_layer.2.weight"])
    for index, (width, depth, stride) in enumerate(IR_LAYERS):
        res, short = f"body.{index}.res_layer", f"body.{index}.shortcut_layer"
        kept = F.max_pool2d(x, 1, stride)
        if width != depth:
            kept = norm(f"{short}.1", F.conv2d(x, state[f"{short}.0.weight"], stride=stride))
        y = F.conv2d(norm(f"{res}.0", x), state[f"{res}.1.weight"], padding=1)
        y = F.conv2d(F.prelu(y, state[f"{res}.2.weight"]), state[f"{res}.3.weight"], stride=stride, padding=1)
        y = norm(f"{res}.4", y)
        gate = F.relu(F.conv2d(F.adaptive_avg_pool2d(y, 1), state[f"{res}.5.fc1.weight"]))
        x = y * torch.sigmoid(F.conv2d(gate, state[f"{res}.5.fc2.weight"])) + kept
    x = F.linear(norm("output_layer.0", x).flatten(1), state["output_layer.3.weight"], state["output_layer.3.bias"])
    return F.normalize(norm("output_layer.4", x))


def computed() -> dict[str, np.ndarray]:
    """What PyTorch makes of all of them."""
    import torch

    def tensors(shapes, seed):
        return {name: torch.tensor(value) for name, value in random_state(shapes, seed).items()}

    a, b = pictures(0, 3, (40, 50)), pictures(1, 3, (40, 50))
    vgg = tensors(vgg_shapes(), 2)
    plain = {name: value for name, value in vgg.items() if not name.startswith("lin")}
    made = {
        "vgg": lpips(vgg_features, plain, a, b),
        "vgg_calibrated": lpips(vgg_features, vgg, a, b),
        "squeezenet": lpips(fire_features, tensors(fire_shapes(), 3), a, b),
        "arcface": ir_embeddings(tensors(ir_shapes(), 4), pictures(5, 2, (32, 32))),
    }
    return {name: value.numpy() for name, value in made.items()}


if __name__ == "__main__":
    np.savez(RECORDED, **computed())
