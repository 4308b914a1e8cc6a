# SPDX-License-Identifier: AGPL-3.0-or-later
"""Upgrade and CONNECT over HTTP/1: nothing tunnels without the upstream's consent; then every byte passes."""
import json
import os
import threading

import pytest

from harness.wire import Closed, Reset, head, reply, until

WS = [("Connection", "Upgrade"), ("Upgrade", "websocket"),
      ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")]
ALLOW = {"upgrade_configs": [{"upgrade_type": "websocket"}]}
ACCEPT = head("HTTP/1.1 101 Switching Protocols",
              [("Connection", "upgrade"), ("Upgrade", "WebSocket"),
               ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")])
MIB = 1 << 20


def echo(conn, early=b""):
    """Answers 101 and sends everything back; ends its side when the client has."""
    conn.request_head()
    conn.send(ACCEPT + early)
    rest = bytes(conn.reader.buf)
    conn.reader.buf.clear()
    if rest:
        conn.send(rest)
    while True:
        data = conn.sock.recv(65536)
        if not data:
            break
        conn.send(data)
    conn.shutdown_write()


def opened(p, target="/chat", headers=WS):
    c = p.connect()
    c.ask("GET", target, headers)
    r = c.reader.response_head()
    assert r.status == 101, r
    return c, r


def log_lines(p):
    return [json.loads(line) for line in p.stdout.splitlines() if line.startswith("{")]


def test_bytes_pass_both_ways_and_the_heads_are_right(make):
    o = make.origin(handler=echo)
    p = make.proxy(o, hcm={**ALLOW, "access_log": [{
        "name": "l", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": {"code": "%RESPONSE_CODE%", "in": "%BYTES_RECEIVED%",
                                           "out": "%BYTES_SENT%", "flags": "%RESPONSE_FLAGS%",
                                           "ms": "%DURATION%"}}}}]})
    c, r = opened(p)
    assert r.get("upgrade") == "websocket" and r.get("connection").lower() == "upgrade"
    assert r.get("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    seen = o.last
    assert seen.get("upgrade") == "websocket" and seen.get("connection") == "upgrade"
    assert seen.get("sec-websocket-key") == "dGhlIHNhbXBsZSBub25jZQ=="
    assert not seen.has("content-length") and not seen.has("transfer-encoding")
    c.send(b"hello")
    assert c.reader.exactly(5) == b"hello"
    assert p.stat("http.test.downstream_cx_upgrades_active") == 1
    data = os.urandom(300000)
    t = threading.Thread(target=c.send, args=(data,))
    t.start()
    assert c.reader.exactly(len(data)) == data
    t.join()
    c.shutdown_write()
    assert c.reader.until_eof() == b""
    p.wait_stat("http.test.downstream_cx_upgrades_active", 0)
    stats = p.stats()
    assert stats["http.test.downstream_cx_upgrades_total"] == 1
    assert stats["http.test.downstream_rq_1xx"] == 1
    p.wait_stat("cluster.main.upstream_cx_active", 0)
    line = until(lambda: log_lines(p), 10)[0]
    assert (line["code"], line["in"], line["out"], line["flags"]) == (101, 300005, 300005, "-")


REFUSED = {
    "not configured": ({}, WS, "GET", 403),
    "another protocol": (ALLOW, [("Connection", "upgrade"), ("Upgrade", "irc")], "GET", 403),
    "a list": (ALLOW, [("Connection", "upgrade"), ("Upgrade", "websocket, irc")], "GET", 403),
    "two fields": (ALLOW, [("Connection", "upgrade"), ("Upgrade", "websocket"),
                           ("Upgrade", "websocket")], "GET", 403),
    "off": ({"upgrade_configs": [{"upgrade_type": "websocket", "enabled": False}]}, WS, "GET", 403),
    "a protocol named like CONNECT": ({"upgrade_configs": [{"upgrade_type": "CONNECT"}]},
                                      [("Connection", "upgrade"), ("Upgrade", "CONNECT")], "GET", 403),
    "no Connection": (ALLOW, [("Upgrade", "websocket")], "GET", 200),
    "h2c": (ALLOW, [("Connection", "upgrade"), ("Upgrade", "h2c")], "GET", 200),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_an_allowed_upgrade_stays_http(make, name):
    hcm, headers, method, status = REFUSED[name]
    o = make.origin()
    p = make.proxy(o, hcm=hcm)
    with p.connect() as c:
        assert c.request(method, "/", headers).status == status
        assert c.get().status == 200, "the connection goes on"
    for request in o.requests:
        assert not request.has("upgrade") and not request.has("connection")
    assert p.stat("http.test.downstream_rq_ws_on_non_ws_route") == (1 if status == 403 else 0)
    assert p.stat("http.test.downstream_cx_upgrades_total") == 0


def test_the_routes_word_counts_before_the_managers(make):
    o = make.origin(handler=echo)
    p = make.proxy(clusters={"main": o}, hcm=ALLOW, routes=[
        {"match": {"prefix": "/no"}, "route": {"cluster": "main", "upgrade_configs": [
            {"upgrade_type": "websocket", "enabled": False}]}},
        {"match": {"prefix": "/own"}, "route": {"cluster": "main", "upgrade_configs": [
            {"upgrade_type": "mine/1"}]}},
        {"match": {"prefix": "/"}, "route": {"cluster": "main"}}])
    assert p.get("/no", headers=WS).status == 403
    opened(p, "/yes")[0].close()
    opened(p, "/own")[0].close()
    with p.connect() as c:
        c.ask("GET", "/", [("Connection", "upgrade"), ("Upgrade", "mine/1")])
        assert c.response().status == 403


def test_simple_file_allows_it_by_service(make):
    o = make.origin(handler=echo)
    p = make.text("""
version: "1"
listen: 127.0.0.1:@PORT0@
admin: 127.0.0.1:@ADMIN@
services:
- {name: chat, hosts: [127.0.0.1], port: %d, protocol: http, websocket_upgrade: true}
- {name: ws, hosts: [127.0.0.1], port: %d, protocol: websocket}
- {name: plain, hosts: [127.0.0.1], port: %d, protocol: http}
routes:
- {name: a, prefix: /chat, cluster_name: chat}
- {name: b, prefix: /ws, cluster_name: ws}
- {name: c, prefix: /, cluster_name: plain}
""" % (o.port, o.port, o.port), n_ports=1)
    for target in ("/chat", "/ws"):
        c, _ = opened(p, target)
        c.send(b"x")
        assert c.reader.exactly(1) == b"x"
        c.close()
    assert p.get("/", headers=WS).status == 403


BAD_101 = {
    "no Upgrade": [("Connection", "upgrade")],
    "no Connection": [("Upgrade", "websocket")],
    "other protocol": [("Connection", "upgrade"), ("Upgrade", "irc")],
    "two protocols": [("Connection", "upgrade"), ("Upgrade", "websocket"), ("Upgrade", "irc")],
    "list": [("Connection", "upgrade"), ("Upgrade", "websocket, irc")],
    "framing": [("Connection", "upgrade"), ("Upgrade", "websocket"), ("Content-Length", "5")],
}


@pytest.mark.parametrize("name", BAD_101)
def test_a_101_that_is_not_the_one_opens_nothing(make, name):
    def handler(conn):
        conn.request_head()
        conn.send(head("HTTP/1.1 101 Switching Protocols", BAD_101[name]) + b"HTTP/1.1 200 OK\r\n\r\n")
        conn.wait_closed()
    o = make.origin(handler=handler)
    p = make.proxy(o, hcm=ALLOW)
    with p.connect() as c:
        c.ask("GET", "/", WS)
        c.send(b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        r = c.response()
        assert r.status == 502
    assert b"smuggled" not in o.conns[0].received
    assert p.stat("http.test.downstream_cx_upgrades_total") == 0
    assert p.stat("cluster.main.upstream_cx_protocol_error") >= 1


def test_101_in_http10_and_to_a_plain_request(make):
    def handler(conn):
        conn.request_head()
        conn.send(ACCEPT.replace(b"HTTP/1.1", b"HTTP/1.0", 1) if conn.index == 0 else ACCEPT)
        conn.wait_closed()
    o = make.origin(handler=handler)
    p = make.proxy(o, hcm=ALLOW)
    assert p.get("/", headers=WS).status == 502
    assert p.get("/").status == 502


def test_bytes_before_the_head_open_nothing(make):
    def handler(conn):
        conn.request_head()
        conn.send(b"\x81\x05hello" + ACCEPT)
        conn.wait_closed()
    o = make.origin(handler=handler)
    p = make.proxy(o, hcm=ALLOW)
    assert p.get("/", headers=WS).status == 502


def test_refused_by_the_upstream_is_an_ordinary_response(make):
    answers = {"/401": reply(401, b"no", [("WWW-Authenticate", "x")]), "/200": reply(200, b"page"),
               "/426": reply(426, b"", [("Upgrade", "websocket"), ("Connection", "upgrade")]),
               "/chunked": head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]) +
               b"3\r\nabc\r\n0\r\n\r\n"}
    o = make.origin(answer=lambda r: answers.get(r.target, reply(200, b"plain")))
    p = make.proxy(o, hcm=ALLOW)
    with p.connect() as c:
        for target, status, body in (("/401", 401, b"no"), ("/200", 200, b"page"), ("/426", 426, b""),
                                     ("/chunked", 200, b"abc"), ("/", 200, b"plain")):
            c.ask("GET", target, WS)
            r = c.response()
            assert (r.status, r.body) == (status, body)
            assert not r.has("upgrade")
        # What was pipelined behind a refused upgrade is the next request.
        c.send(head("GET /200 HTTP/1.1", [("Host", "x")] + WS) + b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n")
        assert c.response().body == b"page"
        assert c.response().body == b"plain"
    assert len(o.conns) == 1, "the upstream's connection went on too"
    assert p.stat("http.test.downstream_cx_upgrades_total") == 0


def test_a_body_takes_the_wish_away(make):
    o = make.origin()
    p = make.proxy(o, hcm=ALLOW)
    with p.connect() as c:
        assert c.request("POST", "/", WS, b"body").status == 200
        assert c.get().status == 200
    assert o.requests[0].body == b"body" and not o.requests[0].has("upgrade")


def test_early_data_keeps_its_order(make):
    gate = threading.Event()
    early = os.urandom(50000)

    def handler(conn):
        conn.request_head()
        assert gate.wait(10)
        assert bytes(conn.reader.buf) == b"", "nothing reaches the upstream before its 101"
        conn.send(ACCEPT + b"first words;")
        got = conn.reader.exactly(len(early) + 5, 10)
        conn.send(got)
        conn.reader.until_eof(10)
    o = make.origin(handler=handler)
    p = make.proxy(o, hcm=ALLOW)
    c = p.connect()
    c.send(head("GET / HTTP/1.1", [("Host", "x")] + WS) + early[:20000])
    c.send(early[20000:])
    o.wait_requests(1)
    assert not c.readable(0.1)
    gate.set()
    assert c.reader.response_head().status == 101
    assert c.reader.exactly(12) == b"first words;"
    c.send(b"after")
    assert c.reader.exactly(len(early) + 5) == early + b"after"
    c.close()


def test_split_heads(make):
    def handler(conn):
        conn.request_head()
        for i in range(0, len(ACCEPT), 7):
            conn.send(ACCEPT[i:i + 7])
        conn.send(b"x")
        assert conn.reader.exactly(1, 10) == b"y"
        conn.reader.until_eof(10)
    o = make.origin(handler=handler)
    p = make.proxy(o, hcm=ALLOW)
    with p.connect() as c:
        c.drip(head("GET / HTTP/1.1", [("Host", "x")] + WS), 0.001, 11)
        assert c.reader.response_head().status == 101
        assert c.reader.exactly(1) == b"x"
        c.send(b"y")


@pytest.mark.parametrize("first", ["client", "upstream"])
def test_half_close_keeps_the_other_direction(make, first):
    def handler(conn):
        conn.request_head()
        conn.send(ACCEPT)
        if first == "client":
            assert conn.reader.until_eof(20) == b"question"
            for _ in range(64):
                conn.send(b"z" * 65536)
        else:
            conn.send(b"question")
            conn.shutdown_write()
            got = conn.reader.until_eof(20)
            assert got == b"z" * (64 * 65536), len(got)
            conn.origin.whole = True
    o = make.origin(handler=handler)
    p = make.proxy(o, hcm=ALLOW)
    c, _ = opened(p)
    if first == "client":
        c.send(b"question")
        c.shutdown_write()
        assert c.reader.until_eof(20) == b"z" * (64 * 65536)
    else:
        assert c.reader.until_eof(10) == b"question"
        assert p.stat("http.test.downstream_cx_upgrades_active") == 1
        for _ in range(64):
            assert c.send(b"z" * 65536)
        c.shutdown_write()
        o.conns[0].ended.wait(20)
        assert o.whole
    c.close()
    p.wait_stat("http.test.downstream_cx_upgrades_active", 0)
    p.wait_stat("cluster.main.upstream_cx_active", 0)


def test_client_that_ended_its_side_before_the_101(make):
    def handler(conn):
        conn.request_head()
        assert gate.wait(10)
        conn.send(ACCEPT + b"late")
        assert conn.reader.until_eof(10) == b"early"
    gate = threading.Event()
    o = make.origin(handler=handler)
    p = make.proxy(o, hcm=ALLOW)
    c = p.connect()
    c.send(head("GET / HTTP/1.1", [("Host", "x")] + WS) + b"early")
    c.shutdown_write()
    o.wait_requests(1)
    gate.set()
    assert c.reader.response_head().status == 101
    assert c.reader.until_eof() == b"late"
    assert o.conns[0].ended.wait(10)


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_a_reset_is_passed_on(make, who):
    result = []

    def handler(conn):
        conn.request_head()
        conn.send(ACCEPT + b"x")
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
    c, _ = opened(p)
    assert c.reader.exactly(1) == b"x"
    if who == "client":
        c.reset()
        assert o.conns[0].ended.wait(10)
        assert result == ["reset"]
    else:
        c.send(b"y")
        with pytest.raises(Reset):
            c.reader.until_eof(10)
    p.wait_stat("http.test.downstream_cx_upgrades_active", 0)
    p.wait_stat("cluster.main.upstream_cx_active", 0)
    p.wait_stat("cluster.main.upstream_rq_active", 0)


def test_idle_tunnels_end_and_busy_ones_do_not(make):
    o = make.origin(handler=echo)
    p = make.proxy(o, hcm={**ALLOW, "stream_idle_timeout": "1s"})
    c, _ = opened(p)
    for _ in range(8):
        c.send(b"x")
        assert c.reader.exactly(1) == b"x"
        assert not c.readable(0.2)
    with pytest.raises(Closed):
        c.reader.exactly(1, 10)
    p.wait_stat("http.test.downstream_rq_idle_timeout", 1)
    p.wait_stat("cluster.main.upstream_cx_active", 0)


def test_the_routes_timeout_is_for_the_101_alone(make):
    def handler(conn):
        r = conn.request_head()
        if r.target == "/never":
            conn.wait_closed(20)
            return
        conn.send(ACCEPT)
        conn.reader.exactly(1, 20)
        conn.send(b"y")
        conn.reader.until_eof(20)
    o = make.origin(handler=handler)
    p = make.proxy(o, hcm=ALLOW, route={"timeout": "0.4s"})
    with p.connect() as c:
        c.ask("GET", "/never", WS)
        assert c.response().status == 504
    c, _ = opened(p)
    assert not c.readable(1.0)
    c.send(b"x")
    assert c.reader.exactly(1) == b"y"
    c.close()


def test_limits_of_bodies_are_not_for_tunnels(make):
    o = make.origin(handler=echo)
    p = make.march(fields={"limits": {"body_bytes": 1000}}, services={"main": (["127.0.0.1"], o.port)})
    p.stop()
    text = open(p.file).read().replace("protocol: http", "protocol: websocket")
    p = make.text(text, ports=p.ports, admin=p.admin_port)
    c, _ = opened(p)
    c.send(b"x" * 5000)
    assert c.reader.exactly(5000) == b"x" * 5000
    c.close()


def test_tunnels_live_through_reloads_and_end_with_the_drain(make):
    o = make.origin(handler=echo)
    p = make.proxy(o, hcm=ALLOW, drain_s=1)
    c, _ = opened(p)
    text = open(p.file).read()
    for i in range(3):
        with open(p.file, "w") as f:
            f.write(text.replace("stat_prefix: test", "stat_prefix: test%d" % i))
        r = p.admin("/reload", "POST", body=b"")
        assert r.status == 200, r.body
        c.send(b"still")
        assert c.reader.exactly(5) == b"still"
    assert p.get("/", headers=WS + [("X", "y")]).status == 101
    p.signal(15)
    c.send(b"draining")
    assert c.reader.exactly(8) == b"draining"
    with pytest.raises(Closed):
        c.reader.exactly(1, 15)
    p.stop()


def test_stale_connection_is_no_fault_of_the_upgrade(make):
    def handler(conn):
        r = conn.request()
        if not r.has("upgrade"):
            conn.send(reply(200, b"ok"))
            conn.origin.stale.wait(10)
            return
        conn.send(ACCEPT)
        conn.reader.until_eof(10)
    o = make.origin(handler=handler)
    o.stale = threading.Event()
    p = make.proxy(o, hcm=ALLOW, concurrency=1)
    assert p.get().status == 200
    o.stale.set()
    c, _ = opened(p)
    c.close()


CONNECT = {"upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]}


def connect_route(**fields):
    return [{"match": {"connect_matcher": {}}, "route": {"cluster": "main", **fields}}]


def test_connect_ends_here(make):
    def handler(conn):
        assert conn.reader.exactly(4, 10) == b"ping"
        conn.send(b"pong")
        conn.reader.until_eof(10)
    o = make.origin(handler=handler)
    p = make.proxy(clusters={"main": o}, routes=connect_route(**CONNECT))
    with p.connect() as c:
        # The first bytes need not wait for the answer.
        c.send(b"CONNECT db.example:5432 HTTP/1.1\r\nHost: db.example:5432\r\n\r\nping")
        r = c.reader.response_head("CONNECT")
        assert r.status == 200 and not r.has("content-length") and not r.has("transfer-encoding")
        assert c.reader.exactly(4) == b"pong"
        assert bytes(o.conns[0].received) == b"ping"
    p.wait_stat("cluster.main.upstream_cx_active", 0)
    assert p.stat("http.test.downstream_cx_upgrades_total") == 1


def test_connect_to_a_dead_upstream(make):
    from harness.ports import free_port
    p = make.proxy(clusters={"main": free_port()}, routes=connect_route(**CONNECT))
    with p.connect() as c:
        c.send(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert c.response("CONNECT").status == 503
        c.drain()  # what followed is no request
        assert c.received.count(b"HTTP/1.1") == 1


def test_connect_is_passed_on(make):
    def handler(conn):
        r = conn.request_head()
        if r.target == "no:1":
            conn.send(reply(403, b"nothing there"))
            return
        assert (r.method, r.target, r.get("host")) == ("CONNECT", "db.example:5432", "db.example:5432")
        conn.send(b"HTTP/1.1 200 Connected\r\nContent-Length: 10\r\n\r\nhi")
        assert conn.reader.exactly(4, 10) == b"ping"
        conn.reader.until_eof(10)
    o = make.origin(handler=handler)
    p = make.proxy(clusters={"main": o},
                   routes=connect_route(upgrade_configs=[{"upgrade_type": "CONNECT"}]))
    with p.connect() as c:
        c.send(b"CONNECT db.example:5432 HTTP/1.1\r\nHost: db.example:5432\r\n\r\n")
        r = c.reader.response_head("CONNECT")
        assert r.status == 200 and not r.has("content-length")
        assert c.reader.exactly(2) == b"hi"
        c.send(b"ping")
    with p.connect() as c:
        c.send(b"CONNECT no:1 HTTP/1.1\r\nHost: no:1\r\n\r\n")
        r = c.response("CONNECT")
        assert (r.status, r.body, r.get("connection")) == (403, b"nothing there", "close")
        c.expect_close()


def test_connect_that_nobody_allowed(make):
    o = make.origin()
    p = make.proxy(clusters={"main": o}, routes=[{"match": {"prefix": ""}, "route": {"cluster": "main"}}])
    with p.connect() as c:
        c.send(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
        assert c.response("CONNECT").status == 403
        c.expect_close()
    assert o.requests == []


@pytest.mark.bounded(60)
@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_slow_reader_slows_its_writer_and_memory_stays_flat(make, direction):
    """100 MB through one tunnel; the reader begins only when the writer has been stopped."""
    total = 100 * MIB
    block = os.urandom(MIB)
    sent = [0]

    def write(send):
        for _ in range(total // MIB):
            send(block)
            sent[0] += MIB

    def read(recv):
        n = 0
        while n < total:
            data = recv(MIB)
            assert data, n
            off = n % MIB
            twice = block + block
            assert data == twice[off:off + len(data)]
            n += len(data)

    def handler(conn):
        r = conn.request_head()
        conn.send(ACCEPT)
        if r.target == "/warm":
            conn.reader.until_eof(30)
        elif direction == "down":
            write(conn.send)
        else:
            go.wait(30)
            conn.sock.settimeout(30)
            read(conn.sock.recv)
            conn.send(b"done")
            conn.reader.until_eof(30)
    go = threading.Event()
    o = make.origin(handler=handler, rcvbuf=65536)
    p = make.proxy(o, hcm=ALLOW, concurrency=1, listener={"per_connection_buffer_limit_bytes": 65536})
    opened(p, "/warm")[0].close()
    c = p.connect(rcvbuf=65536)
    c.ask("GET", "/", WS)
    assert c.reader.response_head().status == 101
    before = p.memory_kb()
    c.sock.settimeout(30)
    t = threading.Thread(target=write, args=(c.sock.sendall,), daemon=True)
    if direction == "up":
        t.start()
    seen = []

    def stopped():
        seen.append(sent[0])
        return len(seen) > 30 and len(set(seen[-25:])) == 1
    until(stopped, 20, "the writer is held back")
    assert sent[0] < 30 * MIB
    assert p.memory_kb() - before < (40 * 1024 if p.sanitized() else 2048)
    assert p.stat("http.test.downstream_flow_control_paused_reading_total" if direction == "up" else
                  "cluster.main.upstream_flow_control_paused_reading_total") > 0
    go.set()
    if direction == "down":
        read(lambda n: bytes(c.reader.buf) and c.reader.take(len(c.reader.buf)) or c.sock.recv(n))
    else:
        t.join(30)
        assert c.reader.exactly(4, 30) == b"done"
    assert p.memory_kb() - before < (40 * 1024 if p.sanitized() else 2048)
    c.close()
