"""Writes the files of this folder with the real PyTorch: `python tests/converters/data/make_torch_files.py`.

    torch_pickle.pkl  pickle.dump, storages inside as bytes, as in EG3D's network pickles
    torch_legacy.pt   torch.save in its legacy format
    torch_zip.pt      torch.save in its zip format

All have `content()`. The suite does not need PyTorch, so the files are committed (made with torch 2.13).
"""

import pathlib
import pickle

import torch


def content():
    """Return tensors of all the types and layouts that networks are stored with, of known values."""
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4) / 8
    return {
        "float32": base,
        "transposed": base.permute(2, 0, 1),
        "slice": base[:, 1, ::2],
        "expanded": base[0, 0, :1].expand(3),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "channels_last": base[None].contiguous(memory_format=torch.channels_last),
        "float16": base.half(),
        "bfloat16": base.bfloat16(),
        "float64": base.double(),
        "int64": torch.arange(5),
        "bool": torch.arange(4) % 2 == 0,
        "parameter": torch.nn.Parameter(base[0]),
        "dtype": torch.float16,
        "size": base.shape,
    }


if __name__ == "__main__":
    folder = pathlib.Path(__file__).parent
    with open(folder / "torch_pickle.pkl", "wb") as file:
        module = torch.nn.Sequential(torch.nn.Softplus(), torch.nn.Flatten())
        pickle.dump(content() | {"module": module}, file)
    torch.save(content(), folder / "torch_legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(content(), folder / "torch_zip.pt")
