#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes tables.h from hdr.def and h1_reason.def.

Usage: gen_tables.py hdr.def h1_reason.def tables.h

For hdr.def: a perfect hash over length, first, middle and last byte. The multiplier is searched in a
fixed order, so the output depends on the inputs alone. For h1_reason.def: the names in lower case.
"""
import re
import sys

SLOTS = 256


def read_names(path, pattern):
    with open(path, encoding="ascii") as f:
        return re.findall(pattern, f.read(), re.M)


def key(name):
    b = name.encode("ascii")
    n = len(b)
    if n == 0 or n > 255 or name != name.lower():
        raise SystemExit(f"{name}: not a lower-case name of 1 to 255 bytes")
    return n | (b[0] | 0x20) << 8 | (b[n // 2] | 0x20) << 16 | (b[n - 1] | 0x20) << 24


def find_multiplier(keys):
    if len(set(keys)) != len(keys):
        raise SystemExit("two names agree in length, first, middle and last byte: extend the key")
    m = 0x9E3779B1
    for _ in range(5_000_000):
        if len({(k * m & 0xFFFFFFFF) >> 24 for k in keys}) == len(keys):
            return m
        m = (m * 1664525 + 1013904223) & 0xFFFFFFFF | 1
    raise SystemExit("no multiplier found: enlarge the table")


def main():
    names = read_names(sys.argv[1], r'^MP_HDR\(\w+, "([^"]+)"\)')
    reasons = read_names(sys.argv[2], r"^MP_H1_REASON\((\w+),")
    keys = [key(n) for n in names]
    m = find_multiplier(keys)
    slots = [0] * SLOTS
    for i, k in enumerate(keys):
        slots[(k * m & 0xFFFFFFFF) >> 24] = i + 1
    quoted = ", ".join(f'"{r.lower()}"' for r in reasons)
    out = [
        "/* SPDX-License-Identifier: AGPL-3.0-or-later */",
        "/* Made by gen_tables.py. */",
        "#pragma once",
        f"#define MP_HDR_HASH_MUL 0x{m:08x}u",
        f"#define MP_HDR_NAME_MAX {max(map(len, names))}",
        f"#define MP_HDR_HASH_NAMES {len(names)}",
        f"#define MP_HDR_HASH_SLOTS {{{', '.join(map(str, slots))}}}",
        f"#define MP_H1_REASON_NAMES {quoted}",
        f"#define MP_H1_REASON_COUNT {len(reasons)}",
    ]
    with open(sys.argv[3], "w", encoding="ascii") as f:
        f.write("\n".join(out) + "\n")


main()
