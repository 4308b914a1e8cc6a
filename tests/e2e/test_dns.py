# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clusters whose hosts are names: the hosts file, a name server of our own, changes and failures."""
import pytest

from harness import config
from harness.wire import reply, until


def resolver(server):
    return {"typed_dns_resolver_config": {
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3"
                     ".CaresDnsResolverConfig",
            "resolvers": [config.address(server.port)]}}}


def by_name(name, port, kind="STRICT_DNS", **fields):
    return config.cluster("main", (name, port), type=kind, dns_lookup_family="V4_ONLY", **fields)


@pytest.mark.parametrize("kind", ["STRICT_DNS", "LOGICAL_DNS"])
def test_hosts_file(make, kind):
    o = make.origin()
    p = make.proxy(clusters={"main": by_name("localhost", o.port, kind)})
    assert p.get().status == 200
    assert p.stat("cluster.main.membership_total") == 1


@pytest.mark.parametrize("kind", ["STRICT_DNS", "LOGICAL_DNS"])
def test_name_server(make, kind):
    o = make.origin()
    ns = make.name_server({"app.internal": ["127.0.0.1"]})
    p = make.proxy(clusters={"main": by_name("app.internal", o.port, kind, **resolver(ns))})
    assert p.get().status == 200
    assert ("app.internal", 1) in ns.queries


def test_every_address_is_used(make):
    a = make.origin(name="a", host="127.0.0.1")
    make.origin(name="b", host="127.0.0.2", port=a.port)
    ns = make.name_server({"app.internal": ["127.0.0.1", "127.0.0.2"]})
    p = make.proxy(clusters={"main": by_name("app.internal", a.port, **resolver(ns))})
    assert p.stat("cluster.main.membership_total") == 2
    with p.connect() as c:
        assert {c.get().get("x-origin") for _ in range(4)} == {"a", "b"}


def test_logical_dns_uses_one_address(make):
    a = make.origin(name="a", host="127.0.0.1")
    make.origin(name="b", host="127.0.0.2", port=a.port)
    ns = make.name_server({"app.internal": ["127.0.0.1", "127.0.0.2"]})
    p = make.proxy(clusters={"main": by_name("app.internal", a.port, "LOGICAL_DNS",
                                             **resolver(ns))})
    with p.connect() as c:
        assert len({c.get().get("x-origin") for _ in range(6)}) == 1


def test_change_of_addresses_is_followed(make):
    a = make.origin(name="a", host="127.0.0.1")
    make.origin(name="b", host="127.0.0.2", port=a.port)
    ns = make.name_server({"app.internal": ["127.0.0.1"]})
    p = make.proxy(clusters={"main": by_name("app.internal", a.port, dns_refresh_rate="0.2s",
                                             **resolver(ns))})
    with p.connect() as c:
        assert c.get().get("x-origin") == "a"
        ns.table["app.internal"] = ["127.0.0.2"]
        until(lambda: c.get().get("x-origin") == "b", 5, "the new address")
        assert all(c.get().get("x-origin") == "b" for _ in range(5))
    assert p.stat("cluster.main.membership_total") == 1


def test_unknown_name_is_503_until_it_appears(make):
    o = make.origin()
    ns = make.name_server({})
    p = make.proxy(clusters={"main": by_name("late.internal", o.port, dns_refresh_rate="0.2s",
                                             **resolver(ns))})
    r = p.get()
    assert (r.status, r.body) == (503, b"no healthy upstream")
    ns.table["late.internal"] = ["127.0.0.1"]
    until(lambda: p.get().status == 200, 5, "the name")


def test_failing_name_server_keeps_the_known_addresses(make):
    o = make.origin(lambda r: reply(200, b"ok"))
    ns = make.name_server({"app.internal": ["127.0.0.1"]})
    p = make.proxy(clusters={"main": by_name("app.internal", o.port, dns_refresh_rate="0.2s",
                                             **resolver(ns))})
    assert p.get().status == 200
    del ns.table["app.internal"]
    n = len(ns.queries)
    until(lambda: len(ns.queries) > n + 2, 5, "two more queries")
    assert p.get().status in (200, 503)
    ns.table["app.internal"] = ["127.0.0.1"]
    until(lambda: p.get().status == 200, 5, "recovery")


def test_mute_name_server_does_not_block_start_or_others(make):
    """A server that never answers: requests to other clusters are served meanwhile."""
    o = make.origin()
    ns = make.name_server({"app.internal": ["127.0.0.1"]})
    ns.mute = True
    p = make.proxy(clusters={"main": by_name("app.internal", o.port, **resolver(ns)), "other": o},
                   routes=[config.to("main", "/dns"), config.to("other")], ready=False)

    def answered():
        try:
            return p.get("/", timeout=2).status == 200
        except OSError:
            return False
    until(answered, 15, "service")
    assert p.get("/dns", timeout=5).status == 503
