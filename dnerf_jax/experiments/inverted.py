"""The paper's own protocol: views are inverted from their pictures alone, and what was found of them is labelled.

Inversion looks at colours, so no branch has a part in it: all rows and seeds of a table share what it found. It is kept
in a folder, every stage of a view as soon as it is done, and views of a larger count go on from those of a smaller:

    settings.json               what all inversions here were made with
    0000/stages/z.npz, ...      what was found of view 0, see `training.inversion.stored`
    found_12/, known_12/        packs of the first 12 views: at the latents and cameras found, and at their own
    found_12.json               medians over them: PSNR in dB, errors of the pose in degrees, seconds
"""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from dnerf_jax.io import files, packs
from dnerf_jax.io.packs import Annotations
from dnerf_jax.models.encoders import TrainedEncoder
from dnerf_jax.models.model import Model, fingerprint
from dnerf_jax.ops import orbiting
from dnerf_jax.training import runs
from dnerf_jax.training.inversion import protocol, stages, stored
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.plan import Settings
from dnerf_jax.training.inversion.subject import Subject


@dataclasses.dataclass(frozen=True)
class Inversions:
    """How many views of a pack are inverted, the first ones, with which settings and encoder (None for none).

    Of the stages there is z alone, whatever the settings say: packs hold latents, and the paper seeks no other.
    """

    count: int
    settings: Settings
    encoder: TrainedEncoder | None = None


def make(wanted: Inversions, model: Model, name: str, folder: Path) -> dict[str, str]:
    """Two packs of the first views of the pack of that name, by what they are called; made unless they are there.

    Raises ValueError: the pack has fewer views; or what is in `folder` was found with other settings.
    """
    count, found, known = wanted.count, folder / f"found_{wanted.count}", folder / f"known_{wanted.count}"
    settings = dataclasses.replace(wanted.settings, stages=("z",))
    encoder = wanted.encoder if settings.encoder else None
    inputs = {
        "generator": model.fingerprint,
        "pack": name,
        "encoder's weights": "none" if encoder is None else fingerprint(encoder.params),
    }
    runs.remember(folder, settings, inputs=inputs, made=f"*/{stored.FOLDER}/*.npz")
    if not found.exists():
        pack = packs.load(name, model)
        if count > len(pack):
            raise ValueError(f"--cases is {count}, and the pack {name} has {len(pack)} views: invert so many at most")
        packs.save(known, pack[:count], replace=True)
        packs.save(found, _found(settings, model, pack[:count], folder, encoder))
    return {f"{count} inverted": str(found), f"{count} known": str(known)}


def _found(
    settings: Settings, model: Model, pack: Annotations, folder: Path, encoder: TrainedEncoder | None
) -> Annotations:
    """The pack with what inversion makes of its pictures for latents and cameras; its masks stay the true ones."""
    rows, latents, cameras = [], [], []
    for i in range(len(pack)):
        subject, row = _invert(settings, model, pack[[i]], folder / f"{i:04d}", encoder)
        rows.append({"case": str(i), "stage": "z"} | row)
        latents.append(subject.z)
        cameras.append(subjects.camera_of(subject))
        shown = "  ".join(f"{name} {value:.3g}" for name, value in row.items())
        print(f"inverted {i + 1} of {len(pack)}: {shown}", flush=True)
    files.write_json(folder / f"found_{len(pack)}.json", protocol.summary(rows)["z"], indent=2)
    z = np.stack(latents)
    return dataclasses.replace(
        pack,
        z=z,
        cam2world=np.concatenate([camera.cam2world for camera in cameras]),
        intrinsics=np.concatenate([camera.intrinsics for camera in cameras]),
        latent_id=np.unique(z, axis=0, return_inverse=True)[1].reshape(-1),  # each view was inverted by itself
        name=f"{pack.name}, inverted",
        truncation_psi=1.0,
    )


def _invert(
    settings: Settings, model: Model, view: Annotations, folder: Path, encoder: TrainedEncoder | None
) -> tuple[Subject, dict[str, float]]:
    """What is found of a pack of one view, and how well: PSNR in dB, yaw and pitch off in degrees, seconds."""
    outcomes = stages.run(
        settings,
        model.replace(semantic=None),
        protocol.target_of(view),
        encoder=encoder,
        finished=stored.load(folder, ["start", *settings.stages]),
        done=lambda outcome: stored.save(folder, outcome),
    )
    last = [outcome for outcome in outcomes if outcome.kept][-1]
    off = orbiting.angles_between(view.camera, subjects.camera_of(last.subject))
    errors = {part: float(jnp.abs(getattr(off, part))[0]) for part in ("yaw", "pitch")}
    seconds = sum(outcome.seconds for outcome in outcomes)
    return last.subject, {"psnr": last.scores["psnr"], **errors, "seconds": seconds}
