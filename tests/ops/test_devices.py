"""The device that new arrays are on follows what the user says."""

import jax

from dnerf_jax.ops.devices import default_device


def test_the_default_device_is_the_users():
    assert default_device() == jax.devices()[0] == jax.jit(lambda: jax.device_put(1, default_device()))().device
    with jax.default_device(jax.devices()[2]):
        assert default_device() == jax.devices()[2]
