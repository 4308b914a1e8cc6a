# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ten upstreams under load, of which six fail, each in its own way, and come back."""
import signal
import threading
import time

import pytest

from harness import config
from harness.swarm import Load, Member

OD = "cluster.main.outlier_detection.ejections_"
EJECT_S = 1.0   # base_ejection_time
LONGEST_S = 2.0  # max_ejection_time
TRY_S = 1.0     # per_try_timeout


def bootstrap(make, members):
    endpoints = [config.endpoint(m.port, load_balancing_weight=1 + i % 2)
                 for i, m in enumerate(members)]
    cluster = {
        "outlier_detection": {
            "consecutive_5xx": 3, "base_ejection_time": "%gs" % EJECT_S,
            "max_ejection_time": "%gs" % LONGEST_S, "interval": "0.5s",
            "max_ejection_percent": 60, "enforcing_success_rate": 0},
        "common_lb_config": {"healthy_panic_threshold": {"value": 20}},
        "circuit_breakers": {"thresholds": [{"max_retries": 64, "track_remaining": True}]}}
    route = {"timeout": "15s", "retry_policy": {
        "retry_on": "5xx,reset,connect-failure", "num_retries": 8,
        "per_try_timeout": "%gs" % TRY_S,
        "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.05s"},
        "retry_host_predicate": [{
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.retry.host"
                                      ".previous_hosts.v3.PreviousHostsPredicate"}}],
        "host_selection_retry_max_attempts": 10}}
    return make.proxy(clusters={"main": endpoints}, cluster=cluster, route=route, concurrency=2)


def spread(load, members, n):
    """The share of each member while n requests pass, against its weight: the largest error."""
    load.pause()
    before = [m.count() for m in members]
    load.go_on()
    load.wait_more(n)
    load.pause()
    got = [m.count() - b for m, b in zip(members, before)]
    load.go_on()
    weights = [1 + i % 2 for i in range(len(members))]
    return max(abs(g / sum(got) * sum(weights) / w - 1) for g, w in zip(got, weights)), got


@pytest.mark.bounded(60)
def test_ten_upstreams(make):
    members = [Member() for _ in range(10)]
    try:
        for m in members:
            m.wait_up()
        p = bootstrap(make, members)
        load = Load(p.port, 64)
        thread = threading.Thread(target=load.run, daemon=True)
        thread.start()
        load.wait_more(300)
        error, got = spread(load, members, 4000)
        assert error <= 0.02, got
        retries = p.stat("cluster.main.upstream_rq_retry")

        begin = time.monotonic()
        members[0].kill()
        members[1].kill()
        members[2].signal(signal.SIGSTOP)
        members[3].mode("reset")
        members[4].mode("slow")
        members[5].mode("500")
        p.wait_stat(OD + "active", 6, timeout=8)
        ejected = time.monotonic() - begin
        load.wait_more(2000)
        # Hosts that come back too early are tried and ejected again: each time with few requests.
        during = p.stats()
        tried_again = during["cluster.main.upstream_rq_retry"] - retries

        members[0].start()
        members[1].start()
        members[2].signal(signal.SIGCONT)
        for m in members[3:6]:
            m.mode("ok")
        for m in members:
            m.wait_up()
        begin = time.monotonic()
        p.wait_stat(OD + "active", 0, timeout=LONGEST_S + 6)
        returned = time.monotonic() - begin
        load.wait_more(500)
        error, got = spread(load, members, 4000)
        assert error <= 0.02, got

        load.stopping = True
        thread.join(20)
        bad = load.total - load.statuses.get(200, 0)
        print("%d requests, %d failed, %d retries, ejected in %.2f s, back in %.2f s" %
              (load.total, bad, tried_again, ejected, returned))
        assert bad <= load.total * 0.0001, load.statuses
        s = p.stats()
        # The breaker has room for every request under way once: nothing was refused, and each
        # request that failed was tried again about once.
        assert s["cluster.main.upstream_rq_retry_overflow"] == 0
        assert s["cluster.main.upstream_rq_retry_limit_exceeded"] <= bad
        assert s["cluster.main.circuit_breakers.default.remaining_retries"] == 64
        assert tried_again < 0.5 * load.total
        assert s[OD + "enforced_total"] >= 6
    finally:
        for m in members:
            m.stop()
