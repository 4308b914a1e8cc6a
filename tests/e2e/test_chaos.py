# SPDX-License-Identifier: AGPL-3.0-or-later
"""Hostile clients and hostile origins at once, by a seed. What a peer that plays by the rules receives is verified byte
by byte; afterwards nothing may be left behind: gauges at 0, memory back, no descriptor kept.

    CHAOS_SEED=7 CHAOS_S=60 pytest test_chaos.py    one seed, longer
"""
import os
import random
import re
import signal
import socket
import threading
import time
import zlib

import pytest

from harness.wire import Closed, Late, Reader, WireError, abort, chunk, head, reply
from harness.wire import until as wire_until

SEED = int(os.environ.get("CHAOS_SEED", "1"))
SECONDS = float(os.environ.get("CHAOS_S", "3"))
WORKERS = int(os.environ.get("CHAOS_WORKERS", "2"))
CLIENTS, IO_S = 12, 8.0


def content(seed, n):
    """n bytes that only this seed makes."""
    unit = b"%08x." % (seed & 0xffffffff)
    return (unit * (n // len(unit) + 1))[:n]


# ---- the origin: what it does is told by the path, so that the client knows what to expect

def send_slowly(sock, data, rng):
    at = 0
    while at < len(data):
        n = rng.choice((1, 7, 500, 5000, 40000))
        sock.sendall(data[at:at + n])
        at += n
        if rng.random() < 0.2:
            time.sleep(rng.random() * 0.003)


def pieces(data, rng):
    out, at = [], 0
    while at < len(data):
        n = rng.choice((1, 3, 100, 4096, 30000))
        out.append(data[at:at + n])
        at += n
    return out[:400] + [b"".join(out[400:])]


def good(conn, request, rng, seed, n):
    """A response by the rules, in one of its shapes. False: the connection ends with it."""
    body = content(seed, n)
    sum_of = [("x-crc", zlib.crc32(request.body)), ("x-seed", seed)]
    early = b"".join(head("HTTP/1.1 103 Early Hints", [("link", "<a>")]) for _ in range(rng.choice((0, 0, 0, 1, 3))))
    shape = rng.choice(("length", "chunked", "chunked", "trailers", "close"))
    if request.method == "HEAD":
        conn.send(early + head("HTTP/1.1 200 OK", sum_of + [("content-length", n)]))
        return True
    if shape == "length":
        data = head("HTTP/1.1 200 OK", sum_of + [("content-length", n)]) + body
    elif shape == "close":
        data = head("HTTP/1.1 200 OK", sum_of + [("connection", "close")]) + body
    else:
        trailers = [("x-sum", zlib.crc32(body))] if shape == "trailers" else []
        data = head("HTTP/1.1 200 OK", sum_of + [("transfer-encoding", "chunked")])
        data += chunk(*pieces(body, rng), trailers=trailers)
    if rng.random() < 0.3:
        conn.sock.settimeout(IO_S)
        send_slowly(conn.sock, early + data, rng)
    else:
        conn.send(early + data)
    return shape != "close"


BAD = {
    "reset": lambda c: c.reset(),
    "close": lambda c: None,
    "partial-head": lambda c: c.send(b"HTTP/1.1 200 OK\r\ncontent-le"),
    "partial-length": lambda c: c.send(head("HTTP/1.1 200 OK", [("content-length", 100000)]) + b"x" * 5000),
    "partial-chunk": lambda c: c.send(head("HTTP/1.1 200 OK", [("transfer-encoding", "chunked")]) + b"ff\r\nabc"),
    "partial-trailers": lambda c: c.send(head("HTTP/1.1 200 OK", [("transfer-encoding", "chunked")])
                                         + b"3\r\nabc\r\n0\r\nx: y\r\n"),
    "garbage": lambda c: c.send(os.urandom(300)),
    "two-lengths": lambda c: c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
    "interim-flood": lambda c: c.send(head("HTTP/1.1 103 A", [("x", "y" * 900)]) * 200),
    "huge-head": lambda c: c.send(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200000),
    "huge-trailers": lambda c: c.send(head("HTTP/1.1 200 OK", [("transfer-encoding", "chunked")]) + b"1\r\na\r\n0\r\n"
                                      + b"x: yyyyyyyyyyyyyyyyyy\r\n" * 9000),
    "body-after-204": lambda c: c.send(b"HTTP/1.1 204 No\r\n\r\nnobody asked"),
    "unasked": lambda c: c.send(reply(200, b"a", [("x-unasked", 1)]) + reply(200, b"forged")),
    "hang": lambda c: c.wait_closed(1.0),
    "endless": lambda c: endless(c),
}


def endless(conn):
    conn.send(head("HTTP/1.1 200 OK", []))
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        conn.send(b"z" * 30000)


def origin_script(conn):
    rng = random.Random(SEED * 1000003 + conn.index)
    conn.sock.settimeout(IO_S)
    if conn.index > 0 and rng.random() < 0.03:
        conn.reset()
        return
    while True:
        if conn.requests and rng.random() < 0.05:
            return  # an idle connection is closed just when it may be used again
        if not conn.reader.buf and not conn.reader.fill(time.monotonic() + IO_S):
            return
        request = conn.reader.request_head(IO_S)
        kind, _, rest = request.target[1:].partition("/")
        if kind == "bad":
            name = rest.split("/")[0]
            if rng.random() < 0.5 and name != "unasked":
                conn.reader.body(request, IO_S)
            BAD[name](conn)
            return
        if kind == "early":  # an answer before the request is whole
            conn.send(reply(413, b"early", [("x-early", 1)]))
            if rng.random() < 0.5:
                conn.shutdown_write()
                conn.wait_closed(0.5)
            return
        if request.get("expect") and rng.random() < 0.8:
            conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        conn.reader.body(request, IO_S)
        seed, n = (int(x) for x in rest.split("/"))
        if not good(conn, request, rng, seed, n):
            return


# ---- clients

class Run:
    def __init__(self, proxy):
        self.proxy = proxy
        self.stop_at = time.monotonic() + SECONDS
        self.problems = []
        self.served = 0
        self.count = {}
        self.lock = threading.Lock()

    def problem(self, *what):
        with self.lock:
            self.problems.append(what)

    def note(self, key):
        with self.lock:
            self.count[key] = self.count.get(key, 0) + 1


def connect(run):
    s = socket.create_connection(("127.0.0.1", run.proxy.port), IO_S)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def make_request(rng, seed, n):
    """(method, bytes, crc of the body) of a request by the rules."""
    method = rng.choice(("GET", "GET", "GET", "HEAD", "POST", "PUT"))
    fields = [("Host", "chaos"), ("X-Pad", "p" * rng.choice((1, 10, 3000)))]
    body = b""
    if method in ("POST", "PUT"):
        body = content(seed ^ 0x5555, rng.choice((0, 1, 4000, 70000, 300000)))
    start = "%s /ok/%d/%d HTTP/1.1" % (method, seed, n)
    if body and rng.random() < 0.5:
        framed = head(start, fields + [("Transfer-Encoding", "chunked")]) + chunk(*pieces(body, rng))
    elif body:
        framed = head(start, fields + [("Content-Length", len(body))]) + body
    else:
        framed = head(start, fields + ([("Content-Length", 0)] if method == "POST" else []))
    return method, framed, zlib.crc32(body)


def check(run, r, method, crc, seed, n):
    """A 200 is the answer to this request and to no other. 503: an idle connection died under it (not a GET's
    fault), which the origin does on purpose."""
    if r.status != 200:
        run.note(r.status)
        if r.status not in (502, 503, 504, 408):
            run.problem("status", r.status, method, seed)
        return
    run.served += 1
    if r.get("x-seed") != str(seed) or r.get("x-crc") != str(crc):
        run.problem("mixed up", method, seed, r.headers)
    if method != "HEAD" and r.body != content(seed, n):
        run.problem("content", method, seed, n, len(r.body))


def by_the_rules(run, rng):
    """Keep-alive, pipelined or not; every answer is verified."""
    with connect(run) as s:
        reader = Reader(s, IO_S)
        for _ in range(rng.randrange(1, 8)):
            batch = []
            for _ in range(rng.choice((1, 1, 1, 4))):
                seed, n = rng.randrange(1 << 30), rng.choice((0, 1, 100, 5000, 66000, 400000))
                batch.append((seed, n) + make_request(rng, seed, n))
            data = b"".join(b[3] for b in batch)
            sender = threading.Thread(target=push, args=(s, data, random.Random(rng.random())), daemon=True)
            sender.start()
            for seed, n, method, _, crc in batch:
                r = reader.response(method)
                check(run, r, method, crc, seed, n)
                if r.get("connection") == "close":
                    return
            sender.join(IO_S)


def push(s, data, rng):
    try:
        if rng.random() < 0.3:
            send_slowly(s, data, rng)
        else:
            s.sendall(data)
    except OSError:
        pass


def told(run, rng):
    """Asks for a fault of the origin; any ending is right but silence and a forged answer."""
    name = rng.choice(sorted(BAD))
    with connect(run) as s:
        body = content(1, rng.choice((0, 0, 3000, 200000)))
        method = "POST" if body else "GET"
        fields = [("Host", "chaos")] + ([("Content-Length", len(body))] if body else [])
        push(s, head("%s /%s HTTP/1.1" % (method, rng.choice(("early/", "bad/" + name))), fields) + body, rng)
        if rng.random() < 0.3:
            abort(s)
            return
        reader = Reader(s, IO_S)
        try:
            r = reader.response(method)
            if r.body == b"forged":
                run.problem("forged", name)
            if name.startswith("partial") and r.status == 200:
                run.problem("a cut response was passed on as whole", name)
        except Late:
            run.problem("silence", name)
        except Closed:
            run.note("closed " + name)


def abandon(run, rng):
    """Stops somewhere inside a request or a response: reset, close, half-close, or just silence."""
    seed, n = rng.randrange(1 << 30), rng.choice((0, 5000, 2000000))
    _, data, _ = make_request(rng, seed, n)
    s = connect(run)
    push(s, data[:rng.randrange(len(data) + 1)], rng)
    if rng.random() < 0.5:
        time.sleep(rng.random() * 0.02)
    end = rng.choice(("reset", "close", "half", "read", "silence"))
    if end == "half":
        s.shutdown(socket.SHUT_WR)
    if end in ("half", "read"):
        s.settimeout(0.2)
        try:
            s.recv(rng.choice((1, 100, 60000)))
        except OSError:
            pass
    if end == "silence":
        time.sleep(0.3)
    if end == "reset":
        abort(s)
    s.close()


def junk(run, rng):
    """Bytes that are no HTTP, or not quite."""
    with connect(run) as s:
        _, data, _ = make_request(rng, 1, 10)
        data = bytearray(data[:20000])
        for _ in range(rng.choice((1, 5, 200))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        push(s, bytes(rng.choice((data, rng.randbytes(2000), b"\r\n" * 3000, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 500))), rng)
        s.settimeout(0.3)
        try:
            while s.recv(65536):
                pass
        except OSError:
            pass


def flood(run, rng):
    """Pipelines a lot and reads nothing."""
    with connect(run) as s:
        s.settimeout(0.3)
        try:
            for _ in range(200):
                s.sendall(b"GET /ok/1/60000 HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        except OSError:
            pass
        if rng.random() < 0.5:
            abort(s)


def reload_often(run):
    """Other limits, another name for the cluster, and back, while everything goes on."""
    with open(run.proxy.file, encoding="utf-8") as f:
        first = f.read()
    texts = [first.replace("connect_timeout: 1s", "connect_timeout: 2s"), re.sub(r"\bmain\b", "other", first), first]
    n = 0
    while time.monotonic() < run.stop_at:
        time.sleep(0.3)
        with open(run.proxy.file, "w", encoding="utf-8") as f:
            f.write(texts[n % 3])
        run.proxy.signal(signal.SIGHUP)
        run.note("reload")
        n += 1
    with open(run.proxy.file, "w", encoding="utf-8") as f:
        f.write(first)
    run.proxy.signal(signal.SIGHUP)


KINDS = (by_the_rules,) * 8 + (told,) * 4 + (abandon,) * 4 + (junk,) * 2 + (flood,)


def client(run, index):
    rng = random.Random(SEED * 7919 + index)
    while time.monotonic() < run.stop_at:
        kind = rng.choice(KINDS)
        run.note(kind.__name__)
        try:
            kind(run, rng)
        except (Closed, OSError) as e:
            run.note("%s: %s" % (kind.__name__, type(e).__name__))
        except WireError as e:
            run.problem(kind.__name__, repr(e))
        except Exception as e:  # told to the test's own thread
            run.problem(kind.__name__, repr(e))


def gauges(stats):
    return {k: v for k, v in stats.items() if v != 0 and (
        k.endswith(("_cx_active", "_rq_active", "pending_active"))) and not k.startswith(("http.admin", "listener.admin"))}


@pytest.mark.bounded(max(60, int(SECONDS * 3)))
@pytest.mark.parametrize("reloads", [False, True])
def test_chaos(make, reloads):
    o = make.origin(handler=origin_script, timeout=IO_S)
    p = make.proxy(o, concurrency=WORKERS, route={"timeout": "3s"},
                   hcm={"stream_idle_timeout": "3s", "request_headers_timeout": "1s", "delayed_close_timeout": "0.2s",
                        "common_http_protocol_options": {"idle_timeout": "2s"}},
                   listener={"per_connection_buffer_limit_bytes": 32768},
                   cluster={"per_connection_buffer_limit_bytes": 32768,
                            "circuit_breakers": {"thresholds": [{"max_connections": 9}]}})
    assert p.get("/ok/1/1").status == 200
    fds, before = p.fds(), p.memory_kb()
    run = Run(p)
    threads = [threading.Thread(target=client, args=(run, i), daemon=True) for i in range(CLIENTS)]
    if reloads:
        threads.append(threading.Thread(target=reload_often, args=(run,), daemon=True))
    for t in threads:
        t.start()
    for t in threads:
        t.join(SECONDS + 4 * IO_S)
    assert not any(t.is_alive() for t in threads), "a client hangs"
    print("seed %d: %d served; %s" % (SEED, run.served, sorted(run.count.items(), key=str)))
    assert run.problems == []
    assert run.served > 20
    until = time.monotonic() + 8
    while True:
        left = gauges(p.stats())
        left.pop("cluster.main.upstream_cx_active", None)  # idle ones may stay
        if not left:
            break
        assert time.monotonic() < until, left
        time.sleep(0.05)
    o.stop()
    p.wait_stat("cluster.main.upstream_cx_active", 0)
    wire_until(lambda: p.fds() <= fds, what="descriptors back to %d" % fds)
    assert p.memory_kb() - before < (60000 if p.sanitized() else 16000)
    with p.connect() as c:
        assert c.get("/ok/1/1").status == 503, "and it still answers"
