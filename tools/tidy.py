#!/usr/bin/python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""clang-tidy on our own C files, side by side, each only when it or a header of it changed since it was clean.

    tidy.py BUILD [--checks=LIST] [--all] [--under=FOLDER] [--but=WORD]

BUILD is a meson folder made with clang that is up to date: ninja's record of headers tells what a file includes.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def headers_by_object(build):
    """Object -> our own files that it was made from, as ninja recorded them."""
    listed = subprocess.run(["ninja", "-C", build, "-t", "deps"], capture_output=True, text=True, check=True)
    deps, current = {}, None
    for line in listed.stdout.splitlines():
        if line and not line[0].isspace():
            current = deps.setdefault(line.split(": #deps")[0], [])
        elif line.strip() and current is not None:
            path = os.path.realpath(os.path.join(build, line.strip()))
            if path.startswith(ROOT + os.sep):
                current.append(path)
    return deps


def digest(paths, *extra):
    state = hashlib.sha256("\0".join(extra).encode())
    for path in sorted(paths):
        state.update(path.encode())
        try:
            with open(path, "rb") as file:
                state.update(file.read())
        except OSError:
            state.update(b"gone")
    return state.hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build")
    parser.add_argument("--checks", default="")
    parser.add_argument("--all", action="store_true", help="also files that were clean before")
    parser.add_argument("--under", default="", metavar="FOLDER", help="only files under it")
    parser.add_argument("--but", default="", metavar="WORD", help="not files with this word in their name")
    args = parser.parse_args()
    build = os.path.join(ROOT, args.build)
    marks = os.path.join(build, "tidy-clean")
    os.makedirs(marks, exist_ok=True)
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        entries = json.load(file)
    deps = headers_by_object(build)
    work = {}
    for entry in entries:
        source = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
        inside = os.path.join(ROOT, args.under, "") if args.under else ROOT + os.sep
        if not source.startswith(inside) or source.startswith(build + os.sep):
            continue  # generated code is its generator's matter
        if args.but and args.but in os.path.basename(source):
            continue
        files = [source, os.path.join(ROOT, ".clang-tidy"), *deps.get(entry.get("output", ""), [])]
        mark = os.path.join(marks, digest(files, source, args.checks))
        if args.all or not os.path.exists(mark):
            work[source] = mark

    def one(source):
        command = ["clang-tidy-14", "--quiet", "-p", build, source]
        if args.checks:
            command.insert(1, f"--checks=-*,{args.checks}")
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, cwd=ROOT)
        if done.returncode == 0 and not done.stdout.strip():
            with open(work[source], "w", encoding="utf-8"):
                pass
            return ""
        return done.stdout + done.stderr

    bad = 0
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for output in pool.map(one, sorted(work)):
            if output:
                print(output.rstrip())
                bad += 1
    print(f"{len(work)} files looked at, {bad} with findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
