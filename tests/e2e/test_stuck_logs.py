# SPDX-License-Identifier: AGPL-3.0-or-later
"""Nobody waits for a log: full disks, pipes and FIFOs that nobody reads cost lines, which are counted."""
import fcntl
import os
import subprocess
import time

import pytest

from harness.wire import until

F_SETPIPE_SZ = 1031
LONG = "/" + "x" * 8000


def many(p, n, target=LONG):
    """n requests on one connection; the longest took so many seconds."""
    worst = 0.0
    with p.connect() as c:
        for _ in range(n):
            start = time.monotonic()
            assert c.request("GET", target).status == 200
            worst = max(worst, time.monotonic() - start)
    return worst


def small_pipe():
    r, w = os.pipe()
    fcntl.fcntl(w, F_SETPIPE_SZ, 4096)
    return r, w


def test_standard_output_that_nobody_reads(make):
    r, w = small_pipe()
    p = make.march(make.origin(), stdout=w)
    many(p, 500)
    p.wait_stat("access_log.dropped", lambda n: n > 0)
    assert not fcntl.fcntl(w, fcntl.F_GETFL) & os.O_NONBLOCK, "flags of others are left alone"
    p.stop()
    os.close(r)
    os.close(w)


def test_own_log_that_nobody_reads(make):
    """Workers and the main thread go on when standard error is a full pipe."""
    r, w = small_pipe()
    p = make.march(make.origin(), fields={"access_log": "stderr"}, stderr=w)
    p.admin("/logging?level=debug", "POST")
    with open(p.file, "a", encoding="utf-8") as f:
        f.write("\nnonsense: 1\n")
    for _ in range(60):
        assert p.admin("/reload", "POST").status == 400
    many(p, 100)
    assert p.stat("server.log_lines_lost") > 0
    os.set_blocking(r, False)
    until(lambda: not drain(r), 10)
    assert p.admin("/reload", "POST").status == 400
    text = b""
    deadline = time.monotonic() + 5
    while b"lines_lost=" not in text and time.monotonic() < deadline:
        text += drain(r)
        p.admin("/reload", "POST")
    assert b"lines_lost=" in text
    p.stop()
    os.close(r)
    os.close(w)


def drain(fd):
    out = b""
    try:
        while True:
            data = os.read(fd, 65536)
            if not data:
                return out
            out += data
    except BlockingIOError:
        return out


def test_a_fifo(make, tmp_path):
    """Its reader stops, comes back, goes for good."""
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    r = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(r, F_SETPIPE_SZ, 4096)
    p = make.march(make.origin(), fields={"access_log": path})
    many(p, 400)
    p.wait_stat("access_log.dropped", lambda n: n > 0)
    got = []

    def written():
        got.append(drain(r))
        s = p.stats()
        return s["access_log.dropped"] + s["access_log.written"] == 400
    until(written, 10)
    got.append(drain(r))
    lines = b"".join(got).splitlines()
    assert len(lines) == p.stat("access_log.written")
    assert all(line.endswith(b"}") for line in lines)
    os.close(r)
    many(p, 10, "/gone")
    p.wait_stat("access_log.write_errors", lambda n: n > 0)


def test_a_fifo_without_a_reader_is_refused(make, tmp_path):
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    p = make.march(make.origin())
    p.rewrite({"access_log": path})
    r = p.admin("/reload", "POST")
    assert r.status == 400 and b"start the program that reads it first" in r.body


@pytest.fixture
def small_disk(tmp_path):
    """64 KiB of disk."""
    path = str(tmp_path / "disk")
    os.mkdir(path)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", path], check=False,
                      capture_output=True, timeout=10).returncode != 0:
        pytest.skip("no right to mount")
    yield path
    subprocess.run(["umount", "-l", path], check=True, timeout=10)


def test_a_full_disk(make, small_disk):
    path = small_disk + "/access.log"
    p = make.march(make.origin(), fields={"access_log": path})
    many(p, 60)
    p.wait_stat("access_log.dropped", lambda n: n > 0)
    p.wait_stat("access_log.write_errors", lambda n: n > 0)
    os.truncate(path, 0)
    many(p, 5, "/again")

    def there():
        with open(path, "rb") as f:
            return b"/again" in f.read()

    until(there, what="lines after the disk has room")
