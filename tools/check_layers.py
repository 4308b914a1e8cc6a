#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Checks that each folder under src includes only the folders below it.

Prints file:line of each wrong include and exits with 1. Includes in angle brackets are the system's and
are not checked, except under bpf, where only the kernel's headers exist.
"""
import pathlib
import re
import sys

# An entry is a folder, a header, or a pattern of headers of a folder.
MAY_INCLUDE = {
    "base": [],
    "codec": ["base"],
    "io": ["base", "codec"],
    "conf": ["base"],
    "core": ["base", "io", "codec", "conf"],
    "bpf": ["bpf/shared"],
    "filters": ["base", "codec", "conf", "core/filter.h"],
    "rpc": ["base", "io", "codec", "core/upstream.h"],
    "xds": ["base", "io", "codec", "conf", "rpc"],
    "wasm": ["base", "io", "codec", "conf", "core/filter.h"],
    "kern": ["base", "io", "conf", "bpf/shared", "core/*_ops.h"],
    "admin": ["base", "io", "codec", "conf", "core"],
    "control": ["base", "io", "codec", "conf", "core", "filters", "rpc", "xds"],
    "cli": ["base", "io", "codec", "conf", "rpc"],
    "proxy": ["base", "io", "codec", "conf", "core", "bpf/shared", "filters", "rpc", "xds", "wasm",
              "kern", "admin"],
}
KERNEL = ("linux/", "asm/", "bpf/bpf_", "stddef.h", "stdbool.h", "stdint.h")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')


def is_below(header, allowed):
    path = pathlib.PurePosixPath(header)
    return any(str(path) == a or path.match(a) or a in map(str, path.parents) for a in allowed)


def wrong_include(path, quoted, system, src):
    folder = path.relative_to(src).parts[0]
    if folder not in MAY_INCLUDE:
        return f"folder {folder} is not in the table of layers"
    if system is not None:
        ok = folder != "bpf" or system.startswith(KERNEL)
        return None if ok else f"<{system}> is not for kernel programs"
    if ".." in quoted.split("/"):
        return f'"{quoted}" leaves its folder'
    if "/" not in quoted:
        # Only what the build generates has no folder (skeletons, tables, protobuf).
        return f'"{quoted}" lacks its folder' if (path.parent / quoted).exists() else None
    top = quoted.split("/")[0]
    if top not in MAY_INCLUDE:
        return None if not (src / quoted).exists() else f'"{quoted}" is in no known layer'
    own = folder == top
    if own and folder == "filters" and path.name != "registry.c":
        # Never a sibling: only what all filters share, and headers of the same filter.
        stem = pathlib.PurePosixPath(quoted).stem
        own = quoted.count("/") == 1 or path.stem.startswith(stem) or stem.startswith(path.stem)
    if own or is_below(quoted, MAY_INCLUDE[folder]):
        return None
    return f'{folder} may not include "{quoted}"'


def main():
    src = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1] / "src")
    wrong = 0
    for path in sorted(p for p in src.rglob("*") if p.suffix in (".c", ".h", ".def") and p.parent != src):
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            hit = INCLUDE.match(line)
            reason = hit and wrong_include(path, hit.group(1), hit.group(2), src)
            if reason:
                print(f"{path}:{number}: {reason}")
                wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
