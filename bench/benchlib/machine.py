# SPDX-License-Identifier: AGPL-3.0-or-later
"""The machine: CPU accounting of process groups, memory, calibration, free ports."""
import os
import platform
import random
import shutil
import signal
import socket
import subprocess
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BENCH = os.path.join(ROOT, "bench")
WORK = os.path.join(BENCH, "work")
PROXY_CPU, LOAD_CPU = 0, 1
V1 = "/sys/fs/cgroup/cpuacct"
V2 = "/sys/fs/cgroup"


def build_helpers():
    """The backend and the calibration program."""
    os.makedirs(WORK, exist_ok=True)
    for name in ("backend", "calib"):
        source = os.path.join(BENCH, "src", name + ".c")
        out = os.path.join(WORK, name)
        if not os.path.exists(out) or os.path.getmtime(out) < os.path.getmtime(source):
            subprocess.run(["gcc", "-std=gnu17", "-O2", "-Wall", "-Wextra", "-o", out, source],
                           check=True)


def calibrate():
    """Nanoseconds of the loopback ping-pong on the proxy's CPU, now."""
    out = subprocess.run(["taskset", "-c", str(PROXY_CPU), os.path.join(WORK, "calib")],
                         capture_output=True, check=True, encoding="ascii", timeout=20)
    return float(out.stdout)


def free_port():
    for _ in range(1000):
        port = random.randrange(17000, 30000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


class Group:
    """The processes of one proxy and the CPU time that they have used, softirq work included.

    A cpuacct cgroup (v1) or a cgroup of the unified hierarchy counts exactly, also threads that have ended. Without
    one, the run times of all live threads are added up.
    """

    def __init__(self, name):
        self.name = "marchproxy_bench_%d_%s" % (os.getpid(), name)
        self.leader = None
        self.path = None
        self.kind = "threads"
        for kind, base, usage in (("cpuacct", V1, "cpuacct.usage"), ("cgroup2", V2, "cpu.stat")):
            path = os.path.join(base, self.name)
            if not os.path.exists(os.path.join(base, usage if kind == "cpuacct" else "cgroup.procs")):
                continue
            try:
                os.mkdir(path)
            except OSError:
                continue
            if os.path.exists(os.path.join(path, usage)):
                self.path, self.kind = path, kind
                return
            os.rmdir(path)

    def start(self, command, cpu, log, env=None, cwd=None):
        def prepare():
            if self.path:
                with open(os.path.join(self.path, "cgroup.procs"), "w", encoding="ascii") as f:
                    f.write("0")
            os.sched_setaffinity(0, {cpu})
            os.setsid()
        with open(log, "ab") as out:
            self.leader = subprocess.Popen(command, preexec_fn=prepare, stdout=out, stderr=out,
                                           stdin=subprocess.DEVNULL, env=env, cwd=cwd)

    def pids(self):
        if self.path:
            with open(os.path.join(self.path, "cgroup.procs"), encoding="ascii") as f:
                return [int(x) for x in f.read().split()]
        if self.leader is None or self.leader.poll() is not None:
            return []
        found, todo = [], [self.leader.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for task in _list("/proc/%d/task" % pid):
                children = _read("/proc/%d/task/%s/children" % (pid, task))
                todo += [int(x) for x in children.split()]
        return found

    def cpu_ns(self):
        if self.kind == "cpuacct":
            return int(_read(os.path.join(self.path, "cpuacct.usage")))
        if self.kind == "cgroup2":
            for line in _read(os.path.join(self.path, "cpu.stat")).splitlines():
                if line.startswith("usage_usec "):
                    return int(line.split()[1]) * 1000
        total = 0
        for pid in self.pids():
            for task in _list("/proc/%d/task" % pid):
                total += _thread_ns("/proc/%d/task/%s" % (pid, task))
        return total

    def pss_bytes(self):
        total = 0
        for pid in self.pids():
            for line in _read("/proc/%d/smaps_rollup" % pid).splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        return total

    def stop(self):
        """Ends the processes of this group and no others."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.pids():
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
            for _ in range(60):
                if self.leader is not None:
                    self.leader.poll()
                if not self.pids():
                    break
                time.sleep(0.05)
        if self.leader is not None:
            self.leader.wait(5)
        if self.path:
            try:
                os.rmdir(self.path)
            except OSError:
                pass


def _list(path):
    try:
        return os.listdir(path)
    except OSError:
        return []


def _read(path):
    try:
        with open(path, encoding="ascii", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def _thread_ns(path):
    precise = _read(path + "/schedstat").split()
    if precise:
        return int(precise[0])
    fields = _read(path + "/stat").rpartition(")")[2].split()
    if len(fields) < 13:
        return 0
    return (int(fields[11]) + int(fields[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def wait_listening(port, group, log, timeout=20):
    deadline = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            pass
        if (group.leader.poll() is not None and not group.pids()) or time.monotonic() > deadline:
            raise RuntimeError("%s does not listen on %d: %s" % (group.name, port, _read(log)[-2000:]))
        time.sleep(0.02)


def describe():
    model = ""
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True,
                            encoding="ascii").stdout.strip() or "unknown"
    dirty = subprocess.run(["git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no", "src"],
                           capture_output=True, encoding="utf-8").stdout.strip() != ""
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(), "commit": commit,
            "dirty": dirty, "date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())}


def tool(name):
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
