#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the guest programs' sources as a C table: embed.py OUT FILE..."""
import os
import sys

with open(sys.argv[1], "w") as out:
    out.write('/* Made by embed.py. */\n#include "image/guest_sources.h"\n\n')
    for i, path in enumerate(sys.argv[2:]):
        with open(path, "rb") as f:
            data = f.read()
        out.write(f"static const char text_{i}[] = {{\n")
        for j in range(0, len(data), 16):
            out.write("\t" + ", ".join(str(b) for b in data[j:j + 16]) + ",\n")
        out.write("\t0,\n};\n\n")
    out.write("const struct rtg_source guest_sources[] = {\n")
    for i, path in enumerate(sys.argv[2:]):
        out.write(f'\t{{ "{os.path.basename(path)}", text_{i}, sizeof(text_{i}) - 1 }},\n')
    out.write("};\n\nconst size_t n_guest_sources = sizeof(guest_sources) / sizeof(guest_sources[0]);\n")
