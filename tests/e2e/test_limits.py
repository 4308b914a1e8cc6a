# SPDX-License-Identifier: AGPL-3.0-or-later
"""limits: of the simple file, each at n-1, n and n+1."""
import threading
import time

import pytest

from harness.wire import chunk, head, reply


@pytest.mark.parametrize("n,status", [(999, 200), (1000, 200), (1001, 413)])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_body_bytes(make, n, status, chunked):
    o = make.origin(lambda r: reply(200, b"%d" % len(r.body)))
    p = make.march(o, fields={"limits": {"body_bytes": 1000}})
    with p.connect() as c:
        if chunked:
            c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked")]) +
                   chunk(b"x" * (n // 2), b"y" * (n - n // 2)))
            r = c.response()
        else:
            r = c.request("POST", "/", body=b"x" * n)
    assert r.status == status
    if status == 200:
        assert r.body == b"%d" % n
    elif not chunked:
        assert o.requests == [], "a length that is too large is refused at the head"


def test_body_bytes_of_a_body_without_end(make):
    p = make.march(make.origin(), fields={"limits": {"body_bytes": 100000}})
    with p.connect() as c:
        c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked")]))
        for _ in range(100):
            if not c.send(chunk(b"x" * 10000, last=False)) or c.readable(0):
                break
        assert c.response().status == 413
        c.drain()


def sized_head(n):
    empty = head("GET / HTTP/1.1", [("Host", "a"), ("X-Big", "")])
    return head("GET / HTTP/1.1", [("Host", "a"), ("X-Big", "b" * (n - len(empty)))])


@pytest.mark.parametrize("n,status", [(2047, 200), (2048, 200), (2049, 431)])
def test_head_bytes(make, n, status):
    p = make.march(make.origin(), fields={"limits": {"head_bytes": 2048}})
    with p.connect() as c:
        c.send(sized_head(n))
        assert c.response().status == status


@pytest.mark.parametrize("n,status", [(9, 200), (10, 200), (11, 431)])
def test_header_fields(make, n, status):
    p = make.march(make.origin(), fields={"limits": {"header_fields": 10}})
    r = p.get(headers=[("X-%d" % i, "v") for i in range(n - 1)])
    assert r.status == status


@pytest.mark.parametrize("n", [1, 3])
def test_requests_per_connection(make, n):
    p = make.march(make.origin(), fields={"limits": {"requests_per_connection": n}})
    with p.connect() as c:
        for i in range(n):
            assert c.get().has("connection") == (i == n - 1)
        c.expect_close()


def test_connections(make):
    p = make.march(make.origin(), fields={"limits": {"connections": 3}})
    there = [p.connect() for _ in range(3)]
    assert all(c.get().status == 200 for c in there)
    with p.connect() as extra:
        extra.ask()
        assert extra.drain() == b""
    there[0].close()
    deadline = time.monotonic() + 5
    status = None
    while status != 200 and time.monotonic() < deadline:
        try:
            status = p.get().status
        except (AssertionError, OSError):
            time.sleep(0.02)
    assert status == 200
    for c in there:
        c.close()


def test_service_requests(make):
    gate = threading.Event()
    o = make.origin(lambda r: gate.wait(10) and reply(200, b"ok"))
    p = make.march(o, fields={"limits": {"service_requests": 2}})
    clients = [p.connect() for _ in range(3)]
    for i, c in enumerate(clients):
        c.ask()
        o.wait_requests(min(i + 1, 2))
    assert clients[2].response().status == 503
    gate.set()
    assert [c.response().status for c in clients[:2]] == [200, 200]
    for c in clients:
        c.close()


@pytest.mark.parametrize("limit,act,statuses", [
    ("idle_timeout", b"", None), ("request_headers_timeout", b"GET / HTTP/1.1\r\nHost: a\r\n", (408,)),
    ("request_timeout", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nx", (408,)),
    ("stream_idle_timeout", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nx", (408, 504)),
])
def test_times(make, limit, act, statuses):
    p = make.march(make.origin(), fields={"limits": {limit: "0.4s"}})
    with p.connect() as c:
        start = time.monotonic()
        c.send(act)
        if statuses:
            assert c.response().status in statuses
        c.expect_close(5)
        assert 0.3 <= time.monotonic() - start < 3


def test_head_limit_has_a_default(make):
    p = make.march(make.origin())
    with p.connect() as c:
        c.send(sized_head(60 * 1024))
        assert c.response().status == 200
        c.send(sized_head(60 * 1024 + 1))
        assert c.response().status == 431


@pytest.mark.parametrize("where", ["off", "stderr"])
def test_access_log_elsewhere(make, where):
    p = make.march(make.origin(), fields={"access_log": where})
    p.get("/marked")
    p.stop()
    assert p.stdout == ""
    assert ("/marked" in p.stderr) == (where == "stderr")


def test_access_log_to_a_file(make, tmp_path):
    path = tmp_path / "a.log"
    p = make.march(make.origin(), fields={"access_log": str(path)})
    p.get("/marked")
    p.stop()
    assert p.stdout == "" and "/marked" in path.read_text(encoding="utf-8")


def test_several_listeners(make):
    from harness import config
    from harness.ports import free_port
    o = make.origin()
    ports, admin = [free_port(), free_port()], free_port()
    text = config.dump({"listen": ["127.0.0.1:%d" % ports[0],
                                   {"address": "127.0.0.1:%d" % ports[1], "name": "second"}],
                        "admin": "127.0.0.1:%d" % admin,
                        "services": [{"name": "s", "hosts": ["127.0.0.1"], "port": o.port}],
                        "routes": [{"name": "r", "prefix": "/", "cluster_name": "s"}]})
    p = make.text(text, ports=ports, admin=admin)
    assert p.get(n=0).status == 200 and p.get(n=1).status == 200


@pytest.mark.parametrize("n,status", [(1999, 200), (2000, 200), (2001, 431)])
def test_many_header_fields(make, n, status):
    """A limit far above the default acts as it stands (Host is one of them)."""
    p = make.proxy(make.origin(), hcm={"common_http_protocol_options": {"max_headers_count": 2000}})
    with p.connect() as c:
        assert c.get(headers=[("a", "1")] * (n - 1)).status == status
