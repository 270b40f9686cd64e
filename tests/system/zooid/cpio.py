"""The archive the kernel unpacks as initramfs (newc)."""

import os


def archive(entries):
    """bytes of a cpio of {path: bytes, or pathlib.Path, or None for a
    directory}; everything root's and executable."""
    out, inode = bytearray(), 1
    for path, content in entries.items():
        data = b"" if content is None else (
            content if isinstance(content, bytes) else content.read_bytes())
        _append(out, inode, path, 0o040755 if content is None else 0o100755,
                data)
        inode += 1
    _append(out, 0, "TRAILER!!!", 0, b"")
    return bytes(out) + bytes(-len(out) % 512)


def _append(out, inode, path, mode, data):
    name = os.fsencode(path) + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
    out += b"070701" + b"".join(b"%08X" % f for f in fields) + name
    out += bytes(-len(out) % 4)
    out += data
    out += bytes(-len(out) % 4)
