#!/usr/bin/python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""All tests of the project, stage by stage, with one closing line `N passed, N failed[, N skipped]`.

    run_tests.py push               what must pass before a push (make test)
    run_tests.py nightly            the long versions (make nightly)
    run_tests.py fuzz               libFuzzer on one target or all (make fuzz)
    run_tests.py push --only e2e    stages whose name contains a word; builds they need are made
    run_tests.py push --list        the stages

Output of what fails is printed in full; every stage's output is kept in build/test-logs/.
"""
import argparse
import collections
import concurrent.futures
import glob
import os
import re
import shutil
import sys
import time

from testlib import (CORES, LOGS, PYTHON, ROOT, Build, Tally, count_junit, count_plain, no_aslr, run,
                     run_tests, say)

# Warnings are errors here and in CLANG alone: sanitizers make gcc 12 warn of what cannot happen.
RELEASE = Build("build-test", ["-Dwerror=true"])
ASAN = Build("build-asan", ["-Db_sanitize=address,undefined", "-Db_lundef=false",
                            "-Doptimization=1", "-Ddebug_asserts=true"])
TSAN = Build("build-tsan", ["-Db_sanitize=thread", "-Db_lundef=false", "-Ddebug_asserts=true"])
FUZZ = Build("build-fuzz", ["-Db_sanitize=address,undefined", "-Db_lundef=false", "-Doptimization=1",
                            "-Ddebug_asserts=true", "-Dfuzz=true"], cc="clang-14")
CLANG = Build("build-clang", ["-Dwerror=true", "-Db_lundef=false"], cc="clang-14")

# Unit tests that start threads: the short ThreadSanitizer run takes these beside the simulation.
THREADED = ("mailbox", "thread", "loop", "worker", "log", "stat", "object", "snapshot", "smoke")

# One simulated run of more than 50,000 streams over 10,000 connections.
MANY_STREAMS = ("--conns", "10000", "--streams", "12", "--body", "2000", "--calm")


def command_stage(name, command, timeout, env=None, log=None, show=False):
    """A program that is one test, or prints its own count. show: its output also when it passed."""
    tally = Tally()
    log = log or f"{name.replace(' ', '-')}.log"
    result = run(command, timeout, env=env, log=log)
    count_plain(name, result, log, tally)
    nothing_ran(tally, name)
    if tally.failed or show:
        print(result.output.rstrip())
    return tally


def needs(build, tally, name):
    """False, and a failure in the tally, when a stage cannot run for want of its build."""
    if build.done is None:
        return build.make(tally)
    if not build.done:
        tally.failed.append((f"{name}: not run, as {build.name} could not be built", ""))
    return build.done


def nothing_ran(tally, name):
    if tally.passed == 0 and not tally.failed and not tally.skipped:
        tally.failed.append((f"{name}: found no test to run", ""))
    return tally


def meson_stage(name, build, part, pick=None, prefix=(), env=None, timeout_factor=3.0):
    tally = Tally()
    if needs(build, tally, name):
        tests = [t for t in build.tests(part) if pick is None or pick(t)]
        ran = run_tests(tests, name.replace(" ", "-"), prefix=prefix, env=env, timeout_factor=timeout_factor)
        tally.add(nothing_ran(ran, name))
    return tally


def seeds(name, build, first, last, timeout, prefix=(), extra=()):
    """The whole proxy on virtual time, by seed, on all cores. A seed is a test; a bad one is printed with its number."""
    tally = Tally()
    if not needs(build, tally, name):
        return tally
    program = os.path.join(build.path, "tests", "sim", "sim")
    step = -(-(last - first + 1) // CORES)
    with concurrent.futures.ThreadPoolExecutor(CORES) as pool:
        jobs = []
        for start in range(first, last + 1, step):
            part = f"{start}-{min(start + step - 1, last)}"
            log = f"{name.replace(' ', '-')}-{part}.log"
            command = [*prefix, program, "--seeds", part, *extra]
            jobs.append((part, log, pool.submit(run, command, timeout, log=log)))
        for part, log, job in jobs:
            result = job.result()
            found = re.search(r"^(\d+) seeds, (\d+) failed;", result.output, re.MULTILINE)
            count, bad = (int(found[1]), int(found[2])) if found else (0, 0)
            tally.passed += count - bad
            tally.failed += [(f"{name}: a seed of {part}", log)] * bad
            if not result.ok and bad == 0:
                tally.failed.append((f"{name} {part}: exit code {result.code}", log))
            lines = result.output.strip().splitlines()
            shown = lines[:-1][:10] if not result.ok else []
            if len(lines) - 1 > len(shown) and shown:
                shown.append(f"... more in build/test-logs/{log}")
            say("\n".join(shown + lines[-1:]))
    return nothing_ran(tally, name)


def layers():
    return command_stage("layers", [PYTHON, "tools/check_layers.py"], 60)


def release_build():
    tally = Tally()
    RELEASE.make(tally)
    return tally


def unit_asan():
    return meson_stage("unit asan", ASAN, "unit")


def sim_asan():
    tally = meson_stage("sim asan", ASAN, "sim")
    tally.add(seeds("seeds asan", ASAN, 0, 399, 300))
    tally.add(seeds("many streams", RELEASE, 1, 1, 120, extra=MANY_STREAMS))
    return tally


def fuzz_replay():
    return meson_stage("fuzz replay", ASAN, "fuzz")


def is_threaded(test):
    return any(word in test["name"] for word in THREADED)


def kernel_programs(packets=200_000):
    """The BPF programs in the kernel; without the rights for it they count as skipped."""
    return meson_stage("kernel programs", RELEASE, "bpf", env={"GUARD_PACKETS": str(packets)},
                       timeout_factor=max(3, packets / 100_000))


def tsan_short():
    prefix = no_aslr()
    tally = meson_stage("unit tsan", TSAN, "unit", pick=is_threaded, prefix=prefix, timeout_factor=6)
    tally.add(seeds("seeds tsan", TSAN, 1000, 1039, 300, prefix=prefix))
    # The simulation has one thread: the real ones meet in these. Memory figures mean nothing here.
    tally.add(pytest("e2e tsan", TSAN, ["tests/e2e/test_basic.py", "tests/e2e/test_reload.py", "-k", "not grow"],
                     300, prefix))
    return tally


def callgrind():
    tally = Tally()
    if needs(RELEASE, tally, "callgrind"):
        tally.add(command_stage("callgrind", [PYTHON, "tools/callgrind_gate.py", "--build", RELEASE.path], 300,
                                show=True))
    return tally


def pytest(name, build, args, timeout, prefix=()):
    """End-to-end tests with the program of a build."""
    tally = Tally()
    if not needs(build, tally, name):
        return tally
    log = name.replace(" ", "-")
    junit = os.path.join(LOGS, log + ".xml")
    result = run([*prefix, PYTHON, "-m", "pytest", "-n", str(2 * CORES), "-q", "--color=no", "--maxfail=40", "-p",
                  "no:cacheprovider", f"--junitxml={junit}", *args], timeout,
                 env={"MARCHPROXY_BIN": os.path.join(build.path, "marchproxy")}, log=log + ".log")
    counted = Tally()
    if not count_junit(junit, log, counted) or (not result.ok and not counted.failed):
        counted.failed.append((f"{name}: pytest ended with code {result.code}", log + ".log"))
    if counted.failed:
        print(result.output.rstrip())
    tally.add(nothing_ran(counted, name))
    return tally


def end_to_end():
    return pytest("e2e", RELEASE, ["tests/e2e"], 900)


def guard_in_namespaces(pick=()):
    """The guard before the proxy, between network namespaces that the tests make; skipped without the rights for it."""
    return pytest("guard in namespaces", RELEASE, ["tests/netns", *pick], 300)


# ---- nightly ----

def tsan_long():
    prefix = no_aslr()
    tally = meson_stage("unit tsan", TSAN, "unit", prefix=prefix, timeout_factor=10)
    tally.add(meson_stage("sim tsan", TSAN, "sim", prefix=prefix, timeout_factor=10))
    tally.add(seeds("seeds tsan", TSAN, 1000, 3000, 3600, prefix=prefix))
    return tally


def sim_long():
    """Other seeds each night; the log tells which."""
    tally = meson_stage("sim asan", ASAN, "sim", timeout_factor=10)
    first = int(time.time()) // 86400 * 100_000
    tally.add(seeds("seeds asan", ASAN, first, first + 19_999, 3 * 3600))
    for seed in (1, 2, 3, 4):
        tally.add(seeds("many streams", RELEASE, seed, seed, 600, extra=MANY_STREAMS))
    return tally


def valgrind():
    """Without fortified libc calls: valgrind takes __memmove_chk for memcpy and complains of the overlap."""
    plain = Build("build-valgrind", ["-Dc_args=-U_FORTIFY_SOURCE"])
    prefix = ["valgrind", "-q", "--leak-check=full", "--error-exitcode=96"]
    return meson_stage("unit valgrind", plain, "unit", prefix=prefix, timeout_factor=30)


def check_protos():
    script = "tools/check_protos.sh"
    if not os.path.exists(os.path.join(ROOT, script)):
        found = sorted(glob.glob(os.path.join(ROOT, "tools", "check_protos.*")))
        script = os.path.relpath(found[0], ROOT) if found else script
    command = [PYTHON, script] if script.endswith(".py") else ["bash", script]
    return command_stage("check protos", command, 900)


def analyzer():
    """clang's. gcc 12's -fanalyzer finds nothing but leaks that are none here."""
    return command_stage("clang analyzer", ["tools/check.sh", "--analyze"], 3600)


def fuzz_targets():
    return sorted(path for path in glob.glob(os.path.join(FUZZ.path, "tests", "fuzz", "fuzz_*"))
                  if os.path.isfile(path) and os.access(path, os.X_OK))


def fuzz(seconds, only=""):
    """Each target for the given time. New inputs stay in build-fuzz/; a crash names its file."""
    tally = Tally()
    if not needs(FUZZ, tally, "fuzz"):
        return tally
    targets = [t for t in fuzz_targets() if only in os.path.basename(t)]
    if not targets:
        tally.failed.append((f"fuzz: no target matches '{only}'", ""))
    for target in targets:
        name = os.path.basename(target)
        topic = name[len("fuzz_"):]
        grown = os.path.join(FUZZ.path, "corpus", topic)
        crashes = os.path.join(FUZZ.path, "crashes", topic) + os.sep
        os.makedirs(grown, exist_ok=True)
        os.makedirs(crashes, exist_ok=True)
        folders = [grown]
        given = os.path.join(ROOT, "tests", "fuzz", "corpus", topic)
        if os.path.isdir(given):
            folders.append(given)
        own = os.path.join(ROOT, "tests", "fuzz", f"{topic}.dict")
        dictionary = own if os.path.exists(own) else os.path.join(ROOT, "tests", "fuzz", "http1.dict")
        options = [f"-max_total_time={seconds}", "-use_value_profile=1", "-timeout=10", "-rss_limit_mb=2048",
                   "-print_final_stats=1", f"-artifact_prefix={crashes}", f"-fork={CORES}", "-error_exitcode=1",
                   f"-dict={dictionary}"]
        say(f"      {name}: {seconds} s on {CORES} cores")
        tally.add(command_stage(name, [target, *options, *folders], seconds + 300, log=f"{name}.log"))
    return tally


PUSH = [
    ("layers", layers),
    ("release build, -Werror", release_build),
    ("unit tests, ASan+UBSan", unit_asan),
    ("simulation, ASan+UBSan", sim_asan),
    ("fuzz corpus replay, ASan+UBSan", fuzz_replay),
    ("kernel programs", kernel_programs),
    ("threads and simulation, TSan", tsan_short),
    ("callgrind instruction counts", callgrind),
    ("guard in namespaces", lambda: guard_in_namespaces(["-k", "not skb and not tcx-9000"])),
    ("end to end", end_to_end),
]
NIGHTLY = PUSH[:2] + [
    ("protos against published descriptors", check_protos),
    ("unit tests, ASan+UBSan", unit_asan),
    ("simulation, many seeds", sim_long),
    ("fuzzing", lambda: fuzz(int(os.environ.get("FUZZ_SECONDS", "600")))),
    ("unit tests and simulation, TSan", tsan_long),
    ("unit tests, valgrind", valgrind),
    ("guard in namespaces", guard_in_namespaces),
    ("kernel programs, 10 million packets", lambda: kernel_programs(10_000_000)),
    ("static analyzer", analyzer),
    ("callgrind instruction counts", callgrind),
    ("end to end, slow ones too", lambda: pytest("e2e", RELEASE, ["tests/e2e", "-m", "nightly or not nightly"], 3600)),
]


def run_stages(stages):
    total = Tally()
    begin = time.monotonic()
    for at, (name, stage) in enumerate(stages, 1):
        say(f"[{at}/{len(stages)}] {name} ...")
        start = time.monotonic()
        tally = stage()
        say(f"      {tally.line()} in {time.monotonic() - start:.1f} s")
        total.add(tally)
    say("")
    for name, reason in total.skipped:
        say(f"skipped: {name}: {reason}")
    for (name, log), times in collections.Counter(total.failed).items():
        say(f"FAILED: {name}" + (f", {times} times" if times > 1 else "") +
            (f" (build/test-logs/{log})" if log else ""))
    say(f"took {time.monotonic() - begin:.0f} s on {CORES} cores")
    say(total.line())
    return 1 if total.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("push", "nightly", "fuzz"))
    parser.add_argument("--only", default="", help="stages whose name contains this word")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--target", default="", help="fuzz: targets whose name contains this word")
    parser.add_argument("--seconds", type=int, default=60, help="fuzz: time for each target")
    args = parser.parse_args()
    stages = {"push": PUSH, "nightly": NIGHTLY,
              "fuzz": [("fuzzing", lambda: fuzz(args.seconds, args.target))]}[args.what]
    stages = [s for s in stages if args.only in s[0]]
    if args.list:
        print("\n".join(name for name, _ in stages))
        return 0
    if not stages:
        print(f"no stage matches '{args.only}'", file=sys.stderr)
        return 2
    shutil.rmtree(LOGS, ignore_errors=True)
    os.makedirs(LOGS)
    try:
        return run_stages(stages)
    except KeyboardInterrupt:
        say("interrupted")
        return 130


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
