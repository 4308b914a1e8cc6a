# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many connections that do nothing: they cost little and stay usable."""
import resource

import pytest

from harness import wire
from harness.wire import head, reply

REQUEST = head("GET /1k HTTP/1.1", [("Host", "localhost"), ("User-Agent", "idle/1.0")])
BODY = b"x" * 1024


def raise_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def open_many(p, n):
    """n connections that each made one request."""
    there = []
    for _ in range(n):
        c = wire.Client(p.port)
        c.send(REQUEST)
        r = c.response()
        assert r.status == 200 and r.body == BODY
        there.append(c)
    return there


def per_connection(make, n, bytes_max):
    if raise_limit() < n + 500:
        pytest.skip("needs %d descriptors" % (n + 500))
    p = make.proxy(make.origin(lambda r: reply(200, BODY)), hcm={
        "common_http_protocol_options": {"idle_timeout": "600s"}})
    there = open_many(p, 100)
    before = p.memory_kb()
    there += open_many(p, n)
    used = (p.memory_kb() - before) * 1024 / n
    assert p.stat("http.test.downstream_cx_active") == n + 100
    for c in there[::max(1, n // 100)]:
        assert c.get("/again").status == 200, "an idle connection is a usable one"
    for c in there:
        c.close()
    p.wait_stat("http.test.downstream_cx_active", 0, 15)
    assert p.sanitized() or used <= bytes_max, "%.0f bytes a connection" % used


@pytest.mark.bounded(60)
def test_five_thousand_idle_connections(make):
    per_connection(make, 5000, 512)


@pytest.mark.nightly
@pytest.mark.bounded(180)
def test_eighteen_thousand_idle_connections(make):
    per_connection(make, 18000, 315)


def test_thousand_connections_that_said_nothing(make):
    raise_limit()
    p = make.proxy(make.origin())
    there = [wire.Client(p.port) for _ in range(1000)]
    p.wait_stat("http.test.downstream_cx_active", 1000)
    assert all(c.get().status == 200 for c in there[:50])
    for c in there:
        c.close()
    p.wait_stat("http.test.downstream_cx_active", 0)


def test_many_half_sent_heads(make):
    """Each holds its partial head and nothing else of size."""
    raise_limit()
    p = make.proxy(make.origin(), hcm={"request_headers_timeout": "60s"})
    p.get()
    before = p.memory_kb()
    there = [wire.Client(p.port) for _ in range(1000)]
    for c in there:
        c.send(REQUEST[:-2])
    p.wait_stat("http.test.downstream_cx_active", 1000)
    used = (p.memory_kb() - before) * 1024 / 1000
    assert p.sanitized() or used < 6144
    for c in there:
        c.send(b"\r\n")
    for c in there:
        assert c.response().status == 200
        c.close()
