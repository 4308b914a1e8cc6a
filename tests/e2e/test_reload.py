# SPDX-License-Identifier: AGPL-3.0-or-later
"""Configuration changes while running: all or nothing, at once, and without harm to traffic."""
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import config, wire
from harness.origin import Origin
from harness.peers import pattern
from harness.proxy import new_ports
from harness.wire import head, reply

WRK = shutil.which("wrk")
REFUSED = "static_resources: {listeners: [{name: broken}]}\n"


def direct(body):
    return {"match": {"prefix": "/"},
            "direct_response": {"status": 200, "body": {"inline_string": body}}}


def listener(name, port, routes, hcm=None, **fields):
    http = config.manager([config.vhost("all", ["*"], routes)], hcm)
    return config.listener(name, config.address(port), http, **fields)


class Setup:
    """A proxy and the document that it runs, which tests change and put in its place."""

    def __init__(self, make, listeners, clusters=(), admin=None, **kw):
        admin = admin or new_ports(1)[0]
        ports = [fl["address"]["socket_address"]["port_value"] for fl in listeners]
        self.doc = config.bootstrap(admin, list(listeners), list(clusters))
        self.p = make.text(config.dump(self.doc), ports=ports, admin=admin, name="envoy.yaml", **kw)

    @property
    def listeners(self):
        return self.doc["static_resources"]["listeners"]

    @property
    def clusters(self):
        return self.doc["static_resources"]["clusters"]

    def write(self, text=None):
        """As an editor or a deployment does it: never half a file."""
        temporary = self.p.file + ".new"
        with open(temporary, "w", encoding="utf-8") as f:
            f.write(text if text is not None else config.dump(self.doc))
        os.rename(temporary, self.p.file)

    def reload(self, text=None, status=200):
        self.write(text)
        r = self.p.admin("/reload", "POST", body=b"")
        assert r.status == status, (r.status, r.body)
        return r.body.decode()


def one_direct(make, body="one", **kw):
    port = new_ports(1)[0]
    return Setup(make, [listener("front", port, [direct(body)])], **kw)


def fds(p):
    """Without connections that are just being closed."""
    seen = []
    for _ in range(10):
        seen.append(p.fds())
        time.sleep(0.03)
    return min(seen)


def threads(p):
    return len(os.listdir("/proc/%d/task" % p.pid))


# -- the three ways to ask

def test_signal_is_fast(make):
    s = one_direct(make, "0")
    took = []
    with s.p.connect() as c:
        assert c.get().body == b"0"
        for i in range(1, 6):
            s.listeners[0] = listener("front", s.p.port, [direct(str(i))])
            s.write()
            start = time.monotonic()
            s.p.signal(signal.SIGHUP)
            while c.get().body != b"%d" % i:
                assert time.monotonic() - start < 5
            took.append(time.monotonic() - start)
    assert sorted(took)[2] < (0.5 if s.p.sanitized() else 0.05), took


def test_page_answers_when_every_worker_has_it(make):
    s = one_direct(make, "0", concurrency=2)
    clients = [s.p.connect() for _ in range(16)]
    for i in range(1, 6):
        s.listeners[0] = listener("front", s.p.port, [direct(str(i))])
        said = s.reload()
        assert re.match(r"configuration is live: generation %d, 1 listeners, 0 clusters\n" % (i + 1), said)
        for c in clients:
            assert c.get().body == b"%d" % i, "a kept connection has the new configuration"
    assert s.p.stat("server.config_update_success") == 6
    for c in clients:
        c.close()


def test_page_wants_post(make):
    s = one_direct(make)
    assert s.p.admin("/reload").status == 405
    assert b"/reload (POST)" in s.p.admin("/help").body


def test_many_requests_end_with_the_last_file(make):
    s = one_direct(make, "0")
    for i in range(40):
        s.listeners[0] = listener("front", s.p.port, [direct(str(i))])
        s.write()
        s.p.signal(signal.SIGHUP)
    wire.until(lambda: s.p.get().body == b"39", 5, "the last file")
    answers = []

    def ask():
        answers.append(s.p.admin("/reload", "POST", body=b"").status)
    asking = [threading.Thread(target=ask) for _ in range(20)]
    for t in asking:
        t.start()
    for t in asking:
        t.join(10)
    assert answers == [200] * 20


def test_signal_while_starting(make):
    admin, port = new_ports(2)
    clusters = [config.cluster("c%d" % i, 1) for i in range(2000)]
    doc = config.bootstrap(admin, [listener("front", port, [direct("x")])], clusters)
    p = make.text(config.dump(doc), ports=[port], admin=admin, name="envoy.yaml", ready=False)
    time.sleep(0.05)
    wire.until(lambda: blocks_sighup(p), 5, "the first lines of main")
    p.signal(signal.SIGHUP)
    p.wait_ready()
    p.wait_stat("server.config_update_success", 2, timeout=30)


def blocks_sighup(p):
    with open("/proc/%d/status" % p.pid, encoding="ascii") as f:
        mask = re.search(r"SigBlk:\s*([0-9a-f]+)", f.read())[1]
    return int(mask, 16) & 1 << (signal.SIGHUP - 1)


# -- refusal

def test_refused_file_changes_nothing(make):
    s = one_direct(make)
    with s.p.connect() as c:
        c.get()
        said = s.reload(REFUSED, 400)
        assert "envoy.yaml:1: static_resources.listeners[0]" in said
        assert c.get().body == b"one"
    assert s.p.stat("server.config_update_rejected") == 1
    assert s.p.stat("server.config_update_success") == 1
    assert "configuration refused" in s.p.stderr and "static_resources.listeners[0]" in s.p.stderr
    failures = [x for x in s.p.admin_json("/config_dump")["configs"] if "last_update_attempt" in x]
    assert len(failures) == 1 and "static_resources.listeners[0]" in failures[0]["details"]
    os.unlink(s.p.file)
    r = s.p.admin("/reload", "POST", body=b"")
    assert r.status == 400 and b"cannot read" in r.body
    s.reload()
    assert not [x for x in s.p.admin_json("/config_dump")["configs"] if "last_update_attempt" in x]
    assert s.p.get().body == b"one"


def test_port_in_use_changes_nothing(make):
    s = one_direct(make, concurrency=2)
    free, used = new_ports(2)
    with socket.socket() as other, s.p.connect() as c:
        other.bind(("127.0.0.1", used))
        other.listen(1)
        c.get()
        before = fds(s.p)
        s.listeners[0] = listener("front", s.p.port, [direct("two")])
        s.listeners.append(listener("second", free, [direct("second")]))
        s.listeners.append(listener("third", used, [direct("third")]))
        said = s.reload(status=400)
        assert "cannot listen on 127.0.0.1:%d" % used in said
        assert c.get().body == b"one"
        assert s.p.get().body == b"one"
        assert fds(s.p) == before
        with pytest.raises(ConnectionRefusedError):
            wire.Client(free)
    s.reload()
    assert s.p.get().body == b"two"
    for port, body in ((free, b"second"), (used, b"third")):
        with wire.Client(port) as c:
            assert c.get().body == body


# -- listeners

def test_listeners_come_and_go(make):
    a, b = new_ports(2)
    s = Setup(make, [listener("a", a, [direct("a")])])
    with wire.Client(a) as kept:
        kept.get()
        s.listeners.append(listener("b", b, [direct("b")]))
        s.reload()
        with wire.Client(b) as idle:
            assert idle.get().body == b"b"
            s.listeners.pop()
            s.reload()
            idle.expect_close(2)
        with pytest.raises(ConnectionRefusedError):
            wire.Client(b)
        assert kept.get().body == b"a", "others are not touched"


def test_listener_moves(make):
    a, b = new_ports(2)
    s = Setup(make, [listener("x", a, [direct("x")])])
    with wire.Client(a) as old:
        old.get()
        s.listeners[0] = listener("x", b, [direct("moved")])
        s.reload()
        old.expect_close(2)
    with wire.Client(b) as c:
        assert c.get().body == b"moved"
    with pytest.raises(ConnectionRefusedError):
        wire.Client(a)


def test_listeners_swap_their_ports(make):
    a, b = new_ports(2)
    s = Setup(make, [listener("x", a, [direct("x")]), listener("y", b, [direct("y")])])
    s.listeners[:] = [listener("x", b, [direct("x")]), listener("y", a, [direct("y")])]
    s.reload()
    for port, body in ((a, b"y"), (b, b"x")):
        for _ in range(10):
            with wire.Client(port) as c:
                assert c.get().body == body


def test_socket_that_workers_share(make):
    """Without reuse_port an address cannot change hands at once."""
    port = new_ports(1)[0]

    def front(name, body):
        return listener(name, port, [direct(body)], enable_reuse_port=False)
    s = Setup(make, [front("front", "one")], concurrency=2)
    s.listeners[0] = front("front", "two")
    s.reload()
    for _ in range(10):
        assert s.p.get().body == b"two"
    s.listeners[0] = front("other", "three")
    assert "in use" in s.reload(status=400)
    assert s.p.get().body == b"two"
    s.listeners.clear()
    s.reload()
    s.listeners.append(front("other", "three"))
    s.reload()
    assert s.p.get().body == b"three"


def test_request_of_a_removed_listener_is_finished(make):
    gate = threading.Event()
    o = make.origin(lambda _: gate.wait(10) and reply(200, b"finished"))
    a, b = new_ports(2)
    s = Setup(make, [listener("a", a, [config.to("main")]), listener("b", b, [direct("b")])],
              [config.cluster("main", o)])
    with wire.Client(a) as c:
        c.ask()
        o.wait_requests(1)
        s.listeners.pop(0)
        s.reload()
        gate.set()
        r = c.response()
        assert r.body == b"finished" and r.get("connection").lower() == "close"
        c.expect_close()


def test_removed_listener_cuts_after_its_drain_timeout(make):
    o = make.origin(handler=lambda conn: (conn.request(), conn.wait_closed(20)))
    a, b = new_ports(2)
    s = Setup(make, [listener("a", a, [config.to("main", timeout="0s")], {"drain_timeout": "1s"}),
                     listener("b", b, [direct("b")])], [config.cluster("main", o)])
    with wire.Client(a) as c:
        c.ask()
        o.wait_requests(1)
        s.listeners.pop(0)
        start = time.monotonic()
        s.reload()
        c.drain(5)
        assert 0.8 <= time.monotonic() - start < 3
    assert "connections of a removed listener are cut" in s.p.stderr
    s.p.wait_stat("server.total_connections", 0)


def test_removed_cluster_finishes_what_it_has(make):
    gate = threading.Event()
    o = make.origin(lambda _: gate.wait(10) and reply(200, b"finished"))
    a = new_ports(1)[0]
    s = Setup(make, [listener("a", a, [config.to("main")])], [config.cluster("main", o)])
    with wire.Client(a) as c:
        c.ask()
        o.wait_requests(1)
        s.listeners[0] = listener("a", a, [direct("no cluster")])
        s.clusters.clear()
        s.reload()
        gate.set()
        assert c.response().body == b"finished"
        assert c.get().body == b"no cluster", "the connection stays"


def test_admin_moves_and_goes(make):
    s = one_direct(make)
    port = new_ports(1)[0]
    before = s.p.admin_port
    s.doc["admin"]["address"] = config.address(port)
    with wire.Client(before) as idle:
        assert idle.get("/ready", host="localhost").status == 200
        s.reload()  # answered on the old address
        idle.expect_close(2)
    s.p.admin_port = port
    assert s.p.admin("/ready").status == 200
    with pytest.raises(ConnectionRefusedError):
        wire.Client(before)
    with socket.socket() as other:
        used = new_ports(1)[0]
        other.bind(("127.0.0.1", used))
        other.listen(1)
        s.doc["admin"]["address"] = config.address(used)
        assert "cannot listen" in s.reload(status=400)
    del s.doc["admin"]
    s.reload()
    wire.until(lambda: not is_open(port), 3, "the admin's end")
    assert s.p.get().body == b"one"
    s.doc["admin"] = {"address": config.address(port)}
    s.write()
    s.p.signal(signal.SIGHUP)
    wire.until(lambda: is_open(port), 3, "the admin's return")


def is_open(port):
    try:
        wire.Client(port).close()
        return True
    except OSError:
        return False


def test_connection_limit_of_the_runtime_layer(make):
    """It is not in the listener's message, but a change of the listener."""
    s = one_direct(make)
    key = "envoy.resource_limits.listener.front.connection_limit"
    s.doc["layered_runtime"] = {"layers": [{"name": "static", "static_layer": {key: 1}}]}
    s.reload()
    with s.p.connect() as c:
        assert c.get().status == 200
        with s.p.connect() as extra:
            extra.ask()
            assert extra.drain(2) == b""


# -- names

def silent_name(name, server):
    """A cluster whose name server takes questions and does not answer."""
    resolver = {"name": "envoy.network.dns_resolver.cares", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3"
                 ".CaresDnsResolverConfig",
        "resolvers": [config.address(server.getsockname()[1])]}}
    return config.cluster(name, ("silent.internal", 80), type="STRICT_DNS",
                          typed_dns_resolver_config=resolver)


def test_a_better_file_overtakes_one_that_waits_for_names(make):
    s = one_direct(make)
    port = new_ports(1)[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        s.clusters.append(silent_name("silent", server))
        s.listeners.append(listener("second", port, [direct("second")]))
        s.write()
        answers = []
        asking = threading.Thread(target=lambda: answers.append(
            s.p.admin("/reload", "POST", body=b"")))
        asking.start()
        wire.until(lambda: is_open(port), 3, "the new listener's socket")
        with wire.Client(port) as early:
            early.ask()
            early.expect_alive(0.2)
            assert answers == [], "nothing is live yet"
            s.clusters.clear()
            start = time.monotonic()
            s.reload()
            assert time.monotonic() - start < 2, "it does not wait for the other's names"
            assert early.response().body == b"second", "its socket was taken over"
        asking.join(5)
        assert answers[0].status == 200
    assert s.p.stat("server.config_update_success") == 2


def test_waiting_requests_are_limited(make):
    s = one_direct(make)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        s.clusters.append(silent_name("silent", server))
        s.write()
        waiting = []
        for n in (99, 100):
            while len(waiting) < n:
                waiting.append(wire.Client(s.p.admin_port, timeout=15))
                waiting[-1].ask("POST", "/reload", host="127.0.0.1", body=b"")
            s.p.wait_stat("http.admin.downstream_rq_active", lambda v: v >= n + 1)
        r = s.p.admin("/reload", "POST", body=b"")
        assert r.status == 503 and b"too many" in r.body
        s.clusters.clear()
        s.write()
        s.p.signal(signal.SIGHUP)
        for c in waiting:
            assert c.response().status == 200
            c.close()
        s.reload()


# -- traffic

def wrk(port, path, seconds, *headers):
    command = [WRK, "-t1", "-c8", "-d%ds" % seconds]
    for h in headers:
        command += ["-H", h]
    return subprocess.Popen(command + ["http://127.0.0.1:%d%s" % (port, path)],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")


def check_wrk(process):
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert int(re.search(r"(\d+) requests in", out).group(1)) > 100, out
    assert "Non-2xx" not in out, out
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    assert errors is None, out


@pytest.mark.skipif(not WRK, reason="no wrk")
@pytest.mark.bounded(60)
def test_no_request_fails(make):
    """Five reloads, one of them refused, between them everything changes but the addresses."""
    size = 1 << 20
    data = pattern(size)
    n = make.nginx(server="location / { return 200 \"nginx\"; } location /big { limit_rate 250k; }")
    n.write("big", data)
    a = new_ports(1)[0]
    extra = new_ports(5)

    def front(i):
        return listener("front", a, [config.to("main", prefix="/", timeout="%ds" % (60 + i))],
                        {"stat_prefix": "s%d" % (i % 2)})
    s = Setup(make, [front(0)], [config.cluster("main", n)], concurrency=2)
    problems = []

    def download():
        try:
            with wire.Client(a, timeout=30, rcvbuf=16384) as c:
                r = c.get("/big")
                if r.status != 200 or r.body != data:
                    problems.append((r.status, len(r.body)))
        except (AssertionError, OSError) as e:
            problems.append(repr(e))
    loaders = [threading.Thread(target=download) for _ in range(50)]
    for t in loaders:
        t.start()
    load = [wrk(a, "/", 5), wrk(a, "/", 5, "Connection: close")]
    for i in range(1, 6):
        time.sleep(0.6)
        if i == 3:
            s.reload(REFUSED, 400)
            continue
        s.listeners[:] = [front(i), listener("extra%d" % i, extra[i - 1], [direct("x")])]
        s.clusters[0] = config.cluster("main", n, connect_timeout="%ds" % (1 + i))
        s.reload()
    for process in load:
        check_wrk(process)
    for t in loaders:
        t.join(30)
    assert problems == []
    assert s.p.stat("server.config_update_success") == 5
    assert s.p.stat("server.config_update_rejected") == 1


def run_reloads(make, n):
    """Each changes one of many clusters, and every tenth the listener of the open stream."""
    gate = threading.Event()

    def script(conn):
        conn.request()
        conn.send(head("HTTP/1.1 200 OK", [("transfer-encoding", "chunked")]) + b"5\r\nbegin\r\n")
        gate.wait(300)
        conn.send(b"3\r\nend\r\n0\r\n\r\n")
        conn.wait_closed()
    o = Origin(handler=script)
    make.made.append(o)
    a, b = new_ports(2)

    def streaming(i):
        return listener("a", a, [config.to("c0", timeout="0s"), direct(str(i))])
    clusters = [config.cluster("c%d" % i, o) for i in range(50)]
    s = Setup(make, [streaming(0), listener("b", b, [direct("b")])], clusters)
    with wire.Client(a) as c:
        c.ask()
        c.reader.fill(time.monotonic() + 5)
        seen = []
        for i in range(n):
            k = i % 50
            s.clusters[k] = config.cluster("c%d" % k, o, connect_timeout="%d.%03ds" % (1 + i % 7, i % 1000))
            if i % 10 == 0:
                s.listeners[0] = streaming(i)
            s.reload()
            if i in (n // 2, n - 1):
                v = s.p.stats()
                seen.append((v["server.config_parts"], fds(s.p), threads(s.p), s.p.memory_kb(),
                             v["server.config_parts_bytes"]))
        # Two listeners, the admin's, two route tables, the clusters; and the listener and table of
        # the stream, which have been replaced long ago.
        assert [x[0] for x in seen] == [2 + 1 + 2 + 50 + 2] * 2, seen
        assert seen[0][1:3] == seen[1][1:3], "descriptors, threads: %r" % seen
        assert abs(seen[1][4] - seen[0][4]) < 4096, seen
        if not s.p.sanitized():
            assert seen[1][3] - seen[0][3] < 1024, "KiB: %r" % seen
        gate.set()
        r = c.response()
        assert r.body == b"beginend"
    wire.until(lambda: s.p.stat("server.config_parts") == 2 + 1 + 2 + 50, 5, "the stream's parts to go")
    assert s.p.stat("server.config_update_success") == n + 1


@pytest.mark.bounded(120)
def test_200_reloads_grow_nothing(make):
    run_reloads(make, 200)


@pytest.mark.nightly
@pytest.mark.bounded(600)
def test_1000_reloads_grow_nothing(make):
    run_reloads(make, 1000)


# -- the watch

def wait_body(p, body, timeout=5):
    wire.until(lambda: p.get().body == body, timeout, "%r" % body)


def test_watch(make):
    s = one_direct(make, args=["--watch"])
    s.listeners[0] = listener("front", s.p.port, [direct("renamed")])
    s.write()
    wait_body(s.p, b"renamed")
    s.listeners[0] = listener("front", s.p.port, [direct("in place")])
    with open(s.p.file, "w", encoding="utf-8") as f:
        text = config.dump(s.doc)
        f.write(text[:100])
        f.flush()
        time.sleep(0.3)
        f.write(text[100:])
    wait_body(s.p, b"in place")
    assert s.p.stat("server.config_update_rejected") == 0, "half a file is not read"
    before = s.p.stat("server.config_update_success")
    for name in ("other", "another"):
        with open(os.path.join(s.p.folder, name), "w", encoding="utf-8") as f:
            f.write("x")
    time.sleep(0.3)
    assert s.p.stat("server.config_update_success") == before, "other files do not count"
    s.write(REFUSED)
    s.p.wait_stat("server.config_update_rejected", 1)
    s.listeners[0] = listener("front", s.p.port, [direct("repaired")])
    s.write()
    wait_body(s.p, b"repaired")


def test_watch_a_kubernetes_mount(make, tmp_path):
    """The file is a link through ..data, which is swapped."""
    mount = tmp_path / "mount"
    admin, port = new_ports(2)

    def generation(name, body):
        folder = mount / name
        folder.mkdir(parents=True)
        doc = config.bootstrap(admin, [listener("front", port, [direct(body)])], [])
        (folder / "envoy.yaml").write_text(config.dump(doc))
        return folder
    generation("..1", "one")
    os.symlink("..1", mount / "..data")
    os.symlink("..data/envoy.yaml", mount / "envoy.yaml")
    p = make.text("", ports=[port], admin=admin, args=["--watch", "-c", str(mount / "envoy.yaml")])
    wait_body(p, b"one")
    for i in (2, 3):
        generation("..%d" % i, str(i))
        os.symlink("..%d" % i, mount / "..data_tmp")
        os.rename(mount / "..data_tmp", mount / "..data")
        wait_body(p, b"%d" % i)
        shutil.rmtree(mount / ("..%d" % (i - 1)))


def test_watch_a_folder_that_is_replaced(make, tmp_path):
    folder = tmp_path / "conf"
    admin, port = new_ports(2)

    def text(body):
        return config.dump(config.bootstrap(admin, [listener("front", port, [direct(body)])], []))
    folder.mkdir()
    (folder / "envoy.yaml").write_text(text("one"))
    p = make.text("", ports=[port], admin=admin, args=["--watch", "-c", str(folder / "envoy.yaml")])
    wait_body(p, b"one")
    os.rename(folder, tmp_path / "old")
    folder.mkdir()
    (folder / "envoy.yaml").write_text(text("two"))
    wait_body(p, b"two", 8)


# -- draining and stopping

@pytest.mark.parametrize("how", ["signal", "page"])
def test_graceful_stop(make, how):
    gate = threading.Event()
    o = make.origin(lambda _: gate.wait(10) and reply(200, b"finished"))
    p = make.proxy(o, drain_s=10)
    with p.connect() as busy, p.connect() as idle, wire.Client(p.admin_port) as admin:
        idle.send(b"")
        p.wait_stat("server.total_connections", 2)
        busy.ask()
        o.wait_requests(1)
        if how == "signal":
            p.signal(signal.SIGTERM)
        else:
            assert p.admin("/quitquitquit", "POST", body=b"").body == b"OK\n"
        idle.expect_close(3)
        r = admin.get("/ready", host="localhost")
        assert (r.status, r.body) == (503, b"DRAINING\n")
        r = p.admin("/reload", "POST", body=b"")
        assert r.status == 503 and b"draining" in r.body
        gate.set()
        r = busy.response()
        assert r.body == b"finished" and r.get("connection").lower() == "close"
        busy.expect_close()
    assert p.process.wait(5) == 0


def test_drain_listeners_and_then_stop(make):
    gate = threading.Event()
    o = make.origin(lambda _: gate.wait(10) and reply(200, b"finished"))
    p = make.proxy(o, drain_s=10)
    with p.connect() as busy:
        busy.ask()
        o.wait_requests(1)
        assert p.admin("/drain_listeners", "POST", body=b"").body == b"OK\n"
        assert p.admin("/ready").body == b"DRAINING\n"
        assert p.admin("/reload", "POST", body=b"").status == 503
        p.signal(signal.SIGHUP)
        gate.set()
        r = busy.response()
        assert r.body == b"finished" and r.get("connection").lower() == "close"
        busy.expect_close()
    time.sleep(0.2)
    assert p.process.poll() is None, "it goes on until it is told to stop"
    p.signal(signal.SIGTERM)
    assert p.process.wait(5) == 0


def test_stop_during_a_reload(make):
    for _ in range(3):
        s = one_direct(make, drain_s=1)
        for i in range(3000):
            s.clusters.append(config.cluster("c%d" % i, 1))
        s.write()
        s.p.signal(signal.SIGHUP)
        time.sleep(0.02)
        s.p.stop()
