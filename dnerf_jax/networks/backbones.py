"""Backbones of classifiers and of segmentation networks: which there are, by their configurations."""

from flax import linen as nn

from dnerf_jax.networks.efficientnet import EfficientNet, EfficientNetConfig
from dnerf_jax.networks.resnet import ResNet, ResNetConfig

Backbone = ResNetConfig | EfficientNetConfig


def backbone(config: Backbone) -> nn.Module:
    """From images (N, H, W, 3) to features (N, h, w, channels), or to its levels; its variables are "backbone"."""
    if isinstance(config, ResNetConfig):
        return ResNet(config, name="backbone")
    return EfficientNet(config, name="backbone")
