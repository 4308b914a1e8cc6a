# SPDX-License-Identifier: AGPL-3.0-or-later
"""Requests that are tried again."""
import threading
import time

import pytest

from harness import config
from harness.ports import free_port
from harness.wire import chunk, reply, until

PREVIOUS = {"retry_host_predicate": [{
    "name": "envoy.retry_host_predicates.previous_hosts",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3"
                              ".PreviousHostsPredicate"}}],
    "host_selection_retry_max_attempts": 5}
FAST = {"retry_back_off": {"base_interval": "0.001s", "max_interval": "0.002s"}}


def policy(on, n=1, **fields):
    return {"retry_policy": {"retry_on": on, "num_retries": n, **FAST, **fields}}


class Script:
    """Answers in turn; the last one stays."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.seen = []
        self.lock = threading.Lock()

    def __call__(self, request):
        with self.lock:
            self.seen.append(request)
            a = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return a if isinstance(a, (bytes, type(None))) else reply(a, b"%d" % a)


def stats(p, *names):
    s = p.stats()
    return tuple(s.get("cluster.main.upstream_rq_retry" + n, 0) for n in names)


@pytest.mark.parametrize("on,status,tried", [
    ("5xx", 500, True), ("5xx", 503, True), ("5xx", 404, False),
    ("gateway-error", 502, True), ("gateway-error", 504, True), ("gateway-error", 500, False),
    ("retriable-4xx", 409, True), ("retriable-4xx", 404, False),
    ("reset", 500, False), ("connect-failure,refused-stream", 503, False),
    ("retriable-status-codes", 418, True), ("retriable-status-codes", 500, False)])
def test_by_status(make, on, status, tried):
    s = Script(status, 200)
    p = make.proxy(make.origin(s), route=policy(on, retriable_status_codes=[418]))
    assert p.get().status == (200 if tried else status)
    assert len(s.seen) == (2 if tried else 1)
    assert stats(p, "", "_success") == ((1, 1) if tried else (0, 0))
    assert p.stat("cluster.main.upstream_rq_total") == len(s.seen)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("on,tried", [("reset", True), ("5xx", True), ("gateway-error", True),
                                      ("connect-failure", False)])
def test_by_reset(make, how, on, tried):
    n = []

    def handler(conn):
        conn.request()
        n.append(1)
        if len(n) == 1:
            getattr(conn, how)()
        else:
            conn.send(reply(200, b"ok"))
    p = make.proxy(make.origin(handler=handler), route=policy(on))
    assert p.get().status == (200 if tried else 503)
    assert len(n) == (2 if tried else 1)


def test_by_connect_failure_on_another_host(make):
    o = make.origin()
    p = make.proxy(clusters={"main": [free_port(), o]},
                   route=policy("connect-failure", **PREVIOUS))
    assert [p.get().status for _ in range(20)] == [200] * 20
    assert len(o.requests) == 20
    assert stats(p, "")[0] >= 9


def test_retriable_headers(make):
    s = Script(reply(200, b"", [("x-again", "yes")]), 200)
    p = make.proxy(make.origin(s), route=policy(
        "retriable-headers", retriable_headers=[{"name": "x-again", "present_match": True}]))
    assert p.get().status == 200
    assert len(s.seen) == 2


def test_retriable_request_headers(make):
    s = Script(500)
    p = make.proxy(make.origin(s), route=policy("5xx", retriable_request_headers=[
        {"name": "x-ok", "exact_match": "1"}]))
    assert p.get().status == 500 and len(s.seen) == 1
    assert p.get(headers=[("x-ok", "1")]).status == 500 and len(s.seen) == 3


def test_number_of_retries_and_flag(make):
    s = Script(503)
    p = make.proxy(make.origin(s), route=policy("5xx", 3), vhosts=None, hcm={
        "access_log": [{"name": "a", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3"
                     ".StdoutAccessLog",
            "log_format": {"text_format_source": {"inline_string": "%RESPONSE_FLAGS%\n"}}}}]})
    assert p.get().status == 503
    assert len(s.seen) == 4
    assert stats(p, "", "_limit_exceeded", "_success", "_backoff_exponential") == (3, 1, 0, 3)
    until(lambda: p.stdout.strip() == "URX", 5)


def test_no_retries(make):
    s = Script(503)
    p = make.proxy(make.origin(s), route=policy("5xx", 0))
    assert p.get().status == 503
    assert len(s.seen) == 1


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_body_is_sent_again(make, framing):
    s = Script(503, None, 200)
    p = make.proxy(make.origin(s), route=policy("5xx", 5))
    body = b"".join(b"%07d\n" % i for i in range(4000))
    with p.connect() as c:
        if framing == "length":
            assert c.request("POST", "/", body=body).status == 200
        else:
            c.send(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" +
                   chunk(*[body[i:i + 1000] for i in range(0, len(body), 1000)]))
            assert c.response("POST").status == 200
    assert len(s.seen) == 3
    assert all(r.body == body for r in s.seen)


def test_answer_before_the_body_is_whole(make):
    """The first attempt fails before the body has come; the second gets all of it."""
    n = []

    def handler(conn):
        n.append(1)
        if len(n) == 1:
            conn.request_head()
            conn.send(reply(503, b""))
            conn.wait_closed()
        else:
            r = conn.request()
            conn.send(reply(200, r.body))
    p = make.proxy(make.origin(handler=handler), route=policy("5xx"))
    with p.connect() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n01234")
        p.wait_stat("cluster.main.upstream_rq_retry", 1)
        c.send(b"56789")
        r = c.response("POST")
        assert (r.status, r.body) == (200, b"0123456789")


@pytest.mark.parametrize("size,tried", [(1999, True), (2000, True), (2001, False)])
def test_body_limit(make, size, tried):
    s = Script(503, 200)
    routes = [config.to("main", **policy("5xx"))]
    routes[0]["per_request_buffer_limit_bytes"] = 2000
    p = make.proxy(make.origin(s), routes=routes)
    with p.connect() as c:
        assert c.request("POST", "/", body=b"x" * size).status == (200 if tried else 503)
    assert len(s.seen) == (2 if tried else 1)
    assert p.stat("cluster.main.retry_or_shadow_abandoned") == (0 if tried else 1)


def test_response_that_has_begun_is_not_retried(make):
    n = []

    def handler(conn):
        n.append(1)
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart")
        conn.reset()
    p = make.proxy(make.origin(handler=handler), route=policy("5xx,reset", 5))
    with p.connect() as c:
        c.ask()
        c.drain()
    assert len(n) == 1


def test_per_try_timeout(make):
    hold = threading.Event()
    n = []

    def answer(request):
        n.append(1)
        if len(n) == 1:
            hold.wait(20)
        return reply(200, b"ok")
    p = make.proxy(make.origin(answer), route=policy("5xx", per_try_timeout="0.1s"))
    assert p.get().body == b"ok"
    assert p.stat("cluster.main.upstream_rq_per_try_timeout") == 1
    assert stats(p, "") == (1,)
    hold.set()


def test_per_try_timeout_and_no_more(make):
    hold = threading.Event()
    p = make.proxy(make.origin(lambda r: hold.wait(20) and reply(200)),
                   route=policy("5xx", 1, per_try_timeout="0.1s"))
    r = p.get()
    assert (r.status, r.body) == (504, b"upstream request timeout")
    assert p.stat("cluster.main.upstream_rq_per_try_timeout") == 2
    hold.set()


def test_per_try_idle_timeout(make):
    hold = threading.Event()
    n = []

    def answer(request):
        n.append(1)
        if len(n) == 1:
            hold.wait(20)
        return reply(200, b"ok")
    p = make.proxy(make.origin(answer), route=policy("reset", per_try_idle_timeout="0.1s"))
    assert p.get().body == b"ok"
    assert p.stat("cluster.main.upstream_rq_per_try_idle_timeout") == 1
    hold.set()


def test_route_timeout_covers_all_attempts(make):
    s = Script(503)
    p = make.proxy(make.origin(s), route={
        "timeout": "0.3s", "retry_policy": {
            "retry_on": "5xx", "num_retries": 1000000,
            "retry_back_off": {"base_interval": "0.01s", "max_interval": "0.01s"}}})
    begin = time.monotonic()
    assert p.get().status == 504
    assert time.monotonic() - begin >= 0.29
    assert len(s.seen) > 1


def test_rate_limited_back_off(make):
    s = Script(reply(429, b"", [("Retry-After", "0"), ("x-envoy-ratelimited", "1")]), 200)
    p = make.proxy(make.origin(s), route=policy(
        "envoy-ratelimited", rate_limited_retry_back_off={
            "reset_headers": [{"name": "Retry-After", "format": "SECONDS"}]}))
    assert p.get().status == 200
    assert stats(p, "_backoff_ratelimited", "_backoff_exponential") == (1, 0)


def test_header_of_the_request(make):
    """From a private address the request may ask by itself; from elsewhere it may not."""
    s = Script(500)
    p = make.proxy(make.origin(s), hcm={"use_remote_address": True})
    ask = [("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "2")]
    assert p.get(headers=ask).status == 500
    assert len(s.seen) == 3
    assert all(r.get("x-envoy-retry-on") is None for r in s.seen)
    assert p.get(headers=ask + [("X-Forwarded-For", "203.0.113.9")]).status == 500
    assert len(s.seen) == 4
    assert s.seen[3].get("x-envoy-retry-on") is None


def test_timeout_of_the_request(make):
    hold = threading.Event()
    p = make.proxy(make.origin(lambda r: hold.wait(20) and reply(200)),
                   hcm={"use_remote_address": True}, route={"timeout": "20s"})
    assert p.get(headers=[("x-envoy-upstream-rq-timeout-ms", "100")]).status == 504
    hold.set()


def test_attempt_count(make):
    s = Script(500, 500, 200)
    o = make.origin(s)
    p = make.proxy(o, vhosts=[config.vhost("v", ["*"], [config.to("main", **policy("5xx", 5))],
                                           include_request_attempt_count=True,
                                           include_attempt_count_in_response=True)])
    r = p.get()
    assert (r.status, r.get("x-envoy-attempt-count")) == (200, "3")
    assert [q.get("x-envoy-attempt-count") for q in s.seen] == ["1", "2", "3"]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_retry_breaker(make, n):
    """max_retries 2: one and two retries at a time pass, the third request has none."""
    go = threading.Event()
    s = []

    def answer(request):
        s.append(request.target)
        if s.count(request.target) == 1:
            return reply(503)
        go.wait(20)
        return reply(200)
    p = make.proxy(make.origin(answer), route=policy("5xx"), cluster={"circuit_breakers": {
        "thresholds": [{"max_retries": 2, "track_remaining": True}]}})
    got = []

    def ask(i):
        got.append(p.get("/%d" % i).status)
    threads = []
    for i in range(n):
        threads.append(threading.Thread(target=ask, args=(i,), daemon=True))
        threads[-1].start()
        until(lambda k=i: s.count("/%d" % k) == (2 if k < 2 else 1), 10)
    if n == 3:
        threads[2].join(10)
        assert got == [503]
    st = p.stats()
    used = min(n, 2)
    assert st["cluster.main.circuit_breakers.default.remaining_retries"] == 2 - used
    assert st["cluster.main.circuit_breakers.default.rq_retry_open"] == (used == 2)
    go.set()
    for t in threads:
        t.join(10)
    assert sorted(got) == sorted([200] * used + [503] * (n - used))
    assert stats(p, "_overflow") == (n - used,)
    assert p.stat("cluster.main.circuit_breakers.default.remaining_retries") == 2


def test_retry_budget(make):
    s = Script(503)
    p = make.proxy(make.origin(s), route=policy("5xx", 3), cluster={"circuit_breakers": {
        "thresholds": [{"max_retries": 100, "retry_budget": {
            "budget_percent": {"value": 0}, "min_retry_concurrency": 0}}]}})
    assert p.get().status == 503
    assert len(s.seen) == 1
    assert stats(p, "", "_overflow") == (0, 1)


def test_simple_file(make):
    s = Script(None, 200)
    o = make.origin(s)
    p = make.march(o, routes=[{"name": "r", "prefix": "/", "cluster_name": "main",
                               "retries": {"attempts": 2}}])
    assert p.get().status == 200
    assert len(s.seen) == 2


@pytest.mark.parametrize("on,code,tried", [("unavailable", 14, True), ("cancelled", 1, True),
                                           ("resource-exhausted", 14, False)])
def test_by_grpc_status_in_the_head(make, on, code, tried):
    s = Script(reply(200, b"", [("content-type", "application/grpc"), ("grpc-status", str(code))]),
               200)
    p = make.proxy(make.origin(s), route=policy(on))
    assert p.get().status == 200
    assert len(s.seen) == (2 if tried else 1)


def test_trailers_are_sent_again(make):
    s = Script(503, 200)
    p = make.proxy(make.origin(s), route=policy("5xx"),
                   hcm={"http_protocol_options": {"enable_trailers": True}})
    with p.connect() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" +
               chunk(b"body", trailers=[("x-sum", "7")]))
        assert c.response("POST").status == 200
    assert len(s.seen) == 2
    assert [(r.body, dict(r.trailers).get("x-sum")) for r in s.seen] == [(b"body", "7")] * 2
