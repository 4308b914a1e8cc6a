# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rights are given up, and everything goes on: ports below 1024, files that only root may read, reopened logs."""
import os
import re
import shutil
import subprocess
import tempfile

import pytest

from harness import proxy as proxy_module
from harness import wire
from harness.proxy import new_ports, run_once

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")

NOBODY = 65534
MARCH = """listen: [127.0.0.1:@PORT0@, 127.0.0.1:%d]
admin: 127.0.0.1:@ADMIN@
access_log: %s
user: nobody
services: [{name: web, hosts: [localhost], port: %d}]
routes: [{prefix: /, cluster_name: web}]
"""


@pytest.fixture(autouse=True)
def no_leak_check(monkeypatch):
    # LeakSanitizer attaches to the process with a child of its own, which is what the sandbox forbids.
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0:exitcode=86")


def low_port():
    """A free port below 1024."""
    import random
    import socket
    for _ in range(200):
        port = random.randrange(600, 1000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    pytest.fail("no free port")


def status(pid):
    with open("/proc/%d/status" % pid, encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def broker_of(p):
    out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(p.pid)], capture_output=True, text=True,
                         timeout=10).stdout.split()
    assert len(out) == 1, out
    return int(out[0])


def start(make, tmp_path, args=(), port=None, user=True):
    o = make.origin()
    os.chmod(tmp_path, 0o700)
    text = MARCH % (port or low_port(), tmp_path / "access.log", o.port)
    return make.text(text if user else text.replace("user: nobody\n", ""), 1, args=args)


def test_rights_are_given_up(make, tmp_path):
    p = start(make, tmp_path)
    assert p.get().status == 200
    s = status(p.pid)
    assert s["Uid"].split() == [str(NOBODY)] * 4 and s["Gid"].split() == [str(NOBODY)] * 4
    assert "0" not in s["Groups"].split()
    assert {k: v for k, v in s.items() if k.startswith("Cap")} == {
        "Cap" + k: "0" * 16 for k in ("Inh", "Prm", "Eff", "Bnd", "Amb")}
    assert (s["NoNewPrivs"], s["Seccomp"]) == ("1", "2")
    for task in os.listdir("/proc/%d/task" % p.pid):
        s = status(int(task))
        assert (s["Uid"].split()[1], s["CapEff"], s["Seccomp"]) == (str(NOBODY), "0" * 16, "2"), task
    assert "the sandbox is closed landlock=true seccomp=true" in p.stderr
    b = status(broker_of(p))
    assert b["NoNewPrivs"] == "1"
    # DAC_OVERRIDE, DAC_READ_SEARCH, CHOWN, SETGID, SETUID, NET_BIND_SERVICE
    assert int(b["CapEff"], 16) == int(b["CapBnd"], 16) == 0b10011000111


def test_low_ports_and_secret_files(make, tmp_path):
    """The file is root's alone, at start and at every reload; so are ports below 1024."""
    first, second = low_port(), low_port()
    while second == first:
        second = low_port()
    p = start(make, tmp_path, port=first)
    os.chmod(p.file, 0o600)
    with wire.Client(first) as c:
        assert c.request("GET", "/").status == 200
    with open(p.file, encoding="utf-8") as f:
        text = f.read()
    with open(p.file, "w", encoding="utf-8") as f:
        f.write(text.replace(":%d]" % first, ":%d]" % second))
    r = p.admin("/reload", "POST", body=b"")
    assert r.status == 200, r.body
    with wire.Client(second) as c:
        assert c.request("GET", "/").status == 200
    p.signal(1)
    wire.until(lambda: "generation=3" in p.stderr)


def test_another_user_takes_a_restart(make, tmp_path):
    p = start(make, tmp_path)
    with open(p.file, encoding="utf-8") as f:
        text = f.read()
    with open(p.file, "w", encoding="utf-8") as f:
        f.write(text.replace("user: nobody", "user: daemon"))
    r = p.admin("/reload", "POST", body=b"")
    assert r.status == 200 and b"user: takes effect at the start only (restart the proxy)" in r.body
    assert status(p.pid)["Uid"].split() == [str(NOBODY)] * 4


def test_logs_are_reopened(make, tmp_path):
    p = start(make, tmp_path)
    log = tmp_path / "access.log"
    p.get("/one")
    wire.until(lambda: "/one" in log.read_text())
    assert log.stat().st_uid == NOBODY and log.stat().st_mode & 0o777 == 0o640
    log.rename(tmp_path / "old.log")
    p.signal(10)
    wire.until(log.exists)
    p.get("/two")
    wire.until(lambda: "/two" in log.read_text())


def test_a_new_log_after_a_reload(make, tmp_path):
    p = start(make, tmp_path)
    with open(p.file, encoding="utf-8") as f:
        text = f.read()
    with open(p.file, "w", encoding="utf-8") as f:
        f.write(text.replace("access.log", "second.log"))
    assert p.admin("/reload", "POST", body=b"").status == 200
    p.get("/three")
    wire.until(lambda: "/three" in (tmp_path / "second.log").read_text())


@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_a_fifo_as_log(make, tmp_path, mode):
    os.mkfifo(tmp_path / "access.log")
    os.chmod(tmp_path / "access.log", mode)
    with open(os.open(tmp_path / "access.log", os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as reader:
        p = start(make, tmp_path)
        p.get("/fifo")
        got = []

        def arrived():
            got.append(reader.read(65536) or b"")
            return b"/fifo" in b"".join(got)
        wire.until(arrived)


def test_a_log_that_others_could_bend(make, tmp_path):
    """In a folder of the proxy's user the broker acts with that user's rights only."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    secret = tmp_path / "secret"
    secret.write_text("root's\n")
    secret.chmod(0o600)
    (theirs / "access.log").symlink_to(secret)
    o = make.origin()
    p = make.text(MARCH % (low_port(), theirs / "access.log", o.port), 1, ready=False)
    assert p.process.wait(15) == 1
    assert "access.log" in p.stderr
    assert secret.read_text() == "root's\n"
    p.stopped = True


def test_the_broker_ends_with_the_proxy(make, tmp_path):
    p = start(make, tmp_path)
    b = broker_of(p)
    p.kill()
    wire.until(lambda: not os.path.exists("/proc/%d/exe" % b) or status(b)["State"].startswith("Z"))


def test_the_proxy_survives_its_broker(make, tmp_path):
    p = start(make, tmp_path)
    os.kill(broker_of(p), 9)
    assert p.get().status == 200
    assert p.admin("/reload", "POST", body=b"").status in (200, 400)
    assert p.get().status == 200


def test_signals_of_a_terminal_reach_both(make, tmp_path):
    p = start(make, tmp_path)
    b = broker_of(p)
    os.kill(b, 15)
    os.kill(b, 2)
    assert p.admin("/reload", "POST", body=b"").status == 200
    p.stop()


def test_without_sandbox(make, tmp_path):
    p = start(make, tmp_path, args=("--sandbox", "off"), port=low_port())
    assert status(p.pid)["Seccomp"] == "0" and status(p.pid)["CapEff"] == "0" * 16
    assert p.get().status == 200


def test_sandbox_without_another_user(make, tmp_path):
    p = start(make, tmp_path, args=("--sandbox", "on"), user=False)
    s = status(p.pid)
    assert (s["Uid"].split()[0], s["CapEff"], s["Seccomp"]) == ("0", "0" * 16, "2")
    assert p.get().status == 200
    assert p.admin("/reload", "POST", body=b"").status == 200


def test_root_as_it_is(make, tmp_path):
    p = start(make, tmp_path, user=False)
    assert status(p.pid)["Seccomp"] == "0"
    assert "running as root" in p.stderr


@pytest.mark.parametrize("args,text,message", [
    (("--user", "nosuchuser"), "", 'there is no user "nosuchuser"'),
    (("--group", "nosuchgroup", "--user", "nobody"), "", 'there is no group "nosuchgroup"'),
    (("--group", "nogroup"), "", "a group without a user"),
    ((), "user: nosuchuser\n", 'there is no user "nosuchuser"'),
])
def test_wrong_names(tmp_path, args, text, message):
    file = tmp_path / "march.yaml"
    file.write_text("services: [{name: a, hosts: [127.0.0.1], port: 1}]\n"
                    "routes: [{prefix: /, cluster_name: a}]\n" + text)
    for mode in ("validate", "serve"):
        rc, _, err = run_once("-c", str(file), "--mode", mode, *args)
        assert rc == 1 and message in err
    rc, _, err = run_once("-c", str(file), "--sandbox", "maybe")
    assert rc == 2 and re.search("auto, on or off", err)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
def test_as_the_unit_starts_it(make, monkeypatch):
    """A user with one capability: the broker keeps it for ports, the process has nothing."""
    first, second = low_port(), low_port()
    while second == first:
        second = low_port()
    admin = new_ports(1)[0]
    folder = tempfile.mkdtemp(prefix="mp-e2e-", dir="/run")
    try:
        os.chmod(folder, 0o755)
        binary = shutil.copy(proxy_module.BINARY, os.path.join(folder, "marchproxy"))
        os.chmod(binary, 0o755)
        file = os.path.join(folder, "march.yaml")
        text = ("listen: 127.0.0.1:%d\nadmin: 127.0.0.1:%d\naccess_log: off\n"
                "services: [{name: web, hosts: [127.0.0.1], port: %d}]\nroutes: [{prefix: /, cluster_name: web}]\n")
        origin = make.origin()

        def write(port):
            with open(file, "w", encoding="utf-8") as f:
                f.write(text % (port, admin, origin.port))
        write(first)
        p = subprocess.Popen(["setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups",
                              "--inh-caps=-all,+net_bind_service", "--ambient-caps=+net_bind_service",
                              "--bounding-set=-all,+net_bind_service", "--no-new-privs", binary, "--sandbox", "on",
                              "-c", file, "--concurrency", "1"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, env=proxy_module.environment())
        try:
            def answers(port):
                assert p.poll() is None
                try:
                    with wire.Client(port) as c:
                        return c.request("GET", "/").status == 200
                except OSError:
                    return False
            wire.until(lambda: answers(first), 15)
            s = status(p.pid)
            assert (s["CapEff"], s["CapPrm"], s["CapAmb"], s["Seccomp"]) == ("0" * 16,) * 3 + ("2",)
            write(second)
            p.send_signal(1)
            wire.until(lambda: answers(second), 15)
        finally:
            p.terminate()
            assert p.wait(15) == 0
    finally:
        shutil.rmtree(folder)
