# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tunnels from HTTP/2 clients (RFC 8441, CONNECT) to HTTP/1 upstreams."""
import base64
import hashlib
import os
import struct
import threading

import pytest

from harness import h2wire
from harness.h2wire import DATA, ES, frame
from harness.wire import Reset, head, until

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ALLOW = {"upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}],
         "http2_protocol_options": {"allow_connect": True}}


def accept_of(key):
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def accept(conn, extra=b"", wrong=False):
    r = conn.request_head()
    key = "wrong" if wrong else r.get("sec-websocket-key")
    conn.send(head("HTTP/1.1 101 Switching Protocols",
                   [("Connection", "upgrade"), ("Upgrade", "websocket"),
                    ("Sec-WebSocket-Accept", accept_of(key))]) + extra)
    return r


def echo(conn):
    accept(conn)
    while True:
        data = conn.sock.recv(65536)
        if not data:
            break
        conn.send(data)
    conn.shutdown_write()


def open_ws(c, path="/chat", fields=(), protocol="websocket", method="CONNECT", end=False):
    """Extended CONNECT; returns the stream's number."""
    stream, c.next = c.next, c.next + 2
    c.streams[stream] = h2wire.Exchange()
    c.send(c.block([(":method", method), (":protocol", protocol), (":scheme", "https"), (":path", path),
                    (":authority", "test"), ("sec-websocket-version", "13")] + list(fields), stream, end))
    return stream


def opened(c, **kw):
    stream = open_ws(c, **kw)
    x = c.streams[stream]
    c.until(lambda: x.fields or x.over, "the answer")
    assert x.status == 200 and not x.over, (x.fields, x.reset)
    return stream, x


def send(c, stream, data, end=False):
    c.send(b"".join(frame(DATA, ES if end and i + 16384 >= len(data) else 0, stream, data[i:i + 16384])
                    for i in range(0, max(len(data), 1), 16384)))


def test_round_trip_and_half_close(make):
    o = make.origin(handler=echo)
    p = make.proxy(o, hcm=ALLOW)
    with h2wire.Client(p.ports[0]) as c:
        stream, x = opened(c, fields=[("sec-websocket-protocol", "chat"), ("sec-websocket-key", "mine")])
        assert x.get("upgrade") is None and x.get("sec-websocket-accept") is None
        seen = o.last
        assert (seen.method, seen.target, seen.get("host")) == ("GET", "/chat", "test")
        assert seen.get("upgrade") == "websocket" and seen.get("connection") == "upgrade"
        key = seen.all("sec-websocket-key")
        assert len(key) == 1 and len(base64.b64decode(key[0])) == 16
        assert seen.get("sec-websocket-version") == "13" and seen.get("sec-websocket-protocol") == "chat"
        data = os.urandom(50000)
        send(c, stream, data)
        c.until(lambda: len(x.body) >= len(data), "the echo")
        assert bytes(x.body) == data
        assert p.stat("http.test.downstream_cx_upgrades_active") == 1
        send(c, stream, b"bye", end=True)
        c.wait(stream)
        assert bytes(x.body) == data + b"bye" and x.reset is None
        # The connection carries on, also with ordinary requests beside other tunnels.
        a, xa = opened(c)
        b, xb = opened(c)
        send(c, a, b"for a")
        send(c, b, b"for b")
        c.until(lambda: xa.body and xb.body, "both")
        assert (bytes(xa.body), bytes(xb.body)) == (b"for a", b"for b")
    p.wait_stat("http.test.downstream_cx_upgrades_active", 0)
    p.wait_stat("cluster.main.upstream_cx_active", 0)
    assert p.stat("http.test.downstream_cx_upgrades_total") == 3


def test_settings_say_so_only_when_allowed(make):
    o = make.origin()
    for hcm, value in ((ALLOW, 1), ({}, None)):
        p = make.proxy(o, hcm=hcm)
        with h2wire.Client(p.ports[0]) as c:
            c.until(lambda: c.settings_seen, "SETTINGS")
            f = c.of(h2wire.SETTINGS)[0]
            pairs = dict(struct.unpack_from(">HI", f.payload, i) for i in range(0, len(f.payload), 6))
            assert pairs.get(8) in ((1,) if value else (None, 0))


def test_what_is_not_allowed(make):
    o = make.origin(handler=echo)
    p = make.proxy(o, hcm={"http2_protocol_options": {"allow_connect": True}})
    with h2wire.Client(p.ports[0]) as c:
        assert c.wait(open_ws(c)).status == 403
        assert c.wait(open_ws(c, protocol="irc")).status == 403
    assert o.requests == []


def test_early_data_waits_for_the_101(make):
    gate = threading.Event()
    early = os.urandom(40000)

    def handler(conn):
        accept_after = gate
        r = conn.request_head()
        assert accept_after.wait(10)
        assert not conn.reader.buf, "nothing reaches the upstream before its 101"
        conn.send(head("HTTP/1.1 101 x", [("Connection", "upgrade"), ("Upgrade", "websocket"),
                                          ("Sec-WebSocket-Accept", accept_of(r.get("sec-websocket-key")))]))
        conn.send(conn.reader.exactly(len(early), 10))
        assert conn.reader.until_eof(10) == b""
    o = make.origin(handler=handler)
    p = make.proxy(o, hcm=ALLOW)
    with h2wire.Client(p.ports[0]) as c:
        stream = open_ws(c)
        send(c, stream, early, end=True)
        o.wait_requests(1)
        c.quiet(0.1)
        assert c.streams[stream].fields is None
        gate.set()
        x = c.wait(stream)
        assert x.status == 200 and bytes(x.body) == early


@pytest.mark.parametrize("what", ["wrong accept", "no accept", "no 101"])
def test_an_upstream_that_does_not_agree(make, what):
    def handler(conn):
        if what == "wrong accept":
            accept(conn, wrong=True)
        else:
            conn.request_head()
            conn.send(head("HTTP/1.1 101 x", [("Connection", "upgrade"), ("Upgrade", "websocket")])
                      if what == "no accept" else b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage")
        conn.wait_closed(20)
    o = make.origin(handler=handler)
    p = make.proxy(o, hcm=ALLOW)
    with h2wire.Client(p.ports[0]) as c:
        x = c.wait(open_ws(c))
        if what == "no 101":
            # Nobody may take it for the opening of a tunnel.
            assert x.status != 200 or x.ended
        else:
            assert x.status == 502
    assert p.stat("http.test.downstream_cx_upgrades_total") == 0


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_resets(make, who):
    result = []

    def handler(conn):
        accept(conn, b"x")
        if who == "upstream":
            conn.reader.exactly(1, 10)
            conn.reset()
            return
        try:
            result.append(conn.reader.until_eof(10))
        except Reset:
            result.append("reset")
    o = make.origin(handler=handler)
    p = make.proxy(o, hcm=ALLOW)
    with h2wire.Client(p.ports[0]) as c:
        stream, x = opened(c)
        c.until(lambda: x.body == b"x", "the first byte")
        if who == "client":
            c.send(frame(h2wire.RST, 0, stream, struct.pack(">I", h2wire.CANCEL)))
            assert o.conns[0].ended.wait(10)
            assert result == ["reset"]
        else:
            send(c, stream, b"y")
            assert c.wait(stream).reset is not None
        c.ping()
    p.wait_stat("http.test.downstream_cx_upgrades_active", 0)


def test_plain_connect(make):
    def handler(conn):
        assert conn.reader.exactly(4, 10) == b"ping"
        conn.send(b"pong")
        assert conn.reader.until_eof(10) == b""
    o = make.origin(handler=handler)
    p = make.proxy(clusters={"main": o}, hcm=ALLOW, routes=[
        {"match": {"connect_matcher": {}}, "route": {"cluster": "main", "upgrade_configs": [
            {"upgrade_type": "CONNECT", "connect_config": {}}]}}])
    with h2wire.Client(p.ports[0]) as c:
        stream, c.next = c.next, c.next + 2
        x = c.streams[stream] = h2wire.Exchange()
        c.send(c.block([(":method", "CONNECT"), (":authority", "db.example:5432")], stream, False))
        c.until(lambda: x.fields, "the answer")
        assert x.status == 200
        send(c, stream, b"ping")
        c.until(lambda: x.body == b"pong", "the answer")
        send(c, stream, b"", end=True)
        c.wait(stream)
        assert x.reset is None
    assert bytes(o.conns[0].received) == b"ping"


def test_a_slow_reader_stops_its_tunnel_alone(make):
    sent = [0]

    def handler(conn):
        r = accept(conn)
        if r.target == "/slow":
            conn.sock.settimeout(30)
            while sent[0] < 64 << 20:
                conn.sock.sendall(b"z" * 65536)
                sent[0] += 65536
        conn.reader.until_eof(30)
    o = make.origin(handler=handler)
    p = make.proxy(o, hcm=ALLOW, concurrency=1, listener={"per_connection_buffer_limit_bytes": 65536})
    c = h2wire.Client(p.ports[0], auto=False)
    c.until(lambda: c.settings_seen, "SETTINGS")
    c.send(frame(h2wire.SETTINGS, 1))
    before = p.memory_kb()
    stream, x = opened(c, path="/slow")
    seen = []

    def stopped():
        c.quiet(0.02)
        seen.append(sent[0])
        return len(seen) > 30 and len(set(seen[-25:])) == 1
    until(stopped, 20, "the upstream is held back")
    assert sent[0] < 32 << 20 and len(x.body) <= 1 << 20
    assert p.memory_kb() - before < (40 * 1024 if p.sanitized() else 3072)
    other, _ = opened(c, path="/other")
    c.sock.close()
    p.wait_stat("http.test.downstream_cx_upgrades_active", 0, 15)
