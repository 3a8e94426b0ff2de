#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seed corpus of fuzz_fuse: one well-formed sequence for each operation."""
import pathlib
import struct
import sys


def rec(op, body=b"", node=0x80, handle=0, room=7):
    return struct.pack("<BBBBH", op, node, handle, room, len(body)) + body


def name(*names):
    return b"".join(n.encode() + b"\0" for n in names)


LOOKUP = rec(1, name("file"))
OPEN = LOOKUP + rec(14, struct.pack("<II", 2, 0), node=1)
OPENDIR = rec(27, struct.pack("<II", 0x10000, 0))
READ = struct.pack("<QQIIQII", 0, 0, 4096, 0, 0, 0, 0)
SETATTR = lambda valid, **kw: struct.pack(  # noqa: E731
    "<IIQQQQQQIIIIIIII", valid, 0, 0, kw.get("size", 0), 0, 0, 0, 0, 0, 0, 0,
    kw.get("mode", 0o644), 0, 0, 0, 0)

SEEDS = {
    "lookup": LOOKUP + rec(1, name("dir")) + rec(1, name("link")) + rec(1, name("none")),
    "forget": LOOKUP + rec(2, struct.pack("<Q", 1), node=1),
    "batch_forget": LOOKUP + rec(42, struct.pack("<IIQQ", 1, 0, 1, 1)),
    "getattr": rec(3, bytes(16)),
    "setattr": LOOKUP + rec(4, SETATTR(1), node=1) + rec(4, SETATTR(8, size=10), node=1)
    + rec(4, SETATTR(0x180), node=1) + rec(4, SETATTR(6), node=1),
    "readlink": rec(1, name("link")) + rec(5, node=1),
    "symlink": rec(6, name("s", "../target")),
    "mknod": rec(8, struct.pack("<IIII", 0o100644, 0, 0o22, 0) + name("n")),
    "mkdir": rec(9, struct.pack("<II", 0o755, 0o22) + name("d")) + rec(11, name("d")),
    "unlink": rec(8, struct.pack("<IIII", 0o100644, 0, 0, 0) + name("u")) + rec(10, name("u")),
    "rename": rec(12, struct.pack("<Q", 1) + name("file", "file2"))
    + rec(12, struct.pack("<Q", 1) + name("file2", "file")),
    "rename2": rec(45, struct.pack("<QII", 1, 2, 0) + name("file", "dir")),
    "link": rec(13, struct.pack("<Q", 2) + name("hard")),
    "open_read": OPEN + rec(15, READ, node=1, handle=8) + rec(18, bytes(24), handle=8),
    "write": OPEN + rec(16, struct.pack("<QQIIQII", 0, 0, 5, 0, 0, 0, 0) + b"hello", node=1, handle=8),
    "statfs": rec(17),
    "fsync": OPEN + rec(20, bytes(16), node=1, handle=8),
    "xattr": LOOKUP + rec(21, struct.pack("<IIII", 3, 0, 0, 0) + name("user.a") + b"abc", node=1)
    + rec(22, struct.pack("<II", 100, 0) + name("user.a"), node=1)
    + rec(23, struct.pack("<II", 1000, 0), node=1) + rec(24, name("user.a"), node=1),
    "readdir": OPENDIR + rec(28, READ, handle=8) + rec(44, READ, handle=8) + rec(29, bytes(24), handle=8),
    "create": rec(35, struct.pack("<IIII", 2, 0o100600, 0o22, 0) + name("new")) + rec(10, name("new")),
    "tmpfile": rec(51, struct.pack("<IIII", 2, 0o100600, 0, 0) + name("t")),
    "fallocate": OPEN + rec(43, struct.pack("<QQQII", 0, 0, 4096, 0, 0), node=1, handle=8),
    "lseek": OPEN + rec(46, struct.pack("<QQII", 0, 0, 3, 0), node=1, handle=8),
    "copy": OPEN + rec(47, struct.pack("<QQQQQQQ", 0, 0, 2, 0, 100, 10, 0), node=1, handle=8),
    "statx": rec(52, bytes(24)),
    "syncfs": rec(50, bytes(8)),
    "ioctl": OPEN + rec(39, struct.pack("<QIIQII", 0, 0, 0x80086601, 0, 0, 8), node=1, handle=8),
    "dax": LOOKUP + rec(48, struct.pack("<QQQQQ", 0, 0, 4096, 3, 0), node=1)
    + rec(49, struct.pack("<IQQ", 1, 0, 4096)),
    "destroy": rec(38),
}

if __name__ == "__main__":
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for key, value in SEEDS.items():
        (out / key).write_bytes(value)
