# SPDX-License-Identifier: AGPL-3.0-or-later
"""Running things for run_tests.py: processes with a time limit, meson build folders, TAP, junit, the tally."""
import concurrent.futures
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOGS = os.path.join(ROOT, "build", "test-logs")
MESON = "/usr/bin/meson"
PYTHON = "/usr/bin/python3"
CORES = len(os.sched_getaffinity(0))

# Sanitizers must fail the process; leaks count.
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1:exitcode=99",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:exitcode=98",
    "TSAN_OPTIONS": "halt_on_error=0:exitcode=97:second_deadlock_stack=1",
}


class Tally:
    """What passed, failed and was skipped, over all stages."""

    def __init__(self):
        self.passed = 0
        self.failed = []   # (name, where to read more)
        self.skipped = []  # (name, reason)

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def line(self):
        text = f"{self.passed} passed, {len(self.failed)} failed"
        return text + (f", {len(self.skipped)} skipped" if self.skipped else "")


class Result:
    def __init__(self, code, output, seconds, timed_out):
        self.code, self.output, self.seconds, self.timed_out = code, output, seconds, timed_out

    @property
    def ok(self):
        return self.code == 0 and not self.timed_out


def run(command, timeout, env=None, cwd=ROOT, log=None):
    """Runs a command in a process group of its own and ends the whole group when the time is up."""
    start = time.monotonic()
    full_env = dict(os.environ, **SANITIZER_ENV, **(env or {}))
    try:
        process = subprocess.Popen(command, cwd=cwd, env=full_env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    except OSError as error:
        return Result(127, f"{command[0]}: {error.strerror}\n", 0.0, False)
    timed_out = False
    try:
        raw, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
        end_group(process)
        raw, _ = process.communicate()
    except BaseException:
        end_group(process)
        raise
    output = raw.decode("utf-8", "replace")
    if timed_out:
        output += f"\n(ended after {timeout} s: out of time)\n"
    if log:
        os.makedirs(LOGS, exist_ok=True)
        with open(os.path.join(LOGS, log), "w", encoding="utf-8") as file:
            file.write("$ " + " ".join(command) + "\n" + output)
    return Result(process.returncode, output, time.monotonic() - start, timed_out)


def end_group(process):
    for signo in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signo)
        except ProcessLookupError:
            return
        try:
            process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            pass


def no_aslr():
    """gcc 12's ThreadSanitizer cannot live with the address space layout of newer kernels."""
    prefix = ["setarch", "-R"]
    return prefix if run(prefix + ["true"], 10).ok else []


class Build:
    """One meson build folder with fixed options; made anew when the options have changed."""

    def __init__(self, folder, options, cc=None):
        self.path = os.path.join(ROOT, folder)
        self.name = folder
        self.options = options
        self.cc = cc
        self.done = None

    def make(self, tally, targets=(), timeout=600):
        """Counts as one test. Returns False when it failed."""
        result = self.setup()
        if result.ok:
            result = run(["ninja", "-C", self.path, "--quiet", *targets], timeout, log=f"build-{self.name}.log")
        self.done = result.ok
        if result.ok:
            tally.passed += 1
        else:
            # Without what meson says when it configures again first.
            at = max(result.output.find("FAILED:"), result.output.find("ERROR:"), 0)
            print(result.output[at:].rstrip())
            tally.failed.append((f"build of {self.name}", f"build-{self.name}.log"))
        return result.ok

    def setup(self):
        stamp = os.path.join(self.path, "options.json")
        wanted = json.dumps([self.cc, self.options])
        try:
            with open(stamp, encoding="utf-8") as file:
                if file.read() == wanted and os.path.exists(os.path.join(self.path, "build.ninja")):
                    return Result(0, "", 0.0, False)
        except OSError:
            pass
        shutil.rmtree(self.path, ignore_errors=True)
        result = run([MESON, "setup", self.path, ROOT, *self.options], 300,
                     env={"CC": self.cc} if self.cc else None, log=f"setup-{self.name}.log")
        if result.ok:
            with open(stamp, "w", encoding="utf-8") as file:
                file.write(wanted)
        return result

    def tests(self, part):
        """Tests whose program lies in tests/<part>/ of the build folder or of the source, as meson lists them."""
        result = run([MESON, "introspect", "--tests", self.path], 60)
        if not result.ok:
            return []
        inside = tuple(os.path.join(top, "tests", part) + os.sep for top in (self.path, ROOT))
        found = [t for t in json.loads(result.output) if t["cmd"][0].startswith(inside)]
        for test in found:
            test["workdir"] = test["workdir"] or self.path
        return found


def count_tap(name, result, log, tally):
    """Reads TAP; every case counts. A plan that is not met, or a bad exit without a failed case, is a failure."""
    seen = failed = 0
    plan = None
    for line in result.output.splitlines():
        case = re.match(r"(not )?ok\b\s*\d*\s*-?\s*([^#]*)(#\s*SKIP\b\s*(.*))?", line, re.IGNORECASE)
        if case:
            seen += 1
            label = f"{name}: {case[2].strip() or seen}"
            if case[3]:
                tally.skipped.append((label, case[4].strip() or "no reason given"))
            elif case[1]:
                failed += 1
                tally.failed.append((label, log))
            else:
                tally.passed += 1
            continue
        planned = re.match(r"1\.\.(\d+)(?:\s*#\s*SKIP\b\s*(.*))?", line, re.IGNORECASE)
        if planned:
            plan = int(planned[1])
            if plan == 0:
                tally.skipped.append((name, planned[2] or "no reason given"))
                seen = 0
    if plan is None or plan != seen:
        tally.failed.append((f"{name}: ran {seen} cases, planned {plan}", log))
    elif not result.ok and failed == 0:
        tally.failed.append((f"{name}: exit code {result.code} though no case failed", log))


def count_plain(name, result, log, tally):
    """`N passed, N failed` as the last such line, else one test by exit code (77: skipped)."""
    counts = re.findall(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", result.output, re.MULTILINE)
    if result.code == 77:
        lines = result.output.strip().splitlines()
        tally.skipped.append((name, lines[-1] if lines else "no reason given"))
    elif counts:
        passed, failed, skipped = (int(n or 0) for n in counts[-1])
        tally.passed += passed
        tally.failed += [(name, log)] * failed
        tally.skipped += [(name, "see " + log)] * skipped
        if not result.ok and failed == 0:
            tally.failed.append((f"{name}: exit code {result.code} though no case failed", log))
    elif result.ok:
        tally.passed += 1
    else:
        tally.failed.append((name, log))


def run_tests(tests, stage, prefix=(), env=None, timeout_factor=1.0, jobs=None):
    """Runs meson tests side by side and counts their cases; failures are printed in full."""
    total = Tally()
    jobs = jobs or CORES

    def one(test):
        tally = Tally()
        log = f"{stage}-{test['name']}.log".replace("/", "-").replace(" ", "-")
        timeout = (test["timeout"] if test["timeout"] > 0 else 120) * timeout_factor
        result = run([*prefix, *test["cmd"]], timeout, env={**test["env"], **(env or {})},
                     cwd=test["workdir"], log=log)
        count = count_tap if test["protocol"] == "tap" else count_plain
        count(test["name"], result, log, tally)
        if result.timed_out and not tally.failed:
            tally.failed.append((test["name"] + ": out of time", log))
        return test["name"], tally, result

    # The long ones first, so that no core idles at the end.
    ordered = sorted(tests, key=lambda t: -t["timeout"])
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for done in concurrent.futures.as_completed([pool.submit(one, t) for t in ordered]):
            name, tally, result = done.result()
            if tally.failed:
                print(f"---- {stage} {name} failed (exit code {result.code}, {result.seconds:.1f} s)")
                print(result.output.rstrip())
                print("----")
            total.add(tally)
    return total


def count_junit(path, stage, tally):
    """Adds a junit file; False when there is none or it cannot be read."""
    try:
        tree = ElementTree.parse(path)
    except (OSError, ElementTree.ParseError):
        return False
    for case in tree.iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            tally.failed.append((name, f"{stage}.log"))
        elif skipped is not None:
            tally.skipped.append((name, (skipped.get("message") or "no reason given").splitlines()[0]))
        else:
            tally.passed += 1
    return True


def say(text):
    print(text, flush=True)
    sys.stdout.flush()
