# SPDX-License-Identifier: AGPL-3.0-or-later
"""A browser loads a page with a hundred resources over TLS and HTTP/2."""
import shutil
import subprocess

import pytest
import yaml

from harness import config
from harness.wire import reply
from test_websocket import certificate

PAGE = ("<html><body><p id=o></p>%s<script>document.getElementById('o').textContent = 'loaded ' + window.n + "
        "' over h2: ' + performance.getEntriesByType('resource').filter(e => e.nextHopProtocol == 'h2').length"
        "</script></body></html>" % "".join('<script src="r%d.js"></script>' % i for i in range(100)))


def answer(request):
    if request.target.endswith(".js"):
        return reply(200, b"window.n = (window.n || 0) + 1;", [("Content-Type", "text/javascript")])
    return reply(200, PAGE.encode(), [("Content-Type", "text/html")])


@pytest.mark.bounded(90)
def test_a_page_with_a_hundred_resources(make, tmp_path):
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    o = make.origin(answer)
    p = make.proxy(o)
    p.stop()
    with open(p.file, encoding="utf-8") as f:
        document = yaml.safe_load(f)
    socket = certificate(tmp_path)
    socket["typed_config"]["common_tls_context"]["alpn_protocols"] = ["h2", "http/1.1"]
    document["static_resources"]["listeners"][0]["filter_chains"][0]["transport_socket"] = socket
    p = make.text(config.dump(document), ports=p.ports, admin=p.admin_port)
    out = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors",
         "--user-data-dir=%s" % (tmp_path / "profile"), "--virtual-time-budget=20000", "--dump-dom",
         "https://127.0.0.1:%d/" % p.ports[0]], capture_output=True, timeout=80, check=False)
    assert b"loaded 100 over h2: 100" in out.stdout, (out.stdout[-300:], out.stderr[-2000:])
    stats = p.stats()
    assert stats["http.test.downstream_cx_http2_total"] >= 1
    assert stats["http.test.downstream_rq_http2_total"] >= 101
