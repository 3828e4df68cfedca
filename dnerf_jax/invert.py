"""Inverts a photo or a mask: python -m dnerf_jax.invert --config invert --image photo.png --out DIR"""

import dataclasses

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, folders
from dnerf_jax.ops.ranges import Count
from dnerf_jax.training import process, runs
from dnerf_jax.training.inversion import jobs, plan, targets


def main(
    config: plan.Settings,
    out: str,
    image: str = "",
    mask: str = "",
    camera: str = "",
    checkpoint: str = "heads",
    crop: str = "none",
    encoder: str = "",
    perception: str = "squeezenet",
    num_samples: Count = 1,
    refine_camera: bool = False,
) -> None:
    """Finds the scene of a photo, a mask, or both: latent and camera, and writes it, its views, cloud, mesh and report.

    out: folder for all of it, scene/ and report.html among it; an inversion that was stopped there is continued
    image: a photo, framed as the checkpoint's images; several views of one object, or frames of a video, with commas
      between them, or as a folder
    mask: a PNG of the checkpoint's label ids, or in the label map's colours; as many as there are images
    camera: a JSON file of the cameras where they are known: ours, EG3D's 25 numbers, or a transforms.json
    checkpoint: folder of the model, or an embedded name; a mask needs one with a semantic branch
    crop: none, centre, auto (finds the face, with the extra faces), or left,top,right,bottom in pixels
    encoder: folder of the encoder that guesses the start; the one beside the checkpoint, or the embedded one
    perception: folder or embedded name of the network of the perceptual distance
    num_samples: so many different scenes, of seeds one after the other: a mask has many
    refine_camera: cameras that are known are where the search begins, and what config.free names is sought from there
    """
    if refine_camera and not camera:
        raise ValueError("--refine_camera begins at known cameras: give them, --camera FILE")
    with folders.claimed(out, known_by=[runs.SETTINGS]) as folder:
        process.prepare()
        model = checkpoints.load(checkpoint)
        given = targets.read(model, image, mask, camera, crop=crop, class_balance=config.class_balance)
        if given.known is not None and not refine_camera:
            config = dataclasses.replace(config, free=())
        jobs.run(
            config,
            model,
            given,
            folder,
            checkpoint=checkpoint,
            encoder=encoder,
            perception=perception,
            samples=num_samples,
        )


if __name__ == "__main__":
    cli.door(main)
