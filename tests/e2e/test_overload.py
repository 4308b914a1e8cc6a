# SPDX-License-Identifier: AGPL-3.0-or-later
"""The overload manager: pressure, refusals with their flag, and the way back."""
import socket
import threading

import pytest

from harness.wire import reply, until

MEMORY = "overload.marchproxy.resource_monitors.memory.pressure"
FDS = "overload.marchproxy.resource_monitors.descriptors.pressure"
ACTION = "overload.envoy.overload_actions.%s.active"
LOG = {"name": "l", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    "log_format": {"text_format": "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n"}}}


def reload_with(p, limits):
    p.rewrite({"limits": limits})
    r = p.admin("/reload", "POST")
    assert r.status == 200, r.body


def back_to_normal(p):
    def answers():
        try:
            return p.get("/go").status == 200
        except (OSError, AssertionError):
            return False
    until(answers, 15)


def test_memory(make):
    p = make.march(make.origin())
    kept = p.connect()
    assert kept.get().status == 200
    rss = p.memory_kb("Rss") * 1024
    reload_with(p, {"memory_bytes": rss + (40 << 20), "request_headers_timeout": "60s"})
    assert kept.get().status == 200
    part = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 61000  # kept in 64 KiB until it is whole
    held = []

    def refused():
        """Overload ends by itself when what it closes has gone: so more comes until it is seen."""
        nonlocal kept
        for _ in range(50):
            s = socket.create_connection(("127.0.0.1", p.port), timeout=5)
            try:
                s.sendall(part)
            except OSError:
                pass
            held.append(s)
        while len(held) > 1500:
            held.pop(0).close()
        if p.stat(ACTION % "stop_accepting_requests") != 1:
            return None
        try:
            r = kept.get()
        except (OSError, AssertionError):
            kept = p.connect()
            return None
        return r if r.status == 503 else None

    r = until(refused, 30)
    assert r.body == b"overloaded" and r.get("connection") == "close"
    assert p.stat("http.ingress_http.downstream_rq_overload_close") >= 1
    assert p.stat("http.ingress_http.downstream_cx_overload_disable_keepalive") >= 1
    kept.close()
    for s in held:
        s.close()
    back_to_normal(p)
    p.wait_stat(ACTION % "stop_accepting_requests", 0)


def test_descriptors(make):
    """Connections alone cannot use them up: their limit follows. Requests with theirs to the service can."""
    gate = threading.Event()
    o = make.origin(lambda r: (r.target.endswith("go") or gate.wait(25)) and reply(200, b"ok"))
    p = make.march(o)
    with p.connect() as kept:
        assert kept.get("/go").status == 200
        limit = p.fds() + 200
        reload_with(p, {"descriptors": limit})
        held = []
        for _ in range(limit // 2 - 2):
            s = socket.create_connection(("127.0.0.1", p.port), timeout=5)
            s.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            held.append(s)
        p.wait_stat(ACTION % "stop_accepting_requests", 1)
        assert kept.get("/go").status == 503
        assert p.admin("/ready").status == 200, "the admin is never refused"
        gate.set()
        for s in held:
            s.close()
    back_to_normal(p)
    p.wait_stat(FDS, lambda v: v < 85)


def test_connections_are_rejected(make):
    p = make.proxy(make.origin(), top=overload(
        FD_MONITOR, "reject_incoming_connections", {"threshold": {"value": 0.0}}))
    p.wait_stat(ACTION % "reject_incoming_connections", 1)
    with p.connect() as c:
        try:
            c.ask()
            assert c.drain() == b""
        except OSError:
            pass
    assert p.stat("listener.127.0.0.1_%d.downstream_cx_overload_reject" % p.port) >= 1
    assert p.admin("/ready").status == 200


def overload(monitor, action, trigger, **more):
    return {"overload_manager": {
        "refresh_interval": "0.1s",
        "resource_monitors": [{"name": "m", "typed_config": monitor}],
        "actions": [{"name": "envoy.overload_actions." + action,
                     "triggers": [{"name": "m", **trigger}]}], **more}}


FD_MONITOR = {"@type": "type.googleapis.com/marchproxy.config.v1.DescriptorMonitor",
              "max_descriptors": 1000000}
HEAP = {"@type": "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
        "max_heap_size_bytes": 1 << 40}


def test_flag_in_the_log(make):
    p = make.proxy(make.origin(), hcm={"access_log": [LOG]}, top=overload(
        HEAP, "stop_accepting_requests", {"threshold": {"value": 0.0}}))
    p.wait_stat(ACTION % "stop_accepting_requests", 1)
    assert p.get().status == 503
    until(lambda: "503 OM overload\n" in p.stdout, 5)


def test_stop_accepting(make):
    """Nothing is taken off the queue while the action holds; then all of it."""
    p = make.proxy(make.origin(), top=overload(
        FD_MONITOR, "stop_accepting_connections", {"threshold": {"value": 0.0}}))
    p.wait_stat(ACTION % "stop_accepting_connections", 1)
    total = "listener.127.0.0.1_%d.downstream_cx_total" % p.port
    with p.connect() as c:
        c.ask()
        for _ in range(5):  # that many turns of the main thread
            assert p.stat(total) == 0
        p.rewrite({"overload_manager": {}})
        assert p.admin("/reload", "POST").status == 200
        assert c.response().status == 200


def test_scaled(make):
    """A share of the requests is refused between the two thresholds."""
    p = make.proxy(make.origin())
    fds = p.fds()
    top = overload({**FD_MONITOR, "max_descriptors": fds * 10}, "stop_accepting_requests",
                   {"scaled": {"scaling_threshold": 0.0, "saturation_threshold": 0.2}})
    p.rewrite(top)
    assert p.admin("/reload", "POST").status == 200
    p.wait_stat("overload.envoy.overload_actions.stop_accepting_requests.scale_percent",
                lambda v: 30 < v < 90)
    seen = [p.get().status for _ in range(60)]
    assert 3 <= seen.count(503) <= 57 and set(seen) == {200, 503}


def test_the_heaviest_streams_are_reset(make):
    o = make.origin(handler=lambda conn: conn.wait_closed(20))
    p = make.proxy(o, hcm={"access_log": [LOG]}, top=overload(
        FD_MONITOR, "reset_high_memory_stream", {"threshold": {"value": 1.0}}))
    heavy = [p.connect() for _ in range(3)]
    for c in heavy:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 30000 + b"\r\n\r\n")
    light = p.connect()
    light.ask()
    o.wait_requests(0)
    p.wait_stat("http.test.downstream_rq_active", 4)
    top = overload({**FD_MONITOR, "max_descriptors": 1}, "reset_high_memory_stream",
                   {"threshold": {"value": 1.0}})
    p.rewrite(top)
    assert p.admin("/reload", "POST").status == 200
    for c in heavy:
        c.expect_close(10)
    p.wait_stat("overload.envoy.overload_actions.reset_high_memory_stream.streams_reset", 3)
    assert p.stat("http.test.downstream_rq_active") == 1
    until(lambda: p.stdout.count("OM overload_manager_reset") == 3, 5)
    light.close()


@pytest.mark.parametrize("change,words", [
    ({"actions": [{"name": "envoy.overload_actions.reduce_timeouts"}]}, "is not supported"),
    ({"actions": [{"name": "envoy.overload_actions.stop_accepting_requests",
                   "triggers": [{"name": "other", "threshold": {"value": 1}}]}]}, "no resource monitor"),
    ({"actions": [{"name": "envoy.overload_actions.stop_accepting_requests",
                   "triggers": [{"name": "m", "threshold": {"value": 1.5}}]}]}, "out of range"),
    ({"actions": [{"name": "envoy.overload_actions.stop_accepting_requests",
                   "triggers": [{"name": "m", "scaled": {"scaling_threshold": 0.9,
                                                         "saturation_threshold": 0.8}}]}]}, "less than"),
])
def test_what_makes_no_sense_is_refused(make, change, words):
    p = make.proxy(make.origin())
    top = overload(HEAP, "stop_accepting_requests", {"threshold": {"value": 1}})
    top["overload_manager"].update(change)
    p.rewrite(top)
    r = p.admin("/reload", "POST")
    assert r.status == 400 and words in r.body.decode()
