"""Other forms of a dataset: python -m dnerf_jax.export --dataset DIR --to coco --out DIR"""

from dnerf_jax import cli
from dnerf_jax.factory import exporting


def main(dataset: str, to: str, out: str, split: str | None = None) -> None:
    """Writes a dataset in a form that other programs read, without rendering anything again.

    dataset: folder that dnerf_jax.generate made
    to: the form: tfds, coco, cvat, folder (Hugging Face imagefolder); nerfstudio, colmap; of clouds points_ply, kitti,
        shapenet_part; of meshes mesh_ply, mesh_obj, mesh_glb
    out: new folder, which appears when it is whole
    split: train, say; all are written without it
    """
    exporting.export(dataset, to, out, split=split)
    print(f"{out}: {exporting.FORMS[to].text}")


if __name__ == "__main__":
    cli.door(main)
