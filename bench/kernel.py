#!/usr/bin/python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the guard costs a packet (BPF_PROG_TEST_RUN): a table and JSON in bench/results/. Root; `make` first.

usage: kernel.py [BUILD]      default: build
"""
import json
import os
import platform
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main():
    build = os.path.join(ROOT, sys.argv[1] if len(sys.argv) > 1 else "build")
    subprocess.run(["ninja", "-C", build, "--quiet", "tests/bpf/bench_kernel"], check=True, timeout=300)
    done = subprocess.run([os.path.join(build, "tests/bpf/bench_kernel")], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        sys.exit(done.stderr or done.returncode)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    table = ["<!-- SPDX-License-Identifier: AGPL-3.0-or-later -->", "# The guard: nanoseconds a packet", "",
             f"{time.strftime('%Y-%m-%d')}, Linux {platform.release()}, {os.cpu_count()} CPUs; best of 7 runs of 200,000.", "",
             "| row | ns | target |", "|---|---|---|"]
    table += [f"| {r['row']} | {r['ns']:.0f} | {'%.0f' % r['target_ns'] if r['target_ns'] else '-'} |" for r in rows]
    out = os.path.join(ROOT, "bench", "results")
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "kernel.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(table) + "\n")
    with open(os.path.join(out, "kernel.json"), "w", encoding="utf-8") as file:
        json.dump({"kernel": platform.release(), "rows": rows}, file, indent=1)
        file.write("\n")
    print("\n".join(table[2:]))


if __name__ == "__main__":
    main()
