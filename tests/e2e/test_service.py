# SPDX-License-Identifier: AGPL-3.0-or-later
"""The service manager's side: notifications, watchdog, passed sockets."""
import os
import shutil
import socket
import subprocess
import sys
import time

import pytest

from harness import proxy as proxy_module
from harness import wire
from harness.proxy import ROOT, new_ports

MARCH = """listen: %s
admin: 127.0.0.1:@ADMIN@
access_log: off
services: [{name: web, hosts: [127.0.0.1], port: %d}]
routes: [{prefix: /, cluster_name: web}]
"""


class Manager:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(path)
        self.seen = []

    def next(self, timeout=10):
        self.sock.settimeout(timeout)
        text = self.sock.recv(4096).decode()
        self.seen.append(text)
        return dict(line.split("=", 1) for line in text.splitlines())

    def until(self, key, timeout=10):
        """The next message with the key, past those without it."""
        deadline = time.monotonic() + timeout
        while True:
            m = self.next(max(deadline - time.monotonic(), 0.01))
            if key in m:
                return m

    def close(self):
        self.sock.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, monkeypatch):
    path = str(tmp_path / "notify") if request.param == "path" else "\0mp-test-%d" % os.getpid()
    m = Manager(path)
    monkeypatch.setenv("NOTIFY_SOCKET", path.replace("\0", "@"))
    yield m
    m.close()


def start(make, **kw):
    o = make.origin()
    return make.text(MARCH % ("127.0.0.1:@PORT0@", o.port), 1, **kw)


def test_life(make, manager):
    p = start(make)
    m = manager.next()
    assert m["READY"] == "1" and m["STATUS"] == "serving: generation 1, 1 listeners, 1 clusters"
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    p.signal(1)
    m = manager.next()
    assert m["RELOADING"] == "1"
    assert before <= int(m["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert manager.next()["STATUS"].startswith("serving: generation 2,")
    with open(p.file, "a", encoding="utf-8") as f:
        f.write("nonsense: 1\n")
    p.signal(1)
    assert "RELOADING" in manager.next()
    m = manager.next()
    assert m["READY"] == "1" and "refused" in m["STATUS"]
    p.signal(15)
    m = manager.next()
    assert m["STOPPING"] == "1" and "draining" in m["STATUS"]
    p.stop()


def test_watchdog(make, manager, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    p = start(make, concurrency=2)
    for _ in range(3):
        assert manager.until("WATCHDOG")["WATCHDOG"] == "1"
    p.stop()


def test_watchdog_of_another_process(make, manager, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "30000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    p = start(make)
    assert manager.next()["READY"] == "1"
    with pytest.raises(socket.timeout):
        manager.next(timeout=0.5)
    p.stop()


def test_a_manager_that_is_gone(make, tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    p = start(make)
    assert p.get().status == 200
    assert "the service manager does not listen" in p.stderr


# -- passed sockets

PASS = """#!%s
import os, socket, sys
socks = []
for place in %r:
    if isinstance(place, str):
        s = socket.socket(socket.AF_UNIX)
        s.bind(place)
    else:
        s = socket.socket(socket.AF_INET, %s)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", place))
    if %r:
        s.listen(16)
    socks.append(s)
high = [os.dup2(s.fileno(), 100 + i) for i, s in enumerate(socks)]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i)
    os.close(fd)
os.environ.update(LISTEN_FDS=str(len(socks)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=%r)
os.execv(%r, sys.argv)
"""


@pytest.fixture
def passing(tmp_path, monkeypatch):
    def prepare(places, names, kind="socket.SOCK_STREAM", listen=True):
        script = tmp_path / "pass"
        script.write_text(PASS % (sys.executable, places, kind, listen, names, proxy_module.BINARY))
        script.chmod(0o755)
        monkeypatch.setattr(proxy_module, "BINARY", str(script))
    return prepare


@pytest.mark.parametrize("concurrency", [1, 2])
def test_sockets_by_address(make, passing, concurrency):
    port, admin = new_ports(2)
    passing([port, admin], "whatever:more")
    o = make.origin()
    p = make.text(MARCH % ("127.0.0.1:@PORT0@", o.port), ports=[port], admin=admin,
                  concurrency=concurrency)
    assert p.get().status == 200
    assert "sockets were passed sockets=2 usable=2" in p.stderr
    assert "of a passed socket" not in p.stderr
    # Nobody bound a second one: the port has one listening socket.
    with open("/proc/net/tcp", encoding="ascii") as f:
        lines = [x.split() for x in f.readlines()[1:]]
    assert len([x for x in lines if x[1] == "0100007F:%04X" % port and x[3] == "0A"]) == 1
    assert p.admin("/reload", "POST", body=b"").status == 200
    assert p.get().status == 200


def test_sockets_by_name(make, passing):
    port, wrong = new_ports(2)
    passing([port], "front")
    o = make.origin()
    p = make.text(MARCH % ("[{address: 127.0.0.1:%d, name: front}]" % wrong, o.port), ports=[port])
    assert p.get().status == 200


def test_a_unix_socket(make, passing, tmp_path):
    path = str(tmp_path / "front.sock")
    passing([path], "front")
    o = make.origin()
    make.text(MARCH % ("unix:" + path, o.port))
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(path)
        s.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 200")


def test_sockets_that_nobody_wants(make, passing):
    port, other = new_ports(2)
    passing([port, other], "front:spare")
    o = make.origin()
    p = make.text(MARCH % ("127.0.0.1:%d" % port, o.port), ports=[port])
    assert p.get().status == 200
    assert 'no listener has the address of a passed socket name=spare address=127.0.0.1:%d' % other in p.stderr


@pytest.mark.parametrize("kind,listen", [("socket.SOCK_STREAM", False), ("socket.SOCK_DGRAM", False)])
def test_sockets_that_do_not_listen(make, passing, kind, listen):
    port, other = new_ports(2)
    passing([other], "x", kind, listen)
    o = make.origin()
    p = make.text(MARCH % ("127.0.0.1:%d" % port, o.port), ports=[port])
    assert p.get().status == 200 and "sockets=1 usable=0" in p.stderr


def test_sockets_of_another_process(make, monkeypatch):
    monkeypatch.setenv("LISTEN_FDS", "3")
    monkeypatch.setenv("LISTEN_PID", "1")
    p = start(make)
    assert p.get().status == 200 and "passed" not in p.stderr


# -- the unit

def test_unit_files(tmp_path):
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("no systemd-analyze")
    for name in ("marchproxy.service", "marchproxy.socket"):
        source = os.path.join(ROOT, "packaging", "systemd", name + (".in" if name.endswith("ice") else ""))
        with open(source, encoding="utf-8") as f:
            text = f.read().replace("@bindir@/marchproxy", "/bin/true").replace("@bindir@/marchctl", "/bin/true")
        (tmp_path / name).write_text(text)
    r = subprocess.run([tool, "verify", "--man=no", str(tmp_path / "marchproxy.service"),
                        str(tmp_path / "marchproxy.socket")], capture_output=True, text=True, timeout=60,
                       env=dict(os.environ, SYSTEMD_UNIT_PATH=str(tmp_path) + ":"))
    complaints = [x for x in r.stderr.splitlines() if "marchproxy" in x]
    assert complaints == [], r.stderr
