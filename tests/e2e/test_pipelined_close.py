# SPDX-License-Identifier: AGPL-3.0-or-later
"""Closing after a response: whether the proxy stays to take what was pipelined behind the request."""
import time


def with_one_request_per_connection(make, delayed_close):
    return make.proxy(make.origin(), hcm={
        "common_http_protocol_options": {"max_requests_per_connection": 1},
        "delayed_close_timeout": delayed_close})


def test_request_on_its_way_meets_no_reset(make):
    """The client learns of the close too late: a reset could destroy the response before it is read."""
    p = with_one_request_per_connection(make, "2s")
    with p.connect() as c:
        r = c.get()
        assert r.status == 200 and r.get("connection") == "close"
        time.sleep(0.1)
        for _ in range(3):
            assert c.ask(), "reset"
            time.sleep(0.05)
        assert c.sock.recv(1) == b"", "an orderly end"
    p.wait_stat("http.test.downstream_cx_active", 0)
    assert p.stat("cluster.main.upstream_rq_total") == 1


def test_the_stay_ends(make):
    p = with_one_request_per_connection(make, "0.3s")
    with p.connect() as c:
        assert c.get().status == 200
        p.wait_stat("http.test.downstream_cx_active", 0, 3)
        assert p.stat("http.test.downstream_cx_delayed_close_timeout") == 1


def test_client_that_asked_for_the_close_is_closed_at_once(make):
    p = make.proxy(make.origin(), hcm={"delayed_close_timeout": "30s"})
    with p.connect() as c:
        assert c.get(headers=[("Connection", "close")]).status == 200
        p.wait_stat("http.test.downstream_cx_active", 0, 3)
        assert p.stat("http.test.downstream_cx_delayed_close_timeout") == 0
