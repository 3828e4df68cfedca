"""Figure S10 of the paper: spatiotemporal line textures, of exact frames, of ours, and of frames sampled one by one."""

import functools

import jax
import numpy as np

from dnerf_jax.experiments import ablations, rows
from dnerf_jax.experiments.ablations import Bench
from dnerf_jax.io import files, packs, png
from dnerf_jax.io.packs import Annotations
from dnerf_jax.models import scenes
from dnerf_jax.models.model import Model
from dnerf_jax.ops import consistency, images
from dnerf_jax.training.scoring import EMBEDDED
from dnerf_jax.viz import pictures
from dnerf_jax.worlds import heads

LINE = 0.47  # height of the row of the figure in the image: through the eyes


def make_figure(bench: Bench) -> dict[str, dict[str, float]]:
    """The line textures of the held-out video, ours and with noise drawn for every frame, and their numbers.

    Writes figureS10.png and figureS10.json; returns what the latter holds.
    """
    model = ablations.trained(bench, rows.TABLES["4"][-1], seed=0)
    views = packs.load(EMBEDDED["video"], model)
    distance = exact_distance(views)
    videos = {
        "exact": (views.images, views.masks),
        "ours": film(model, views),
        "noise per frame": film(model, views, key=jax.random.key(0)),
    }
    agreement, textures = {}, []
    line = int(LINE * views.resolution)
    for title, (frames, masks) in videos.items():
        share, compared = consistency.warped_agreement(masks, distance, views.camera)
        agreement[title] = {"label_agreement": share, "points": compared}
        both = [consistency.line_texture(x, line) for x in (frames, views.label_map.colorize(masks))]
        textures.append([pictures.enlarge(texture, 3) for texture in both])
        print(f"{title}: neighbouring frames agree on {share:.4f} of {compared} points")
    sheet = pictures.sheet(textures, row_labels=list(videos), column_labels=["colour", "mask"])
    png.save_image(bench.out / "figureS10.png", sheet, optimize=True)
    files.write_json(bench.out / "figureS10.json", agreement)
    return agreement


def exact_distance(views: Annotations) -> np.ndarray:
    """The world's distance (T, R, R) along the rays of a pack's views of its first latent; infinite where empty."""
    head = heads.build(views.z[0])
    poses = zip(views.cam2world, views.intrinsics, strict=True)
    distance = np.stack([heads.render(head, *pose, views.resolution, samples=1).distance for pose in poses])
    return np.where(distance > 0, distance, np.inf)


def film(model: Model, views: Annotations, *, key: jax.Array | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Images (T, R, R, 3) uint8 and masks (T, R, R) of a pack's views of its first latent.

    key: draws noise and sample depths anew for every frame, as generators do that are sampled frame by frame.
    """
    synthesize = functools.partial(_synthesize, model, views.z[0], truncation_psi=views.truncation_psi)
    still = synthesize()
    frames, masks, camera = [], [], views.camera
    for t in range(len(views)):
        one, of_rays = still, None
        if key is not None:
            of_noise, of_rays = jax.random.split(jax.random.fold_in(key, t))
            one = synthesize(noise_mode="random", key=of_noise)
        view = _render(model, one, camera[t], key=of_rays)
        frames.append(images.to_uint8(view.image, span=(-1, 1)))
        masks.append(np.asarray(view.mask))
    return np.stack(frames), np.stack(masks)


_synthesize, _render = jax.jit(scenes.synthesize, static_argnames="noise_mode"), jax.jit(scenes.render)
