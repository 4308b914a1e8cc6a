# SPDX-License-Identifier: AGPL-3.0-or-later
"""Stopping: clean, bounded, and without harm to requests under way."""
import signal
import threading
import time

import pytest

from harness.wire import head, reply


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_clean_stop(make, number):
    p = make.proxy(make.origin())
    assert p.get().status == 200
    p.signal(number)
    assert p.process.wait(5) == 0


def test_stop_at_once_after_start(make):
    for _ in range(3):
        p = make.proxy(make.origin(), concurrency=2)
        p.stop(5)


def test_stop_with_idle_connections(make):
    p = make.proxy(make.origin())
    clients = [p.connect() for _ in range(50)]
    for c in clients[:25]:
        assert c.get().status == 200
    start = time.monotonic()
    p.stop(10)
    assert time.monotonic() - start < 3, "idle connections do not hold the stop"
    for c in clients:
        c.expect_close(2)


def test_request_under_way_is_finished(make):
    gate = threading.Event()

    def answer(_):
        gate.wait(10)
        return reply(200, b"finished")
    o = make.origin(answer)
    p = make.proxy(o)
    with p.connect() as c:
        c.ask()
        o.wait_requests(1)
        p.signal(signal.SIGTERM)
        time.sleep(0.3)
        gate.set()
        r = c.response()
        assert r.body == b"finished" and r.get("connection").lower() == "close"
        c.expect_close()
    assert p.process.wait(5) == 0


def test_no_new_connections_while_draining(make):
    gate = threading.Event()
    o = make.origin(lambda r: gate.wait(10) and reply(200, b"finished"))
    p = make.proxy(o)
    with p.connect() as c:
        c.ask()
        o.wait_requests(1)
        p.signal(signal.SIGTERM)
        deadline = time.monotonic() + 3
        refused = False
        while not refused and time.monotonic() < deadline:
            try:
                with p.connect(timeout=1) as extra:
                    extra.ask()
                    refused = extra.drain(1) == b""
            except (OSError, AssertionError):
                refused = True
        assert refused
        gate.set()
        assert c.response().body == b"finished"
    assert p.process.wait(5) == 0


def test_stop_is_bounded_by_a_stuck_request(make):
    o = make.origin(handler=lambda conn: (conn.request(), conn.wait_closed(20)))
    p = make.proxy(o, route={"timeout": "0s"})
    with p.connect() as c:
        c.ask()
        o.wait_requests(1)
        p.signal(signal.SIGTERM)
        time.sleep(0.2)
        p.signal(signal.SIGTERM)
        assert p.process.wait(20) == 0


def test_drain_time_bounds_the_stop(make):
    o = make.origin(handler=lambda conn: (conn.request(), conn.wait_closed(20)))
    p = make.proxy(o, route={"timeout": "0s"}, drain_s=1)
    with p.connect() as c:
        c.ask()
        o.wait_requests(1)
        start = time.monotonic()
        p.signal(signal.SIGTERM)
        assert p.process.wait(10) == 0
        assert 0.8 <= time.monotonic() - start < 4
        c.drain()


def test_stop_under_load(make):
    """Answers that arrive are whole; what is cut was cut between requests or not begun."""
    p = make.proxy(make.origin(), concurrency=2)
    problems = []

    def work():
        try:
            with p.connect() as c:
                while True:
                    if not c.send(head("GET / HTTP/1.1", [("Host", "a")])):
                        return
                    r = c.response()
                    if r.status != 200 or r.body != b"ok":
                        problems.append(r)
        except (AssertionError, OSError):
            if c.reader.buf:
                problems.append(bytes(c.reader.buf))
    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    time.sleep(0.5)
    p.stop(15)
    for t in threads:
        t.join(5)
    assert problems == []


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGPIPE])
def test_signals_that_do_not_stop(make, number):
    p = make.proxy(make.origin())
    p.signal(number)
    time.sleep(0.1)
    assert p.get().status == 200


def test_restart_on_the_same_port(make):
    """Nothing lingers that would refuse the next start."""
    from harness.proxy import new_ports
    ports, admin = new_ports(1), new_ports(1)[0]
    o = make.origin()
    text = ("admin: { address: { socket_address: { address: 127.0.0.1, port_value: @ADMIN@ } } }\n"
            "static_resources:\n  listeners:\n  - name: l\n    address: { socket_address: { address: "
            "127.0.0.1, port_value: @PORT0@ } }\n    filter_chains:\n    - filters:\n      - name: "
            "envoy.filters.network.http_connection_manager\n        typed_config:\n          \"@type\": "
            "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
            ".HttpConnectionManager\n          stat_prefix: x\n          http_filters:\n          - name: r\n"
            "            typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router"
            ".v3.Router }\n          route_config:\n            virtual_hosts:\n            - name: v\n"
            "              domains: [\"*\"]\n              routes:\n              - match: { prefix: / }\n"
            "                route: { cluster: c }\n  clusters:\n  - name: c\n    load_assignment:\n"
            "      cluster_name: c\n      endpoints:\n      - lb_endpoints:\n        - endpoint: { address: { "
            "socket_address: { address: 127.0.0.1, port_value: %d } } }\n" % o.port)
    for _ in range(3):
        p = make.text(text, ports=ports, admin=admin)
        with p.connect() as c:
            assert c.get().status == 200
            p.stop()
