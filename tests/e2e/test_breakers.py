# SPDX-License-Identifier: AGPL-3.0-or-later
"""Circuit breakers: each limit with one below it, at it and one above."""
import threading

import pytest

from harness import config
from harness.wire import reply, until

CB = "cluster.main.circuit_breakers."


class Held:
    """An origin that answers when told to."""

    def __init__(self, make):
        self.go = threading.Event()
        self.at_host = 0
        self.lock = threading.Lock()
        self.origin = make.origin(self.answer)

    def answer(self, request):
        with self.lock:
            self.at_host += 1
        assert self.go.wait(25)
        return reply(200, b"ok")


class Asked(threading.Thread):
    def __init__(self, p, path="/"):
        super().__init__(daemon=True)
        self.p, self.path, self.status = p, path, None
        self.start()

    def run(self):
        self.status = self.p.get(self.path, timeout=25).status


def routes():
    return [config.to("main", prefix="/high", priority="HIGH"), config.to("main")]


def limits(priority="DEFAULT", **fields):
    return {"circuit_breakers": {"thresholds": [
        {"priority": priority, "track_remaining": True, **fields}]}}


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("name,path", [("default", "/"), ("high", "/high")])
def test_requests(make, name, path, concurrency):
    h = Held(make)
    p = make.proxy(h.origin, routes=routes(), cluster=limits(name.upper(), max_requests=3),
                   concurrency=concurrency)
    asked = []
    for i in range(3):
        s = p.stats()
        assert s[CB + name + ".remaining_rq"] == 3 - i
        assert s[CB + name + ".rq_open"] == 0
        asked.append(Asked(p, path))
        until(lambda n=i + 1: h.at_host == n, 10)
    s = p.stats()
    assert (s[CB + name + ".remaining_rq"], s[CB + name + ".rq_open"]) == (0, 1)
    assert p.get(path).status == 503
    assert p.stat("cluster.main.upstream_rq_pending_overflow") == 1
    # The other priority has limits of its own.
    other = Asked(p, "/" if name == "high" else "/high")
    until(lambda: h.at_host == 4, 10)
    h.go.set()
    for a in [*asked, other]:
        a.join(20)
        assert a.status == 200
    p.wait_stat(CB + name + ".remaining_rq", 3)
    assert p.get(path).status == 200


@pytest.mark.parametrize("limit", [1, 2])
def test_pending(make, limit):
    """One connection; what waits for it counts."""
    h = Held(make)
    p = make.proxy(h.origin, cluster=limits(max_connections=1, max_pending_requests=limit))
    asked = [Asked(p)]
    until(lambda: h.at_host == 1, 10)
    s = p.stats()
    assert (s[CB + "default.cx_open"], s[CB + "default.remaining_cx"]) == (1, 0)
    for i in range(limit):
        assert p.stat(CB + "default.rq_pending_open") == 0
        asked.append(Asked(p))
        p.wait_stat("cluster.main.upstream_rq_pending_active", i + 1)
    s = p.stats()
    assert (s[CB + "default.rq_pending_open"], s[CB + "default.remaining_pending"]) == (1, 0)
    r = p.get()
    assert r.status == 503 and b"overflow" in r.body
    h.go.set()
    for a in asked:
        a.join(20)
        assert a.status == 200
    assert p.stat("cluster.main.upstream_cx_total") == 1


@pytest.mark.parametrize("n", [2, 3, 4])
def test_connections(make, n):
    """Three connections; a fourth request waits for one of them."""
    h = Held(make)
    p = make.proxy(h.origin, cluster=limits(max_connections=3))
    asked = [Asked(p) for _ in range(n)]
    until(lambda: h.at_host == min(n, 3), 10)
    p.wait_stat("cluster.main.upstream_rq_pending_active", n - min(n, 3))
    s = p.stats()
    assert s["cluster.main.upstream_cx_active"] == min(n, 3)
    assert s[CB + "default.remaining_cx"] == 3 - min(n, 3)
    assert s[CB + "default.cx_open"] == (n >= 3)
    h.go.set()
    for a in asked:
        a.join(20)
        assert a.status == 200


def test_refused_by_name(make):
    from harness.proxy import run_once
    text = config.dump(config.bootstrap(1, [], [config.cluster("main", 1, **limits(
        max_connection_pools=1))]))
    path = make.folder + "/x.yaml"
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    code, out, err = run_once("-t", "-c", path)
    assert code != 0 and "max_connection_pools" in out + err


def test_shown(make):
    p = make.proxy(1, cluster=limits("HIGH", max_requests=7))
    text = p.admin("/clusters").body.decode()
    assert "main::high_priority::max_requests::7\n" in text
    assert "main::default_priority::max_requests::1024\n" in text
    listed = p.admin_json("/clusters?format=json")["cluster_statuses"][0]
    assert listed["circuit_breakers"]["thresholds"][1]["max_requests"] == 7
