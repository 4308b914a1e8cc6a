# SPDX-License-Identifier: AGPL-3.0-or-later
"""Outlier detection: hosts that fail under traffic are left out for a while."""
import json
import os
import threading
import time

import pytest

from harness.ports import free_port
from harness.wire import reply, until

OD = "cluster.main.outlier_detection.ejections_"


def detection(**fields):
    out = {"interval": "0.05s", "base_ejection_time": "30s", "max_ejection_percent": 50,
           "enforcing_success_rate": 0}
    out.update(fields)
    return {"outlier_detection": out, "common_lb_config": {"healthy_panic_threshold": {"value": 0}}}


class Host:
    def __init__(self, make, status=200):
        self.status = status
        self.served = 0
        self.origin = make.origin(self.answer)

    def answer(self, request):
        self.served += 1
        return reply(self.status, b"x") if self.status else None


def cluster(make, n, **fields):
    hosts = [Host(make) for _ in range(n)]
    p = make.proxy(clusters={"main": [h.origin for h in hosts]}, cluster=detection(**fields))
    return p, hosts


@pytest.mark.parametrize("n", [2, 3, 4])
def test_failures_in_a_row(make, n):
    """The limit is 3: two failures eject nobody, three do, and what follows goes elsewhere."""
    p, (a, b) = cluster(make, 2, consecutive_5xx=3)
    a.status = 500
    for _ in range(20):
        if a.served == n:
            break
        p.get()
    if n == 2:
        a.status = 200
        for _ in range(2):
            p.get()
        a.status = 500
        served = a.served
        while a.served < served + 2:
            p.get()
        assert p.stat(OD + "active") == 0
        assert p.stat(OD + "detected_consecutive_5xx") == 0
        return
    p.wait_stat(OD + "active", 1)
    served = a.served
    assert [p.get().status for _ in range(10)] == [200] * 10
    assert a.served == served
    assert p.stat(OD + "enforced_consecutive_5xx") == 1
    assert p.stat(OD + "enforced_total") == 1
    assert "/failed_outlier_check" in p.admin("/clusters").body.decode()


def test_return_in_time(make):
    p, (a, b) = cluster(make, 2, consecutive_5xx=1, base_ejection_time="0.6s", interval="10s")
    a.status = 500
    while p.get().status != 500:
        pass
    begin = time.monotonic()
    p.wait_stat(OD + "active", 1)
    a.status = 200
    p.wait_stat(OD + "active", 0, timeout=10)
    assert time.monotonic() - begin >= 0.55
    served = a.served
    for _ in range(4):
        assert p.get().status == 200
    assert a.served > served


def test_longer_each_time(make, tmp_path):
    log = str(tmp_path / "outliers.json")
    hosts = [Host(make), Host(make)]
    p = make.proxy(clusters={"main": [h.origin for h in hosts]},
                   cluster=detection(consecutive_5xx=1, base_ejection_time="0.2s", interval="20s"),
                   top={"cluster_manager": {"outlier_detection": {"event_log_path": log}}})
    hosts[0].status = 500

    def events():
        if not os.path.exists(log):
            return []
        with open(log, encoding="utf-8") as f:
            return [json.loads(line) for line in f]
    until(lambda: p.get() and len(events()) >= 4, 15)
    e = events()[:4]
    assert [x["action"] for x in e] == ["EJECT", "UNEJECT", "EJECT", "UNEJECT"]
    assert [x["num_ejections"] for x in e] == [1, 1, 2, 2]
    assert e[0]["type"] == "CONSECUTIVE_5XX" and e[0]["enforced"] is True

    def at(x):
        t = x["timestamp"][:-1].split("T")[1].split(":")
        return float(t[0]) * 3600 + float(t[1]) * 60 + float(t[2])
    assert at(e[1]) - at(e[0]) >= 0.19
    assert at(e[3]) - at(e[2]) >= 0.39


def test_never_more_than_the_percentage(make):
    p, hosts = cluster(make, 4, consecutive_5xx=1, max_ejection_percent=50)
    for h in hosts:
        h.status = 500
    for _ in range(40):
        p.get()
    p.wait_stat(OD + "overflow", lambda n: n > 0)
    assert p.stat(OD + "active") == 2


def test_not_enforced(make):
    p, (a, b) = cluster(make, 2, consecutive_5xx=1, enforcing_consecutive_5xx=0)
    a.status = 500
    for _ in range(10):
        p.get()
    p.wait_stat(OD + "detected_consecutive_5xx", lambda n: n >= 1)
    assert p.stat(OD + "active") == 0


@pytest.mark.parametrize("status,ejected", [(502, True), (500, False)])
def test_gateway_failures(make, status, ejected):
    p, (a, b) = cluster(make, 2, consecutive_5xx=0, consecutive_gateway_failure=2,
                        enforcing_consecutive_gateway_failure=100)
    a.status = status
    for _ in range(10):
        p.get()
    if ejected:
        p.wait_stat(OD + "enforced_consecutive_gateway_failure", 1)
    else:
        assert p.stat(OD + "active") == 0


@pytest.mark.parametrize("split", [False, True])
def test_refused_connections(make, split):
    b = Host(make)
    fields = detection(consecutive_5xx=2, consecutive_local_origin_failure=2,
                       split_external_local_origin_errors=split)
    p = make.proxy(clusters={"main": [free_port(), b.origin]}, cluster=fields)
    for _ in range(6):
        p.get()
    kind = "consecutive_local_origin_failure" if split else "consecutive_5xx"
    p.wait_stat(OD + "enforced_" + kind, 1)
    assert [p.get().status for _ in range(6)] == [200] * 6


def test_timeouts_count(make):
    hold = threading.Event()
    a = make.origin(lambda r: hold.wait(20) and reply(200))
    p = make.proxy(clusters={"main": [a]}, cluster=detection(consecutive_5xx=2),
                   route={"timeout": "0.1s"})
    assert [p.get().status for _ in range(2)] == [504, 504]
    p.wait_stat(OD + "active", 1)
    r = p.get()
    assert (r.status, r.body) == (503, b"no healthy upstream")
    hold.set()


def test_success_rate(make):
    p, hosts = cluster(make, 5, consecutive_5xx=0, enforcing_success_rate=100,
                       success_rate_minimum_hosts=5, success_rate_request_volume=10,
                       interval="1s", max_ejection_percent=20)
    hosts[2].status = 500
    stop = time.monotonic() + 20
    with p.connect() as c:
        while time.monotonic() < stop and p.stat(OD + "enforced_success_rate") == 0:
            for _ in range(100):
                c.get()
    assert p.stat(OD + "enforced_success_rate") == 1
    served = hosts[2].served
    assert [p.get().status for _ in range(10)] == [200] * 10
    assert hosts[2].served == served


def test_failure_percentage(make):
    p, hosts = cluster(make, 2, consecutive_5xx=0, enforcing_failure_percentage=100,
                       failure_percentage_minimum_hosts=2, failure_percentage_request_volume=5,
                       interval="0.5s")
    hosts[0].status = 500
    stop = time.monotonic() + 20
    with p.connect() as c:
        while time.monotonic() < stop and p.stat(OD + "enforced_failure_percentage") == 0:
            for _ in range(20):
                c.get()
    assert p.stat(OD + "active") == 1


def test_check_that_passes_lets_it_return(make):
    hosts = [Host(make), Host(make)]
    fields = detection(consecutive_5xx=1, base_ejection_time="300s")
    fields["health_checks"] = [{
        "timeout": "1s", "interval": "0.1s", "no_traffic_interval": "0.1s",
        "unhealthy_threshold": 1, "healthy_threshold": 1,
        "http_health_check": {"path": "/", "expected_statuses": [{"start": 200, "end": 600}]}}]
    p = make.proxy(clusters={"main": [h.origin for h in hosts]}, cluster=fields)
    hosts[0].status = 500
    for _ in range(4):
        p.get()
    p.wait_stat(OD + "enforced_total", lambda n: n >= 1)
    p.wait_stat(OD + "active", 0)


def test_simple_file(make):
    a = make.origin(lambda r: reply(500))
    p = make.march(a)
    text = open(p.file, encoding="utf-8").read()
    q = make.text(text.replace("protocol: http", "protocol: http\n  ejection: {failures: 2}")
                  .replace(str(p.port), "@PORT0@").replace(str(p.admin_port), "@ADMIN@"), 1)
    assert [q.get().status for _ in range(2)] == [500, 500]
    q.wait_stat(OD + "active", 1)
    assert q.get().body == b"no healthy upstream"
