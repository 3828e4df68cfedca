"""What a file is that is no pickle, by how it begins."""

# The first bytes, what they are of, and what to do about it.
_KINDS = (
    (b"version https://git-lfs", "a pointer of Git LFS, which stands for the file: get the file by `git lfs pull`"),
    (b"\x1f\x8b", "compressed by gzip: unpack it by gunzip"),
    (b"\xfd7zXZ\x00", "compressed by xz: unpack it by unxz"),
    (b"BZh", "compressed by bzip2: unpack it by bunzip2"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd: unpack it by unzstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x93NUMPY", "an array of NumPy"),
    (b"GGUF", "a GGUF file"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "a program"),
)
_MARKUP = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<!--")
START = 512  # bytes that are looked at


def kind(start: bytes) -> str | None:
    """What a file with these first START bytes is, with what to do about it; None where it may be a pickle."""
    if not start:
        return "empty (0 bytes): copy or download it again"
    for signature, words in _KINDS:
        if start.startswith(signature):
            return words
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_MARKUP):
        return "a page of the web, which a download gave in the file's place: download it again, logged in if need be"
    if start[257:262] == b"ustar":
        return "a tar archive: unpack it"
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 32 and start[9:10] in b'"} \n':
        return "a safetensors file, whose tensors lack the configuration (rendering options, plane axes, clamps)"
    return None
