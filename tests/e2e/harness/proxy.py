# SPDX-License-Identifier: AGPL-3.0-or-later
"""The proxy as a child process."""
import json
import os
import re
import signal
import subprocess
import time

import yaml

from . import config, wire
from .ports import free_port

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BINARY = os.environ.get("MARCHPROXY_BIN", os.path.join(ROOT, "build", "marchproxy"))
SANITIZER = re.compile(r"(ERROR|WARNING): (Address|Leak|Thread|Memory)Sanitizer|runtime error:")


def environment():
    env = dict(os.environ)
    env.setdefault("ASAN_OPTIONS", "detect_leaks=1:quarantine_size_mb=4:exitcode=86")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1:exitcode=86")
    return env


def run_once(*args, timeout=20, text=None):
    """The binary with arguments, to its end: (exit code, stdout, stderr)."""
    p = subprocess.run([BINARY, *args], capture_output=True, timeout=timeout, env=environment(),
                       input=text, encoding="utf-8", errors="replace")
    assert not SANITIZER.search(p.stderr), p.stderr
    return p.returncode, p.stdout, p.stderr


class Proxy:
    def __init__(self, folder, text, ports, admin_port, args=(), name="march.yaml",
                 stdout=None, stderr=None, ready=True, concurrency=1, drain_s=3):
        self.folder = folder
        self.ports = ports
        self.port = ports[0] if ports else None
        self.admin_port = admin_port
        self.file = os.path.join(folder, name)
        with open(self.file, "w", encoding="utf-8") as f:
            f.write(text)
        self.out_path = os.path.join(folder, "stdout")
        self.err_path = os.path.join(folder, "stderr")
        self.stopped = False
        command = [BINARY, "-c", self.file]
        if concurrency is not None:
            command += ["--concurrency", str(concurrency)]
        if drain_s is not None:
            command += ["--drain-time-s", str(drain_s)]
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.process = subprocess.Popen(command + list(args), env=environment(),
                                            stdout=out if stdout is None else stdout,
                                            stderr=err if stderr is None else stderr,
                                            stdin=subprocess.DEVNULL, cwd=folder)
        if ready:
            try:
                self.wait_ready()
            except BaseException:
                self.kill()
                raise

    @property
    def pid(self):
        return self.process.pid

    @property
    def stdout(self):
        with open(self.out_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    @property
    def stderr(self):
        with open(self.err_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait_ready(self, timeout=15.0):
        deadline = time.monotonic() + timeout
        while True:
            if self.process.poll() is not None:
                raise AssertionError("exit code %d at start: %s" %
                                     (self.process.returncode, self.stderr))
            try:
                r = self.admin("/ready", timeout=2)
                if r.status == 200 and r.body == b"LIVE\n":
                    return
            except (OSError, wire.WireError):
                pass
            if time.monotonic() > deadline:
                raise AssertionError("not LIVE in time: %s" % self.stderr)
            time.sleep(0.01)

    # -- talking to it

    def connect(self, n=0, **kw):
        return wire.Client(self.ports[n], **kw)

    def get(self, target="/", n=0, **kw):
        """One request on its own connection."""
        return self.request("GET", target, n, **kw)

    def request(self, method="GET", target="/", n=0, **kw):
        with self.connect(n) as c:
            return c.request(method, target, **kw)

    def admin(self, target, method="GET", body=None, timeout=10.0, headers=(), host="127.0.0.1"):
        with wire.Client(self.admin_port, timeout=timeout) as c:
            return c.request(method, target, headers=list(headers) + [("Connection", "close")],
                             body=body, host=host)

    def admin_json(self, target):
        r = self.admin(target)
        assert r.status == 200, (target, r.status, r.body)
        return json.loads(r.body)

    def stats(self):
        out = {}
        for line in self.admin("/stats").body.decode().splitlines():
            name, _, value = line.partition(": ")
            out[name] = int(value) if re.fullmatch(r"-?\d+", value) else value
        return out

    def stat(self, name):
        """A counter or gauge; one that was never touched may be absent and is 0."""
        return self.stats().get(name, 0)

    def wait_stat(self, name, wanted, timeout=5.0):
        seen = []

        def check():
            seen.append(self.stat(name))
            return wanted(seen[-1]) if callable(wanted) else seen[-1] == wanted
        try:
            wire.until(check, timeout)
        except wire.Late:
            raise AssertionError("%s is %r" % (name, seen[-1])) from None
        return seen[-1]

    def rewrite(self, fields):
        """Puts these top-level fields into its file, without asking it to read it."""
        with open(self.file, encoding="utf-8") as f:
            document = yaml.safe_load(f)
        document.update(fields)
        with open(self.file + ".new", "w", encoding="utf-8") as f:
            f.write(config.dump(document))
        os.replace(self.file + ".new", self.file)

    # -- looking at it

    def memory_kb(self, field="Pss"):
        with open("/proc/%d/smaps_rollup" % self.pid, encoding="ascii") as f:
            for line in f:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        raise AssertionError("no %s" % field)

    def peak_kb(self):
        """High-water mark of resident memory since start or the last reset_peak()."""
        with open("/proc/%d/status" % self.pid, encoding="ascii") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
        raise AssertionError("no VmHWM")

    def reset_peak(self):
        with open("/proc/%d/clear_refs" % self.pid, "w", encoding="ascii") as f:
            f.write("5")

    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))

    def sanitized(self):
        with open("/proc/%d/maps" % self.pid, encoding="utf-8", errors="replace") as f:
            return any(s in f.read() for s in ("libasan", "libtsan", "libubsan"))

    # -- ending it

    def signal(self, number):
        os.kill(self.pid, number)

    def stop(self, timeout=15.0):
        """SIGTERM; a clean end is exit code 0 and nothing from a sanitizer."""
        if self.stopped:
            return
        self.stopped = True
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
            raise AssertionError("did not stop within %.0f s of SIGTERM" % timeout) from None
        report = self.stderr
        assert not SANITIZER.search(report), report
        assert code == 0, "exit code %d: %s" % (code, report[-4000:])

    def kill(self):
        self.stopped = True
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)


def new_ports(n):
    return [free_port() for _ in range(n)]
