# SPDX-License-Identifier: AGPL-3.0-or-later
"""HTTP/2 towards clients, origins of HTTP/1."""
import json
import struct
import subprocess
import threading
import time

import pytest

from harness import h2wire, wire
from harness.h2wire import (ACK, CALM, CANCEL, DATA, EH, ES, HEADERS, PING, PRIORITY, PROTOCOL, RST, SETTINGS, WINDOW,
                            Client, frame)
from harness.peers import pattern
from harness.wire import chunk, head, reply

HCM = {"use_remote_address": True}


def echo(request):
    return reply(200, request.body, [("x-method", request.method), ("x-cookie", request.get("cookie", ""))])


@pytest.fixture(scope="module")
def echoed(make_shared):
    o = make_shared.origin(echo)
    return make_shared.proxy(o, hcm=HCM), o


# ---- messages


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "X-ODD"])
def test_methods(echoed, method):
    p, o = echoed
    with Client(p.port) as c:
        x = c.request(method, "/m?q=1", [("x-a", "1")])
        assert x.status == 200 and x.ended and x.get("x-method") == method
        assert (o.last.target, o.last.get("host"), o.last.get("x-a")) == ("/m?q=1", "test", "1")
        assert o.last.get("x-forwarded-for") == "127.0.0.1" and o.last.get("x-forwarded-proto") == "http"
        assert o.last.get("x-request-id")


@pytest.mark.parametrize("n", [0, 1, 16384, 16385, 65535, 65536, 65537, 3 << 20])
def test_bodies_both_ways(echoed, n):
    p, o = echoed
    body = pattern(n)
    with Client(p.port) as c:
        stream, sent, credit = c.ask("POST", "/", end=False), 0, 60000
        seen = 0
        while sent < n:  # by the windows that we are given
            k = min(16384, n - sent, credit)
            if k:
                c.send(frame(DATA, 0, stream, body[sent:sent + k]))
                sent, credit = sent + k, credit - k
                continue
            c.pump(5)
            ups = [f for f in c.of(WINDOW) if f.stream == stream]
            credit += sum(int.from_bytes(f.payload, "big") for f in ups[seen:])
            seen = len(ups)
        c.send(frame(DATA, ES, stream))
        x = c.wait(stream)
        assert x.status == 200 and bytes(x.body) == body
        assert o.last.body == body


def test_content_length_is_kept(echoed):
    p, o = echoed
    with Client(p.port) as c:
        x = c.request("POST", "/", [("content-length", "4")], b"four")
        assert bytes(x.body) == b"four" and o.last.framing == "length"
        assert x.get("content-length") == "4"


def test_chunked_response_trailers_and_1xx(make):
    def handler(conn):
        while conn.request():
            conn.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            conn.send(head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked"), ("Connection", "x-hop"),
                                              ("X-Hop", "1")]))
            conn.send(chunk(b"ab", b"cd", trailers=[("grpc-status", "0"), ("X-Sum", "9")]))
    p = make.proxy(make.origin(handler=handler))
    with Client(p.port) as c:
        x = c.request()
        assert [dict(i)[":status"] for i in x.infos] == ["103"] and dict(x.infos[0])["link"] == "</a>"
        assert bytes(x.body) == b"abcd" and dict(x.trailers) == {"grpc-status": "0", "x-sum": "9"}
        names = {k for k, _ in x.fields}
        assert not names & {"connection", "transfer-encoding", "x-hop", "keep-alive"}


def test_request_trailers_pass(make):
    o = make.origin(echo)
    p = make.proxy(o)
    with Client(p.port) as c:
        x = c.request("POST", "/", body=b"ab", trailers=[("x-sum", "7"), ("content-length", "9")])
        assert x.status == 200 and bytes(x.body) == b"ab"
        assert dict(o.last.trailers) == {"x-sum": "7"}


@pytest.mark.parametrize("status", [204, 304])
def test_bodiless_statuses(make, status):
    p = make.proxy(make.origin(lambda r: reply(status, length=False)))
    with Client(p.port) as c:
        x = c.request()
        assert x.status == status and x.ended and not x.body
        assert c.request().status == status


def test_cookie_crumbs_become_one_field(echoed):
    p, o = echoed
    with Client(p.port) as c:
        c.request("GET", "/", [("cookie", "a=1"), ("x-a", "1"), ("cookie", "b=2")])
        assert o.last.all("cookie") == ["a=1; b=2"]


def test_many_streams_at_once(echoed):
    p, _ = echoed
    with Client(p.port) as c:
        asked = [(c.ask("POST", "/", body=b"%d" % i), i) for i in range(100)]
        for stream, i in asked:
            assert bytes(c.wait(stream).body) == b"%d" % i
    p.wait_stat("http2.streams_active", 0)


def test_upgrade_h2c_is_not_followed(echoed):
    p, o = echoed
    with p.connect() as c:
        r = c.request("GET", "/", [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"),
                                   ("HTTP2-Settings", "AAMAAABkAAQAAP__")])
        assert r.status == 200
        assert not o.last.has("upgrade") and not o.last.has("http2-settings")


def test_both_protocols_on_one_port(echoed):
    p, _ = echoed
    assert p.get().status == 200
    with Client(p.port, begin=False) as c:
        data = h2wire.PREFACE + c.settings([]) + c.block(c.head(), 1)
        c.streams[1] = h2wire.Exchange()
        for i in range(len(data)):  # byte by byte
            c.send(data[i:i + 1])
        assert c.wait(1).status == 200


def test_settings_then_ack_then_window_update(echoed):
    p, _ = echoed
    with Client(p.port) as c:
        c.request()
        kinds = [(f.kind, f.flags) for f in c.frames if f.stream == 0][:3]
        assert kinds == [(SETTINGS, 0), (SETTINGS, ACK), (WINDOW, 0)]
        values = dict(struct.iter_unpack(">HI", c.frames[0].payload))
        assert values[3] == 100 and values[4] == 65536 and values[6] == 61440


def test_access_log_and_stats(make):
    p = make.march(make.origin(echo))
    with Client(p.port) as c:
        assert c.request("POST", "/log", body=b"abc").status == 200
        assert c.request("GET", "/x y").reset == PROTOCOL
    wire.until(lambda: len(p.stdout.splitlines()) >= 2, 5, "the log")
    lines = [json.loads(line) for line in p.stdout.splitlines()]
    assert (lines[0]["path"], lines[0]["bytes_received"], lines[0]["response_code"]) == ("/log", 3, 200)
    s = p.stats()
    prefix = [k for k in s if k.endswith("downstream_rq_http2_total") and "admin" not in k][0][:-len("downstream_rq_http2_total")]
    assert s[prefix + "downstream_rq_http2_total"] == 2
    assert s[prefix + "downstream_cx_http2_total"] == 1
    assert s["http2.rx_messaging_error"] == 1 and s["http2.tx_reset"] == 1


def test_local_replies(make):
    p = make.proxy(clusters={"none": []}, routes=[
        {"match": {"prefix": "/gone"}, "direct_response": {"status": 410, "body": {"inline_string": "gone"}}},
        {"match": {"prefix": "/up"}, "route": {"cluster": "none"}}])
    with Client(p.port) as c:
        x = c.request("GET", "/gone")
        assert (x.status, bytes(x.body)) == (410, b"gone")
        assert c.request("GET", "/nothing").status == 404
        assert c.request("GET", "/up").status == 503


def test_an_early_answer_stops_the_request(make):
    p = make.proxy(clusters={"none": []}, routes=[
        {"match": {"prefix": "/"}, "direct_response": {"status": 403, "body": {"inline_string": "no"}}}])
    with Client(p.port) as c:
        stream = c.ask("POST", "/", end=False)
        x = c.streams[stream]
        c.until(lambda: x.reset is not None, "RST_STREAM")
        assert x.status == 403 and x.ended and x.reset == 0 and bytes(x.body) == b"no"
        assert c.request().status == 403


# ---- limits and rules


@pytest.mark.parametrize("fields", [
    [("X-A", "1")], [("x a", "1")], [("x:a", "1")], [("", "1")], [("x-a", "1\r\nx-b: 2")], [("x-a", "a\0b")],
    [("connection", "close")], [("transfer-encoding", "chunked")], [("upgrade", "h2c")], [("te", "gzip")],
    [("host", "other")], [("content-length", "1")], [(":path", "/2")], [(":status", "200")]],
    ids=lambda f: repr(f[0]))
def test_malformed_heads_end_their_stream_only(echoed, fields):
    p, o = echoed
    before = len(o.requests)
    with Client(p.port) as c:
        assert c.request("GET", "/bad", fields).reset == PROTOCOL
        assert c.request("GET", "/good").status == 200
    assert [r.target for r in o.requests[before:]] == ["/good"]


@pytest.mark.parametrize("n,status", [(99, 200), (100, 200), (101, 431)])
def test_number_of_fields(echoed, n, status):
    p, _ = echoed
    with Client(p.port) as c:
        assert c.request("GET", "/", [("x-%d" % i, "v") for i in range(n)]).status == status
        assert c.request().status == 200


@pytest.mark.parametrize("n,status", [(30000, 200), (61500, 431)])
def test_bytes_of_fields(echoed, n, status):
    p, _ = echoed
    with Client(p.port) as c:
        assert c.request("GET", "/", [("x-a", "v" * n)]).status == status
        assert c.request().status == 200


def test_a_stream_above_the_limit_is_refused(make):
    gate = threading.Event()

    def handler(conn):
        while conn.request():
            gate.wait(10)
            conn.send(reply(200, b"x"))
    p = make.proxy(make.origin(handler=handler))
    with Client(p.port) as c:
        asked = [c.ask() for _ in range(101)]
        assert c.wait(asked[100]).reset == h2wire.REFUSED
        gate.set()
        assert all(c.wait(s).status == 200 for s in asked[:100])


# ---- flow control


def test_a_slow_client_stops_the_upstream(make):
    sent = [0]
    total = 64 << 20

    def handler(conn):
        conn.request()
        conn.send(head("HTTP/1.1 200 OK", [("Content-Length", total)]))
        try:
            while sent[0] < total:
                conn.send(bytes(65536))
                sent[0] += 65536
        except (OSError, TimeoutError):
            pass
    p = make.proxy(make.origin(handler=handler), listener={"per_connection_buffer_limit_bytes": 32768})
    with Client(p.port, window=0, auto=False) as c:
        stream = c.ask()
        last = [-1]

        def stopped():
            c.quiet(0.3)
            same, last[0] = sent[0] == last[0], sent[0]
            return same and sent[0] > 0
        wire.until(stopped, 10, "the upstream is stopped")
        assert len(c.streams[stream].body) == 65535
        assert sent[0] < 20 << 20, "system buffers and ours, not the response"
        assert p.stat("cluster.main.upstream_flow_control_paused_reading_total") > 0
        c.send(frame(WINDOW, 0, stream, struct.pack(">I", 1 << 20)) + frame(WINDOW, 0, 0, struct.pack(">I", 1 << 20)))
        c.until(lambda: len(c.streams[stream].body) == 65535 + (1 << 20), "a window more")


def test_a_slow_upstream_stops_the_client(make):
    gate = threading.Event()

    def handler(conn):
        r = conn.request_head(30)
        gate.wait(20)
        conn.reader.body(r, 20)
        conn.send(reply(200, b"%d" % len(r.body)))
    o = make.origin(handler=handler)
    p = make.proxy(o, listener={"per_connection_buffer_limit_bytes": 32768})
    with Client(p.port) as c:
        stream = c.ask("POST", "/", end=False)
        credit, sent, seen = 65535, 0, 0
        deadline = time.monotonic() + 15
        quiet = 0
        while quiet < 4 and time.monotonic() < deadline:
            while credit >= 16384:
                c.send(frame(DATA, 0, stream, bytes(16384)))
                credit, sent = credit - 16384, sent + 16384
            quiet = 0 if c.pump(0.2) else quiet + 1
            ups = [f for f in c.of(WINDOW) if f.stream == stream]
            credit += sum(int.from_bytes(f.payload, "big") for f in ups[seen:])
            seen = len(ups)
        assert quiet == 4 and sent < 16 << 20, "no window any more"
        gate.set()
        c.send(frame(DATA, ES, stream))
        x = c.wait(stream, 15)
        assert bytes(x.body) == b"%d" % sent


def test_a_response_nobody_takes_times_out(make):
    p = make.proxy(make.origin(lambda r: reply(200, b"x" * 20000)), hcm={"stream_idle_timeout": "1s"})
    with Client(p.port, settings=[(4, 0)], window=0, auto=False) as c:
        c.send(frame(SETTINGS, ACK))
        stream = c.ask()
        x = c.wait(stream, 10)
        assert x.status == 200 and x.reset is not None and not x.body
    p.wait_stat("http2.streams_active", 0)
    assert p.stat("http2.tx_flush_timeout") == 1


# ---- resets


def test_a_reset_cancels_the_upstream(make):
    got = threading.Event()

    def handler(conn):
        conn.request()
        got.set()
        conn.wait_closed(10)
    p = make.proxy(make.origin(handler=handler))
    with Client(p.port) as c:
        stream = c.ask()
        assert got.wait(5)
        c.send(frame(RST, 0, stream, struct.pack(">I", CANCEL)))
        p.wait_stat("cluster.main.upstream_rq_active", 0)
        p.wait_stat("http2.rx_reset", 1)
        c.ping()


def test_a_broken_response_is_reset(make):
    def handler(conn):
        conn.request()
        conn.send(head("HTTP/1.1 200 OK", [("Content-Length", 100)]) + b"half")
        conn.close()
    p = make.proxy(make.origin(handler=handler))
    with Client(p.port) as c:
        x = c.request()
        assert not x.ended and x.reset == h2wire.INTERNAL


def test_client_gone_cancels_everything(make):
    arrived = threading.Semaphore(0)

    def handler(conn):
        conn.request()
        arrived.release()
        conn.wait_closed(10)
    p = make.proxy(make.origin(handler=handler))
    with Client(p.port) as c:
        for _ in range(20):
            c.ask()
        for _ in range(20):
            assert arrived.acquire(timeout=5)
    p.wait_stat("cluster.main.upstream_rq_active", 0)
    p.wait_stat("http2.streams_active", 0)


# ---- errors of the connection

@pytest.mark.parametrize("frame", [b"\0\0\1\0\0\0\0\0\1x", b"\0\0\4\3\0\0\0\0\1\0\0\0\0"], ids=["DATA", "RST_STREAM"])
def test_a_frame_on_an_idle_stream(make, frame):
    """Found by the library, counted all the same."""
    p = make.proxy(make.origin(echo))
    with Client(p.port) as c:
        c.send(frame)
        c.expect_goaway(PROTOCOL)
        c.expect_close()
    p.wait_stat("http2.protocol_error", 1)
    p.wait_stat("http.test.downstream_cx_protocol_error", 1)


# ---- leaving


def test_idle_timeout(make):
    p = make.proxy(make.origin(echo), hcm={"common_http_protocol_options": {"idle_timeout": "1s"}})
    with Client(p.port) as c:
        assert c.request().status == 200
        g = c.expect_goaway(0)
        assert int.from_bytes(g.payload[:4], "big") == 1
        c.expect_close()


def test_max_requests(make):
    p = make.proxy(make.origin(echo), hcm={"common_http_protocol_options": {"max_requests_per_connection": 3}})
    with Client(p.port) as c:
        for _ in range(3):
            assert c.request().status == 200
        c.expect_goaway(0)
        c.expect_close()


def test_max_duration_in_two_steps(make):
    p = make.proxy(make.origin(echo), hcm={"common_http_protocol_options": {"max_connection_duration": "1s"}})
    with Client(p.port) as c:
        assert c.request().status == 200
        c.expect_close()
        lasts = [int.from_bytes(f.payload[:4], "big") for f in c.of(h2wire.GOAWAY)]
        assert lasts == [(1 << 31) - 1, 1]


def test_drain_serves_what_is_under_way(make):
    gate = threading.Event()

    def handler(conn):
        while conn.request():
            gate.wait(10)
            conn.send(reply(200, b"late"))
    o = make.origin(handler=handler)
    p = make.proxy(o)
    with Client(p.port) as c:
        stream = c.ask()
        o.wait_requests(1)
        p.admin("/drain_listeners?graceful", "POST")
        c.until(lambda: len(c.of(h2wire.GOAWAY)) == 2, "both GOAWAYs")
        late = c.ask()
        gate.set()
        assert c.wait(stream).status == 200
        c.expect_close()
        assert c.streams[late].fields is None


def test_an_incomplete_head_times_out(make):
    p = make.proxy(make.origin(echo), hcm={"request_headers_timeout": "1s"})
    with Client(p.port) as c:
        c.request()
        c.send(frame(HEADERS, ES, 3, h2wire.raw_block(c.head())))
        c.expect_close()
    with Client(p.port, begin=False) as c:
        c.send(h2wire.PREFACE)
        c.expect_close()


# ---- floods: what each costs and how it ends


def cpu_s(p):
    with open("/proc/%d/stat" % p.pid, encoding="ascii") as f:
        t = f.read().rsplit(")", 1)[1].split()
    return (int(t[11]) + int(t[12])) / 100


def run_flood(p, make_frames, counter, at_most, cpu=3.0, warm=True):
    """Sends until GOAWAY; make_frames(c, i) gives bytes."""
    memory = p.memory_kb()
    before = cpu_s(p)
    sent = 0
    with Client(p.port) as c:
        if warm:
            assert c.request().status == 200
        try:
            while c.goaway is None and sent < at_most + 5000:
                piece = b"".join(make_frames(c, sent + i) for i in range(50))
                sent += 50
                c.send(piece)
                c.pump(0.001)
        except OSError:
            pass
        while c.goaway is None and not c.closed:
            c.pump(2)
        assert c.goaway is not None and c.goaway.code == CALM, c.frames[-5:]
        c.expect_close()
    assert p.stat(counter) == 1
    assert sent <= at_most + 2000, "what was under way when GOAWAY left"
    assert cpu_s(p) - before < cpu * (5 if p.sanitized() else 1)
    assert p.memory_kb() - memory < (40 * 1024 if p.sanitized() else 2048)
    assert p.get().status == 200


def continuation(c, i):
    return frame(HEADERS, ES, c.next, h2wire.raw_block(c.head())) if i == 0 else frame(9, 0, c.next, b"")


def made_reset(c, _):
    stream, c.next = c.next, c.next + 2
    return c.block(c.head("POST", "/", [("content-length", "1")]), stream, False) + frame(DATA, 0, stream, b"too much")


def made_reset_window(c, _):
    stream, c.next = c.next, c.next + 2
    return c.block(c.head("POST"), stream, False) + frame(WINDOW, 0, stream, b"\x7f\xff\xff\xff")


def empty_data(c, i):
    if i == 0:
        c.next += 2
    return (c.block(c.head("POST"), c.next - 2, False) if i == 0 else b"") + frame(DATA, 0, c.next - 2)


FLOODS = {
    "ping": (lambda c, i: frame(PING, 0, 0, bytes(8)), "inbound_ping_frames_flood", 1500),
    "settings": (lambda c, i: c.settings([]), "inbound_settings_frames_flood", 150),
    "priority": (lambda c, i: frame(PRIORITY, 0, 3, b"\0\0\0\1\x10"), "inbound_priority_frames_flood", 800),
    "window": (lambda c, i: frame(WINDOW, 0, 0, b"\0\0\0\1"), "inbound_window_update_frames_flood", 1600),
    "empty": (empty_data, "inbound_empty_frames_flood", 20),
    "continuation": (continuation, "inbound_continuation_frames_flood", 20),
    "made_reset": (made_reset, "provoked_resets_flood", 150),
    "made_reset_window": (made_reset_window, "provoked_resets_flood", 150),
}


@pytest.mark.parametrize("name", FLOODS)
def test_flood(make, name):
    frames, counter, at_most = FLOODS[name]
    p = make.proxy(make.origin(echo))
    run_flood(p, frames, "http2." + counter, at_most)


@pytest.mark.parametrize("together", [True, False], ids=["one piece", "apart"])
def test_rapid_reset(make, together):
    """20,000 resets end in GOAWAY after at most 1,000, with bounded work at the upstream."""
    active, peak, lock = [0], [0], threading.Lock()

    def handler(conn):
        if conn.request() is None:
            return
        with lock:
            active[0] += 1
            peak[0] = max(peak[0], active[0])
        conn.wait_closed(10)
        with lock:
            active[0] -= 1
    o = make.origin(handler=handler)
    p = make.proxy(o)

    def frames(c, _):
        stream, c.next = c.next, c.next + 2
        out = c.block(c.head(), stream)
        rst = frame(RST, 0, stream, struct.pack(">I", CANCEL))
        if not together:
            c.send(out)
            return rst
        return out + rst
    memory, sent = p.memory_kb(), 0
    with Client(p.port) as c:
        try:
            while c.goaway is None and sent < 20000:
                c.send(b"".join(frames(c, 0) for _ in range(20)))
                sent += 20
                c.pump(0.0005)
        except OSError:
            pass
        while c.goaway is None and not c.closed:
            c.pump(2)
        assert c.goaway.code == CALM
        c.expect_close()
    s = p.stats()
    assert s["http2.premature_resets_flood"] == 1
    total = [v for k, v in s.items() if k.endswith("downstream_rq_http2_total") and "admin" not in k][0]
    assert total <= 1000
    assert len(o.requests) <= (5 if together else 1000) and peak[0] <= 150
    p.wait_stat("cluster.main.upstream_rq_active", 0)
    assert p.memory_kb() - memory < (60 * 1024 if p.sanitized() else 2048)


def test_http2_bomb(make):
    """1000 streams of 15,000 one-byte references to one large field, windows closed."""
    p = make.proxy(make.origin(echo))
    with Client(p.port) as c:
        assert c.request().status == 200
    memory = p.memory_kb()
    big = b"\x40\x03x-a" + b"\x7f" + bytes([3800 - 127 & 0x7f | 0x80, (3800 - 127) >> 7]) + b"v" * 3800
    before = cpu_s(p)
    with Client(p.port, settings=[(4, 0)], window=0) as c:
        try:
            c.send(frame(HEADERS, ES | EH, 1, big + h2wire.raw_block(c.head())[:0]))
            for i in range(1, 1000):
                c.send(frame(HEADERS, ES | EH, 2 * i + 1, b"\xbe" * 15000))
                if i % 20 == 0:
                    c.pump(0.001)
                    if c.closed:
                        break
        except OSError:
            pass
        peak = p.memory_kb()
        c.expect_close(10)
    assert peak - memory < (40 * 1024 if p.sanitized() else 2048)
    assert p.stat("http2.header_overflow_flood") == 1
    assert cpu_s(p) - before < 2


# ---- other clients


def test_curl_and_nghttp(make, tmp_path):
    p = make.proxy(make.origin(echo))
    url = "http://127.0.0.1:%d/" % p.port
    body = tmp_path / "body"
    body.write_bytes(pattern(300000))
    out = subprocess.run(["curl", "-s", "--http2-prior-knowledge", "--data-binary", "@%s" % body, "-w", "%{http_version}",
                          url], capture_output=True, timeout=20, check=True).stdout
    assert out == body.read_bytes() + b"2"
    out = subprocess.run(["nghttp", "-d", str(body), url], capture_output=True, timeout=20, check=True).stdout
    assert out == body.read_bytes()
    out = subprocess.run(["h2load", "-n", "2000", "-c", "4", "-m", "20", url], capture_output=True, timeout=25,
                         check=True).stdout
    assert b"2000 succeeded, 0 failed, 0 errored" in out
