# SPDX-License-Identifier: AGPL-3.0-or-later
"""A third-party WebSocket client and server (npm ws) through the proxy."""
import pytest

from harness import config
from harness.node import Node, checks, need


@pytest.fixture
def node():
    need("ws")
    made = []

    def make(*args):
        made.append(Node(*args))
        return made[-1]
    yield make
    for n in made:
        n.stop()


@pytest.mark.bounded(90)
def test_npm_ws(make, node):
    server = node("ws.js", "server")
    p = make.proxy(clusters={"main": server.port},
                   routes=[config.to("main", "/plain", upgrade_configs=[{"upgrade_type": "websocket",
                                                                         "enabled": False}]),
                           config.to("main")],
                   hcm={"upgrade_configs": [{"upgrade_type": "websocket"}]})
    ran = checks(node("ws.js", "client", "ws://127.0.0.1:%d/chat" % p.ports[0]))
    assert set(ran) >= {"text", "binary", "fragmented", "compressed", "ping_and_pong", "close_codes",
                        "subprotocol_and_headers", "refused", "many_at_once"}
    p.wait_stat("http.test.downstream_cx_upgrades_active", 0)
    p.wait_stat("cluster.main.upstream_cx_active", lambda n: n <= 2)
    assert p.stat("http.test.downstream_cx_upgrades_total") > 60
    while "closed" not in str(server.lines):
        server.line()
    codes = set()
    while not codes >= {1000, 4001, 4999}:
        codes.add(server.line().get("closed"))
