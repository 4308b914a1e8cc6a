# SPDX-License-Identifier: AGPL-3.0-or-later
"""A thread that crashes or hangs is reported with its backtrace and ends the process."""
import ctypes
import os
import signal
import time

import pytest

from harness.wire import until

SYS_TGKILL = 234 if os.uname().machine == "x86_64" else 131
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def thread(p, name):
    """A thread names itself once it runs."""
    def find():
        for tid in os.listdir("/proc/%d/task" % p.pid):
            with open("/proc/%d/task/%s/comm" % (p.pid, tid), encoding="ascii") as f:
                if f.read().strip() == name:
                    return int(tid)
        return None

    return until(find, what="thread " + name)


def ended(p, timeout=20):
    p.stopped = True  # its end is the test: not asked to end, and a sanitizer may report it
    return p.process.wait(timeout)


@pytest.mark.parametrize("name,number", [("worker-0", signal.SIGSEGV), ("worker-1", signal.SIGABRT),
                                         ("main", signal.SIGBUS)])
def test_a_crash_is_reported(make, name, number):
    p = make.march(make.origin(), concurrency=2)
    assert p.get().status == 200
    sanitized = p.sanitized()
    tid = p.pid if name == "main" else thread(p, name)
    assert libc.syscall(SYS_TGKILL, p.pid, tid, int(number)) == 0
    assert ended(p) != 0
    line = [text for text in p.stderr.splitlines() if "crash, backtrace follows" in text]
    assert len(line) == 1 and "signal=" + number.name in line[0] and "tid=%d" % tid in line[0]
    assert ("thread=" + name in line[0]) or name == "main"
    assert "marchproxy(+0x" in p.stderr or "marchproxy(" in p.stderr
    if not sanitized:
        assert p.process.returncode == -number


def freeze(tid):
    """Stops one thread alone, as a debugger does."""
    if libc.ptrace(PTRACE_SEIZE, tid, None, None) != 0:
        pytest.skip("threads cannot be traced here")
    assert libc.ptrace(PTRACE_INTERRUPT, tid, None, None) == 0
    os.waitpid(tid, WALL)


@pytest.mark.parametrize("name", ["worker-1", "main"])
def test_a_hang_ends_the_process(make, name):
    p = make.march(make.origin(), fields={"limits": {"hang_timeout": "1s"}}, concurrency=2)
    assert p.get().status == 200
    tid = p.pid if name == "main" else thread(p, name)
    freeze(tid)
    until(lambda: "a thread hangs: ending the process" in p.stderr, 15)
    libc.ptrace(PTRACE_DETACH, tid, None, None)
    assert ended(p) != 0
    assert "a thread does not move" in p.stderr
    assert "tid=%d" % tid in p.stderr.split("crash, backtrace follows")[1].splitlines()[0]


@pytest.mark.bounded(60)
def test_what_cannot_even_report_is_ended(make):
    p = make.march(make.origin(), fields={"limits": {"hang_timeout": "1s"}})
    tid = thread(p, "worker-0")
    freeze(tid)
    def gone():  # a tracer must see the thread's end before the process has one
        done, status = os.waitpid(tid, WALL | os.WNOHANG)
        return done == tid and (os.WIFSIGNALED(status) or os.WIFEXITED(status))
    until(gone, 25)
    assert ended(p) == -signal.SIGABRT


def test_misses_are_counted_and_a_short_hang_survives(make):
    p = make.proxy(make.origin(), top={"watchdogs": {
        "worker_watchdog": {"miss_timeout": "0.1s", "megamiss_timeout": "0.3s"}}})
    tid = thread(p, "worker-0")
    freeze(tid)
    p.wait_stat("workers.watchdog_miss", lambda n: n >= 1)
    p.wait_stat("workers.watchdog_mega_miss", 1)
    libc.ptrace(PTRACE_DETACH, tid, None, None)
    assert p.get().status == 200
    assert p.stat("main_thread.watchdog_mega_miss") in (0, 1, 2)


def test_a_stopped_process_is_no_hang(make):
    p = make.march(make.origin(), fields={"limits": {"hang_timeout": "1s"}})
    assert p.get().status == 200
    p.signal(signal.SIGSTOP)
    time.sleep(2.5)  # the matter itself: everything stands still for longer than the timeout
    p.signal(signal.SIGCONT)
    for _ in range(20):
        assert p.get().status == 200
        time.sleep(0.05)
    assert "hangs" not in p.stderr
