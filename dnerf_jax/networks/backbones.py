"""Backbones of classifiers and of segmentation networks: which there are, by their configurations."""

from flax import linen as nn

from dnerf_jax.networks.efficientnet import EfficientNet, EfficientNetConfig
from dnerf_jax.networks.resnet import ResNet, ResNetConfig
from dnerf_jax.networks.vit import ViT, ViTConfig

Backbone = ResNetConfig | EfficientNetConfig | ViTConfig


def backbone(config: Backbone) -> nn.Module:
    """From images (N, H, W, 3) to features (N, h, w, channels), or to its levels; its variables are "backbone"."""
    if isinstance(config, ResNetConfig):
        return ResNet(config, name="backbone")
    if isinstance(config, EfficientNetConfig):
        return EfficientNet(config, name="backbone")
    return ViT(config, name="backbone")
