# SPDX-License-Identifier: AGPL-3.0-or-later
"""HTTP/2 towards upstreams, from clients of both protocols."""
import struct
import subprocess
import threading
import time

import pytest

from harness import h2wire, wire
from harness.h2origin import H2Origin
from harness.h2wire import DATA, ES, GOAWAY, RST, WINDOW, Client, frame
from harness.peers import pattern
from harness.proxy import new_ports
from harness.wire import chunk, head

H2 = {"http2_protocol_options": {}}


@pytest.fixture
def origin():
    made = []

    def new(*args, **kw):
        made.append(H2Origin(*args, **kw))
        return made[-1]
    yield new
    for o in made:
        o.stop()
        assert not o.problems, o.problems


def through(make, o, **kw):
    options = kw.pop("http2", {})
    return make.proxy(o.port, cluster={"http2_protocol_options": options, **kw.pop("cluster", {})}, **kw)


def explicit(o):
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {"typed_extension_protocol_options": {name: {
        "@type": "type.googleapis.com/" + name, "explicit_http_config": {"http2_protocol_options": {}}}}}


@pytest.mark.parametrize("n", [0, 1, 16385, 60000])
def test_bodies_from_both_protocols(make, origin, n):
    o = origin()
    p = through(make, o)
    body = pattern(n)
    with p.connect() as c:
        r = c.request("POST", "/a?b=1", [("X-A", "1"), ("TE", "trailers"), ("Connection", "te")], body=body)
        assert r.status == 200 and r.body == body
        a = o.last
        assert (a.get(":method"), a.get(":path"), a.get(":authority"), a.get(":scheme")) == ("POST", "/a?b=1", "test", "http")
        assert a.get("x-a") == "1" and a.get("te") == "trailers"
        names = {k for k, _ in a.fields}
        assert not names & {"host", "connection", "transfer-encoding", "keep-alive"}
        c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked")]) + chunk(body or b"x"))
        assert c.response().body == (body or b"x")
    out = subprocess.run(["curl", "-s", "--http2-prior-knowledge", "--data-binary", "@-", "http://127.0.0.1:%d/" % p.port],
                         input=body, capture_output=True, timeout=20, check=True).stdout
    assert out == body
    assert len(o.conns) <= 2 and p.stat("cluster.main.upstream_cx_http2_total") == len(o.conns)


def test_explicit_http_config(make, origin):
    o = origin()
    p = make.proxy(o.port, cluster=explicit(o))
    assert p.get().status == 200 and len(o.requests) == 1


def test_simple_file(make, origin):
    o = origin()
    p = make.text("listen: 127.0.0.1:@PORT0@\nadmin: 127.0.0.1:@ADMIN@\nservices: [{name: a, hosts: [127.0.0.1], "
                  "port: %d, protocol: grpc}]\nroutes: [{name: r, prefix: /, cluster_name: a}]\n" % o.port, 1)
    assert p.get().status == 200 and len(o.requests) == 1


def test_trailers_and_1xx(make, origin):
    def handler(conn):
        while True:
            a = conn.next()
            if a is None:
                return
            conn.send(conn.block([(":status", "103"), ("link", "</a>")], a.stream, False))
            conn.answer(a, 200, b"abc", trailers=[("grpc-status", "0"), ("x-sum", "9")])
    o = origin(handler)
    p = through(make, o)
    with Client(p.port) as c:
        x = c.request("POST", "/", body=b"x", trailers=[("x-req", "1")])
        assert [dict(i)[":status"] for i in x.infos] == ["103"]
        assert bytes(x.body) == b"abc" and dict(x.trailers) == {"grpc-status": "0", "x-sum": "9"}
        assert dict(o.last.trailers) == {"x-req": "1"}


def test_trailers_only_response(make, origin):
    def handler(conn):
        while (a := conn.next()) is not None:
            conn.answer(a, 200, b"", [("content-type", "application/grpc"), ("grpc-status", "5")])
    p = through(make, origin(handler))
    with Client(p.port) as c:
        x = c.request("POST", "/", [("content-type", "application/grpc"), ("te", "trailers")], b"")
        assert x.ended and x.get("grpc-status") == "5" and x.trailers is None


@pytest.mark.parametrize("method,status", [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_bodiless(make, origin, method, status):
    def handler(conn):
        while (a := conn.next()) is not None:
            conn.answer(a, status, b"", [("content-length", "7")] if method == "HEAD" else [])
    p = through(make, origin(handler))
    with p.connect() as c:
        for _ in range(2):
            assert c.request(method, "/").status == status


def test_many_requests_share_a_connection(make, origin):
    gate = threading.Event()

    def handler(conn):
        gate.wait(10)
        while (a := conn.next()) is not None:
            conn.answer(a, 200, bytes(a.body))
    o = origin(handler)
    p = through(make, o)
    with Client(p.port) as c:
        asked = [(c.ask("POST", "/", body=b"%d" % i), i) for i in range(90)]
        gate.set()
        assert all(bytes(c.wait(s).body) == b"%d" % i for s, i in asked)
    assert len(o.conns) == 1


@pytest.mark.parametrize("by_peer", [True, False], ids=["the peer's SETTINGS", "our configuration"])
def test_streams_of_a_connection_are_limited(make, origin, by_peer):
    peak, lock = [0], threading.Lock()

    def handler(conn):
        waiting = []
        while True:
            a = conn.next(0.3 if waiting else 20)
            if a is not None:
                waiting.append(a)
                with lock:
                    peak[0] = max(peak[0], len(waiting))
                continue
            if not waiting:
                return
            for w in waiting:
                conn.answer(w, 200, b"x")
            waiting = []
    o = origin(handler, settings=[(3, 4)] if by_peer else [])
    p = through(make, o, http2={} if by_peer else {"max_concurrent_streams": 4})
    with Client(p.port) as c:
        assert c.request().status == 200  # the SETTINGS are known from here on
        asked = [c.ask() for _ in range(20)]
        assert all(c.wait(s, 20).status == 200 for s in asked)
    assert peak[0] <= 4


@pytest.mark.parametrize("method,body", [("GET", None), ("POST", None)])
def test_goaway_the_unprocessed_are_sent_again(make, origin, method, body):
    def handler(conn):
        if conn.index > 0:
            while (a := conn.next()) is not None:
                conn.answer(a, 200, b"second")
            return
        conn.next()
        conn.send(frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)))
        conn.expect_close(10)
    o = origin(handler)
    p = through(make, o)
    r = p.request(method, "/", body=body)
    assert (r.status, r.body) == (200, b"second")
    assert p.stat("cluster.main.upstream_cx_close_notify") == 1


def test_goaway_lets_the_processed_finish(make, origin):
    def handler(conn):
        while (a := conn.next()) is not None:
            if conn.index == 0:
                conn.send(frame(GOAWAY, 0, 0, struct.pack(">II", a.stream, 0)))
            conn.answer(a, 200, b"%d" % conn.index)
    p = through(make, origin(handler))
    with p.connect() as c:
        assert c.get().body == b"0"
        assert c.get().body == b"1"


def test_refused_stream_is_sent_again(make, origin):
    def handler(conn):
        first = True
        while (a := conn.next()) is not None:
            if first:
                conn.send(frame(RST, 0, a.stream, struct.pack(">I", h2wire.REFUSED)))
            else:
                conn.answer(a, 200, b"ok")
            first = False
    p = through(make, origin(handler))
    assert p.get().body == b"ok"


@pytest.mark.parametrize("how", ["reset", "close", "half", "malformed", "length", "junk"])
def test_broken_upstreams(make, origin, how):
    def handler(conn):
        a = conn.next()
        if how == "reset":
            conn.send(frame(RST, 0, a.stream, struct.pack(">I", h2wire.INTERNAL)))
            conn.expect_close(10)
        elif how == "half":
            conn.answer(a, 200, b"half", [("content-length", "100")], end=False)
        elif how == "malformed":
            conn.answer(a, 200, b"", [("x-a", "1\r\nx-b: 2")])
            conn.expect_close(10)
        elif how == "length":
            conn.answer(a, 200, b"four", [("content-length", "5")])
            conn.expect_close(10)
        elif how == "junk":
            conn.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            conn.expect_close(10)
    p = through(make, origin(handler))
    if how in ("half", "length"):
        try:
            assert p.request("POST", "/", body=b"x").status in (502, 503)
        except wire.Closed:
            pass  # cut inside: it does not look whole
    else:
        assert p.request("POST", "/", body=b"x").status in (502, 503)
    p.wait_stat("cluster.main.upstream_rq_active", 0)


def test_a_client_that_leaves_resets_its_stream_only(make, origin):
    seen = []

    def handler(conn):
        conn.origin.conns[0].until(lambda: any(a.reset is not None for a in conn.asked.values()), "a reset", 15)
        seen.extend(a.reset for a in conn.asked.values() if a.reset is not None)
        while (a := conn.next()) is not None:
            if a.reset is None:
                conn.answer(a, 200, b"alive")
    o = origin(handler)
    p = through(make, o)
    with Client(p.port) as c:
        gone, stays = c.ask(), c.ask()
        o.wait_requests(2)
        c.send(frame(RST, 0, gone, struct.pack(">I", h2wire.CANCEL)))
        assert bytes(c.wait(stays).body) == b"alive"
    assert seen == [h2wire.CANCEL] and len(o.conns) == 1


def test_a_slow_client_stops_one_stream_of_the_upstream(make, origin):
    sent = [0]

    def handler(conn):
        credit = 65535
        big = conn.next()
        conn.answer(big, 200, end=False)
        seen = 0
        while not conn.closed:
            while credit >= 16384:
                conn.send(frame(DATA, 0, big.stream, bytes(16384)))
                credit, sent[0] = credit - 16384, sent[0] + 16384
            conn.pump(0.1)
            ups = [f for f in conn.of(WINDOW) if f.stream == big.stream]
            credit += sum(int.from_bytes(f.payload, "big") for f in ups[seen:])
            seen = len(ups)
            while conn.ready:
                conn.answer(conn.ready.pop(0), 200, b"quick")
    p = through(make, origin(handler), listener={"per_connection_buffer_limit_bytes": 32768})
    with Client(p.port, window=0, auto=False) as slow:
        slow.ask()
        last = [-1]

        def stopped():
            slow.quiet(0.3)
            same, last[0] = sent[0] == last[0], sent[0]
            return same and sent[0] > 0
        wire.until(stopped, 15, "no more window")
        assert sent[0] < 1 << 20
        assert p.get().body == b"quick", "the connection is not blocked"


def test_keepalive_notices_a_dead_upstream(make, origin):
    def handler(conn):
        a = conn.next()
        conn.answer(a, 200, b"once")
        conn.auto = False  # answers no PING any more
        conn.next()
        while conn.pump(20) and not conn.closed:
            pass
    p = through(make, origin(handler), http2={"connection_keepalive": {"interval": "0.3s", "timeout": "0.5s"}},
                listener={})
    with p.connect() as c:
        assert c.get().body == b"once"
        assert c.get().body == b"once", "sent again on another connection"
    assert p.stat("cluster.main.http2.keepalive_timeout") >= 1


def test_idle_timeout_and_max_requests(make, origin):
    o = origin()
    p = through(make, o, cluster={"common_http_protocol_options": {"idle_timeout": "0.5s", "max_requests_per_connection": 2}},
                listener={})
    for _ in range(4):
        assert p.get().status == 200
    assert len(o.conns) == 2
    p.wait_stat("cluster.main.upstream_cx_active", 0)


def test_load_in_all_combinations(make):
    o = make.origin(lambda r: wire.reply(200, b"x" * 1000))
    port = new_ports(1)[0]
    x = subprocess.Popen(["nghttpx", "-f127.0.0.1,%d;no-tls" % port, "-b127.0.0.1,%d" % o.port, "--workers=1", "--no-ocsp",
                          "--errorlog-file=/dev/null", "--conf=/dev/null"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def up():
            try:
                wire.Client(port).sock.close()
                return True
            except OSError:
                return False
        wire.until(up, 10, "nghttpx")
        p = make.proxy(port, cluster=H2)
        url = "http://127.0.0.1:%d/" % p.port
        out = subprocess.run(["h2load", "-n", "1000", "-c", "4", "-m", "10", url], capture_output=True, timeout=25,
                             check=True).stdout
        assert b"1000 succeeded, 0 failed, 0 errored" in out
        out = subprocess.run(["h2load", "--h1", "-n", "500", "-c", "4", url], capture_output=True, timeout=25, check=True).stdout
        assert b"500 succeeded, 0 failed, 0 errored" in out
    finally:
        x.terminate()
        x.wait(5)
