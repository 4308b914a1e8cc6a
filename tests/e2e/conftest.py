# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fixtures. Every test is bounded in time by an alarm besides the bounds of each wait."""
import os
import signal
import sys
import threading

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from harness import config  # noqa: E402
from harness import proxy as proxy_module  # noqa: E402
from harness.origin import Origin  # noqa: E402
from harness.peers import NameServer, Nginx  # noqa: E402
from harness.proxy import Proxy, new_ports  # noqa: E402

BOUND_S = 30


def pytest_sessionstart(session):
    if not os.access(proxy_module.BINARY, os.X_OK):
        pytest.exit("no proxy at %s: build it or set MARCHPROXY_BIN" % proxy_module.BINARY, 3)


@pytest.fixture(autouse=True)
def bounded(request):
    marker = request.node.get_closest_marker("bounded")
    seconds = marker.args[0] if marker else BOUND_S
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_):
        raise TimeoutError("the test took more than %d s" % seconds)
    old = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


class Builder:
    """Makes things that live until the end of the test (or module) and checks them then."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.made = []
        self.count = 0

    def _folder(self):
        self.count += 1
        path = os.path.join(self.folder, "p%d" % self.count)
        os.makedirs(path)
        return path

    def origin(self, *args, **kw):
        o = Origin(*args, **kw)
        self.made.append(o)
        return o

    def nginx(self, **kw):
        n = Nginx(self._folder(), **kw)
        self.made.append(n)
        return n

    def name_server(self, table=None, **kw):
        n = NameServer(table, **kw)
        self.made.append(n)
        return n

    def text(self, text, n_ports=0, ports=None, admin=None, **kw):
        """A proxy from a file's text, in which @ADMIN@, @PORT0@, @PORT1@ ... are filled in."""
        ports = ports or new_ports(n_ports)
        admin = admin or new_ports(1)[0]
        text = text.replace("@ADMIN@", str(admin))
        for i, port in enumerate(ports):
            text = text.replace("@PORT%d@" % i, str(port))
        p = Proxy(self._folder(), text, ports, admin, **kw)
        self.made.append(p)
        return p

    def march(self, upstream=None, services=None, routes=None, fields=None, **kw):
        """A proxy from a simple file; upstream: the port of the one service "main"."""
        if services is None:
            services = {"main": (["127.0.0.1"], getattr(upstream, "port", upstream))}
        if routes is None:
            routes = [{"name": "r", "prefix": "/", "cluster_name": n} for n in services]
        admin, port = new_ports(2)
        text = config.march(admin, port, services, routes, **(fields or {}))
        return self.text(text, ports=[port], admin=admin, **kw)

    def proxy(self, upstream=None, clusters=None, routes=None, vhosts=None, hcm=None,
              route_config=None, listener=None, cluster=None, route=None, top=None, args=(),
              n_listeners=1, **kw):
        """A proxy from an Envoy bootstrap.

        upstream: the one cluster's endpoint(s), cluster: its other fields, route: fields of the
        route's action. Or the parts themselves: clusters (name -> endpoints or dict), routes of
        the one virtual host, or vhosts.
        """
        if clusters is None:
            clusters = {"main": upstream} if upstream is not None else {}
        listed = []
        for name, what in clusters.items():
            if isinstance(what, dict) and "name" in what:
                listed.append({**what, **(cluster or {})})
                continue
            listed.append(config.cluster(name, what, **(cluster or {})))
        if vhosts is None:
            if routes is None:
                routes = [config.to(listed[0]["name"], **(route or {}))]
            vhosts = [config.vhost("all", ["*"], routes)]
        ports = new_ports(n_listeners)
        admin = new_ports(1)[0]
        http = config.manager(vhosts, hcm, route_config)
        listeners = [config.listener("listener_%d" % i, config.address(p), http, **(listener or {}))
                     for i, p in enumerate(ports)]
        text = config.dump(config.bootstrap(admin, listeners, listed, **(top or {})))
        p = Proxy(self._folder(), text, ports, admin, args, name="envoy.yaml", **kw)
        self.made.append(p)
        return p

    def finish(self):
        """Proxies first, while their peers still live."""
        problems = []
        for p in [m for m in self.made if isinstance(m, Proxy)]:
            try:
                p.stop()
            except AssertionError as e:
                problems.append(str(e))
        for m in self.made:
            if not isinstance(m, Proxy):
                m.stop()
                if isinstance(m, Origin):
                    problems += ["origin %s: %s" % (m.name, e) for e in m.errors()]
        assert not problems, "\n".join(problems)


@pytest.fixture
def make(tmp_path):
    b = Builder(tmp_path)
    yield b
    b.finish()


@pytest.fixture(scope="module")
def make_shared(tmp_path_factory):
    """For tests that share one proxy in a module (tables of many small cases)."""
    b = Builder(tmp_path_factory.mktemp("shared"))
    yield b
    b.finish()
