# SPDX-License-Identifier: AGPL-3.0-or-later
"""A third-party WebSocket client and server (npm ws) through the proxy."""
import subprocess

import pytest
import yaml

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


def certificate(folder):
    """A self-signed certificate, as a transport socket of a listener."""
    key, cert = str(folder / "key.pem"), str(folder / "cert.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"],
                   check=True, capture_output=True, timeout=30)
    return {"name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [{"certificate_chain": {"filename": cert},
                                                     "private_key": {"filename": key}}]}}}


def with_tls(text, socket):
    document = yaml.safe_load(text)
    document["static_resources"]["listeners"][0]["filter_chains"][0]["transport_socket"] = socket
    return config.dump(document)


@pytest.mark.bounded(90)
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_npm_ws(make, node, tmp_path, scheme):
    server = node("ws.js", "server")
    p = make.proxy(clusters={"main": server.port},
                   routes=[config.to("main", "/plain", upgrade_configs=[{"upgrade_type": "websocket",
                                                                         "enabled": False}]),
                           config.to("main")],
                   hcm={"upgrade_configs": [{"upgrade_type": "websocket"}]})
    if scheme == "wss":
        p.stop()
        with open(p.file, encoding="utf-8") as f:
            text = with_tls(f.read(), certificate(tmp_path))
        p = make.text(text, ports=p.ports, admin=p.admin_port)
    ran = checks(node("ws.js", "client", "%s://127.0.0.1:%d/chat" % (scheme, p.ports[0])))
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
