"""Package metadata of dnerf_jax; tool settings are in pyproject.toml, exact versions in requirements.lock."""

from setuptools import find_packages, setup

# Lower bounds are the oldest versions that the tests have run with, not guesses at what might still work.
REQUIRES = [
    "absl-py>=2.1",
    "chex>=0.1.90",
    "clu>=0.0.12",
    "einops>=0.8",
    "flax>=0.12.8",
    "isal>=1.7",
    "jax>=0.10.2",
    "matplotlib>=3.9",
    "ml-collections>=1.1",
    "numpy>=2.0",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12.8",
    "pillow>=11.0",
    "scipy>=1.14",
]

# Tracing rays against meshes; runs only where a world's images are made, never where a model is used.
WORLDS = ["embreex>=4.4"]
# Marching cubes, and meshes in other formats than PLY.
MESHES = ["scikit-image>=0.25", "trimesh>=4.5"]
# The page that labels are painted on.
LABEL = ["starlette>=1.0", "uvicorn>=0.40"]
# The page that scenes and datasets are turned on.
VIEW = ["viser>=1.1", "trimesh>=4.5"]
NOTEBOOKS = ["ipykernel>=6.29", "nbclient>=0.10", "nbformat>=5.10"]
TEST = ["pytest>=8.3", "pytest-xdist>=3.6", "ruff>=0.17", "mypy>=2.0", "httpx>=0.28"]
TEST += [*WORLDS, *MESHES, *LABEL, *VIEW, *NOTEBOOKS]

# What datasets are read by and exported to.
EXPORT = ["pycocotools>=2.0.8", "trimesh>=4.5"]
TFDS = ["tensorflow-datasets>=4.9.9", "array-record>=0.5"]
GRAIN = ["grain>=0.2.10"]
HF = ["datasets>=4.0"]
# Where datasets are made: on clusters.
RAY = ["ray>=2.60"]
SLURM = ["submitit>=1.5.2"]

EXTRAS = {
    "gpu": ["jax[cuda12]>=0.10.2"],
    "tpu": ["jax[tpu]>=0.10.2"],
    "worlds": WORLDS,
    "worlds-export": [*WORLDS, "anny>=0.6", "torch>=2.6"],
    "convert": [],  # converters/ reads PyTorch's files without PyTorch
    "label": LABEL,
    "view": VIEW,
    "notebooks": NOTEBOOKS,
    "meshes": MESHES,
    "export": EXPORT,
    "tfds": TFDS,
    "grain": GRAIN,
    "hf": HF,
    "ray": RAY,
    "slurm": SLURM,
    "faces": ["dlib-bin>=20.0"],  # finds the head in a photo; dlib itself, which is compiled, does as well
    "test": TEST,
    # The libraries of every form that a dataset has, a gigabyte: what make test-all needs.
    "test-all": [
        *TEST,
        *EXPORT,
        *TFDS,
        *GRAIN,
        *HF,
        *RAY,
        *SLURM,
        "playwright>=1.50",
        "webdataset>=1.0",
        "pycolmap>=4.0",
        "mlcroissant>=1.1",
    ],
}

# Folders at the top of the repository, but parts of the package where it is installed: their own names are too common.
MOVED = {"dnerf_jax.configs": "configs", "dnerf_jax.converters": "converters"}

setup(
    name="dnerf_jax",
    version="0.1.0",
    description="Labelled 3D datasets without end from about 90 labelled views: DatasetNeRF in JAX and Flax",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*find_packages(include=["dnerf_jax", "dnerf_jax.*"]), *MOVED],
    package_dir=MOVED,
    package_data={"dnerf_jax": ["assets/**", "labelling/page/*", "py.typed"]},
    install_requires=REQUIRES,
    extras_require=EXTRAS,
)
