#!/usr/bin/python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Instruction counts of single paths (a parsed head, a routed request, a proxied request) against their limits.

    callgrind_gate.py --build DIR             compare; exit 1 when a path costs more than its limit allows
    callgrind_gate.py --build DIR --update    write what was measured to tests/callgrind/limits.json

Only functions of src/ count, without the simulated backend: not libc or the loader, so that a patched libc does
not move the figures, and not the peers of a simulated request. The compiler does move them: limits.json names the one that they hold for, and with another
one the cases are skipped.
"""
import argparse
import concurrent.futures
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIMITS = os.path.join(ROOT, "tests", "callgrind", "limits.json")
TOLERANCE = 0.03
MARK = "cg_run"  # tests/callgrind/cg.h
NOT_COUNTED = {"mp_hash_fnv"}  # the trace of the simulation; no request needs it


def is_ours(path):
    """Is a function of this source file counted?"""
    path = path.replace(ROOT + "/", "/")  # the clone itself may lie in a folder of that name
    return "/src/" in path and not re.search(r"(^|/)sim_|_sim\.c$", path)


def own_cost(path, program):
    """Self cost of each counted function, from a callgrind.out file."""
    names = {}

    def resolve(kind, text):
        match = re.match(r"\((\d+)\)\s*(.*)", text)
        if not match:
            return text
        key = (kind, match[1])
        if match[2]:
            names[key] = match[2]
        return names.get(key, "")

    costs = {}
    own = False
    function = source = ""
    skip_next = False
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            line = line.rstrip("\n")
            if line.startswith("ob="):
                own = resolve("ob", line[3:]) == program
            elif line.startswith("cob="):
                resolve("ob", line[4:])
            elif line.startswith("fl="):
                source = resolve("fl", line[3:])
            elif re.match(r"(fi|fe|cfi|cfl)=", line):
                resolve("fl", line.split("=", 1)[1])
            elif line.startswith("fn="):
                function = resolve("fn", line[3:])
            elif line.startswith("cfn="):
                resolve("fn", line[4:])
            elif line.startswith("calls="):
                skip_next = True  # the next line is the callee's cost: counted there
            elif re.match(r"[+*\-\d]", line):
                if not skip_next and own and is_ours(source) and function not in NOT_COUNTED:
                    costs[function] = costs.get(function, 0) + int((line.split() + ["0"])[1])
                skip_next = False
    return costs


def measure(program, case):
    """(count, costs by function) or an error text."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--toggle-collect={MARK}",
             "--compress-strings=yes", program, case],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False)
        if done.returncode != 0:
            return 0, {}, f"exit code {done.returncode}: {done.stderr.strip()[-2000:]}"
        costs = own_cost(out, os.path.realpath(program))
        total = sum(costs.values())
        if total == 0:
            return 0, {}, f"no instruction counted inside {MARK}"
        return total, costs, ""


def cases_of(folder):
    """[(key, program, case)] of all cg_* programs; a program lists its cases."""
    found = []
    for program in sorted(glob.glob(os.path.join(folder, "tests", "callgrind", "cg_*"))):
        if not os.path.isfile(program) or not os.access(program, os.X_OK):
            continue
        listed = subprocess.run([program], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                timeout=60, check=True)
        found += [(f"{os.path.basename(program)}/{case}", program, case) for case in listed.stdout.split()]
    return found


def compiler():
    version = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, timeout=30, check=True)
    machine = subprocess.run(["gcc", "-dumpmachine"], capture_output=True, text=True, timeout=30, check=True)
    return f"gcc {version.stdout.strip()} {machine.stdout.strip()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build-test", help="meson build folder (optimised, no sanitizer)")
    parser.add_argument("--update", action="store_true")
    args = parser.parse_args()
    try:
        with open(LIMITS, encoding="utf-8") as file:
            recorded = json.load(file)
    except FileNotFoundError:
        recorded = {"compiler": compiler(), "limits": {}}
    limits = recorded["limits"]
    cases = cases_of(os.path.join(ROOT, args.build))
    comparable = recorded["compiler"] == compiler() or args.update
    passed = failed = skipped = 0
    measured = {}
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = pool.map(lambda c: measure(c[1], c[2]), cases)
        print(f"{'case':40} {'measured':>10} {'limit':>10} {'change':>8}")
        for (key, _, _), (count, costs, error) in zip(cases, results):
            limit = limits.get(key)
            change = f"{100 * (count / limit - 1):+.1f} %" if limit and count else "-"
            print(f"{key:40} {count:>10} {limit or '-':>10} {change:>8}")
            measured[key] = count
            if error:
                print(f"  {error}")
                failed += 1
            elif not comparable:
                skipped += 1
            elif args.update:
                passed += 1
            elif limit is None:
                print("  has no limit: record it with --update")
                failed += 1
            elif count > limit * (1 + TOLERANCE):
                print("  costs more than its limit allows. The functions with the most instructions:")
                for name, cost in sorted(costs.items(), key=lambda item: -item[1])[:12]:
                    print(f"  {cost:>10}  {name}")
                failed += 1
            else:
                if count < limit * (1 - TOLERANCE):
                    print("  is cheaper now: record it with --update")
                passed += 1
    for key in sorted(set(limits) - set(measured)):
        if not args.update:
            print(f"{key}: has a limit, but no program has this case")
            failed += 1
    if args.update and not failed:
        with open(LIMITS, "w", encoding="utf-8") as file:
            json.dump({"compiler": compiler(), "limits": measured}, file, indent=2)
            file.write("\n")
    if skipped:
        print(f"skipped: the limits hold for {recorded['compiler']}, this is {compiler()}")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
