"""Renders of a world as plain files: what the worlds' own doors write."""

import pathlib

import numpy as np

from dnerf_jax.io import files, png
from dnerf_jax.worlds import streams, views
from dnerf_jax.worlds.views import World

KNOWN_BY = ("cameras.json", "00000_00_image.png")


def write(world: World, folder: pathlib.Path, num: int, views_each: int, seed: int, resolution: int) -> None:
    """Writes `num` identities, each in as many views, and their cameras into a folder; of bodies in a pose each.

    For every view image and mask PNG and depth npy, of bodies canonical npy, and for every body pose npz, what the
    world knows of it (see `World.facts`).
    """
    cameras = {}
    for index in range(num):
        rng = streams.stream("identities", seed, index)
        z = rng.standard_normal(world.Z_DIM)
        seen = [world.sample_camera(rng) for _ in range(views_each)]
        scene = world.build(z, world.sample_pose(rng)) if world.articulation() else world.build(z)
        rendered = views.of_scene(world, z, scene, seen, resolution)
        for number in range(views_each):
            name = f"{index:05d}_{number:02d}"
            png.save_image(folder / f"{name}_image.png", rendered.image[number])
            png.save_mask(folder / f"{name}_mask.png", rendered.mask[number], world.LABELS)
            np.save(folder / f"{name}_depth.npy", rendered.depth_z[number])
            if rendered.canonical is not None:
                np.save(folder / f"{name}_canonical.npy", rendered.canonical[number])
            cameras[name] = {
                "cam2world": rendered.cam2world[number].tolist(),
                "intrinsics": rendered.intrinsics[number].tolist(),
                "metres_per_unit": float(rendered.metres_per_unit[number]),
            }
        if facts := world.facts(scene):
            np.savez(folder / f"{index:05d}_pose.npz", **facts)
    files.write_json(folder / "cameras.json", cameras)
