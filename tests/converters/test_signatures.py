"""What a file is, by how it begins; pickles of every protocol may be pickles."""

import pickle

import foreign
import numpy as np

from converters import signatures


def test_pickles_and_files_of_torch_save_have_no_other_name():
    array = np.zeros(2, np.float32)
    for protocol in range(6):
        for content in ({"G_ema": 1}, [1], "text", None, 3, (1, 2)):
            assert signatures.kind(pickle.dumps(content, protocol)) is None
    assert signatures.kind(foreign.legacy([foreign.stored(array)], {"0": array})) is None
    assert signatures.kind(foreign.zipped([foreign.stored(array)], {"0": array})) is None


def test_others_are_named():
    assert "tar archive" in signatures.kind(bytes(257) + b"ustar" + bytes(200))
    assert "a page of the web" in signatures.kind(b"\xef\xbb\xbf \n<HTML>")
    assert "git lfs pull" in signatures.kind(b"version https://git-lfs.github.com/spec/v1\n")
    assert "a picture" in signatures.kind(b"\x89PNG\r\n\x1a\n")
