# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who may connect: sources, rates, ports, TCP keepalive, descriptors; and how long connections and streams last."""
import re
import resource
import socket
import time

import pytest

from harness import config
from harness.proxy import new_ports, run_once
from harness.wire import until

LIMITS = "type.googleapis.com/marchproxy.config.v1.ListenerLimits"


def name(p, stat):
    return "listener.127.0.0.1_%d.%s" % (p.port, stat)


def connect(p, source="127.0.0.1"):
    return socket.create_connection(("127.0.0.1", p.port), timeout=5, source_address=(source, 0))


def alive(s):
    """The connection was taken: a request on it is answered."""
    try:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        return s.recv(65536).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def test_per_source_connections(make):
    p = make.march(make.origin(), fields={"limits": {"per_source_connections": 3}}, concurrency=2)
    held = [connect(p, "127.0.0.2") for _ in range(3)]
    assert all(alive(s) for s in held)
    extra = connect(p, "127.0.0.2")
    assert not alive(extra)
    assert p.stat(name(p, "downstream_cx_source_overflow")) == 1
    other = connect(p, "127.0.0.3")
    assert alive(other), "another source has a limit of its own"
    held.pop().close()
    p.wait_stat(name(p, "downstream_cx_active"), 3)
    again = connect(p, "127.0.0.2")
    assert alive(again)
    for s in held + [extra, other, again]:
        s.close()


@pytest.mark.parametrize("field,counter,other", [
    ("accept", "downstream_cx_rate_limited", False),
    ("source_accept", "downstream_cx_source_rate_limited", True)])
def test_rates_of_an_envoy_listener(make, field, counter, other):
    limits = {"@type": LIMITS, field + "s_per_second": 1, field + "_burst": 4}
    p = make.proxy(make.origin(), listener={
        "listener_filters": [{"name": "limits", "typed_config": limits}]})
    start = time.monotonic()
    socks = [connect(p, "127.0.0.2") for _ in range(10)]
    taken = sum(alive(s) for s in socks)
    assert 4 <= taken <= 4 + (time.monotonic() - start) + 1
    assert p.stat(name(p, counter)) == 10 - taken
    s = connect(p, "127.0.0.3")
    if other:
        assert alive(s), "another source has a rate of its own"
    s.close()

    def again():
        with connect(p, "127.0.0.2") as c:
            return alive(c)
    until(again, 10)
    for s in socks:
        s.close()


@pytest.mark.parametrize("bad", [
    {"accept_burst": 5}, {"source_accept_burst": 1}, {"accepts_per_second": 2000000}])
def test_rates_without_sense_are_refused(tmp_path, bad):
    http = config.manager([config.vhost("v", ["*"], [config.to("c")])])
    text = config.dump(config.bootstrap(1, [config.listener(
        "l", config.address(2), http, listener_filters=[
            {"name": "x", "typed_config": {"@type": LIMITS, **bad}}])], [config.cluster("c", 3)]))
    path = tmp_path / "e.yaml"
    path.write_text(text)
    code, _, err = run_once("-t", "-c", str(path))
    assert code == 1 and "listener_filters[0]" in err


def test_a_second_process_on_the_port(make):
    """The first bind finds out, though both would set SO_REUSEPORT; a reload does not trip over our own sockets."""
    o = make.origin()
    p = make.march(o)
    with open(p.file, encoding="utf-8") as f:
        text = f.read()
    other = text.replace("127.0.0.1:%d" % p.admin_port, "127.0.0.1:%d" % new_ports(1)[0])
    code, _, err = run_once("-c", write(p, "other.yaml", other))
    assert code == 1 and "already in use" in err.lower()
    # More addresses, other socket options, another name: all on the same port.
    for change in ({"limits": {"tcp_keepalive_time": "9s"}},
                   {"listen": {"address": "127.0.0.1:%d" % p.port, "name": "renamed"}},
                   {"listen": ["127.0.0.1:%d" % p.port]}):
        p.rewrite(change)
        r = p.admin("/reload", "POST")
        assert r.status == 200, r.body
        assert p.get().status == 200
    share = {"listen": {"address": "127.0.0.1:%d" % p.port, "reuse_port": True}}
    p2 = make.march(o, fields=share)
    assert b"127.0.0.1:%d" % p.port in p2.admin("/listeners").body


def write(p, filename, text):
    path = "%s/%s" % (p.folder, filename)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def keepalive_of(p, port):
    """What ss says of our side of a connection from that port."""
    import subprocess
    out = subprocess.run(["ss", "-Htno", "sport", "=", ":%d" % p.port], capture_output=True,
                         text=True, timeout=10, check=True).stdout
    return [line for line in out.splitlines() if ":%d " % port in line]


@pytest.mark.parametrize("limits,on", [({}, True), ({"tcp_keepalive_time": "0s"}, False),
                                       ({"tcp_keepalive_time": "7200s"}, True)])
def test_keepalive_of_a_simple_file(make, limits, on):
    p = make.march(make.origin(), fields={"limits": limits})
    s = connect(p)
    assert alive(s)
    until(lambda: ("timer:(keepalive" in "".join(keepalive_of(p, s.getsockname()[1]))) == on, 5)
    if "7200s" in str(limits):
        assert re.search("keepalive,1(19|20)min", "".join(keepalive_of(p, s.getsockname()[1])))
    s.close()


def test_socket_options_of_an_envoy_listener(make):
    options = [{"level": 1, "name": 9, "int_value": 1},
               {"level": 6, "name": 4, "int_value": 3600, "state": "STATE_LISTENING"}]
    p = make.proxy(make.origin(), listener={"socket_options": options})
    s = connect(p)
    assert alive(s)
    until(lambda: "timer:(keepalive,60min" in "".join(keepalive_of(p, s.getsockname()[1])) or
          "timer:(keepalive,59min" in "".join(keepalive_of(p, s.getsockname()[1])), 5)
    s.close()


def test_connection_duration_ends_an_idle_connection(make):
    p = make.march(make.origin(), fields={"limits": {"max_connection_duration": "0.5s"}})
    with p.connect() as c:
        assert not c.get().has("connection")
        c.expect_close(5)
    assert p.stat("http.ingress_http.downstream_cx_max_duration_reached") == 1
    assert p.stat("http.ingress_http.downstream_cx_idle_timeout") == 0


@pytest.mark.parametrize("request_whole,status", [(True, 504), (False, 408)])
def test_stream_duration(make, request_whole, status):
    o = make.origin(handler=lambda conn: conn.wait_closed(10))
    p = make.march(o, fields={"limits": {"max_stream_duration": "0.5s"}, "access_log": "stdout"})
    with p.connect() as c:
        if request_whole:
            c.ask()
        else:
            c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nx")
        assert c.response().status == status
    assert p.stat("http.ingress_http.downstream_rq_max_duration_reached") == 1


def test_descriptors_run_out(make):
    """Accepting pauses without spinning and goes on; the operator gets in meanwhile."""
    p = make.march(make.origin(), fields={"limits": {"overload": False}})
    assert p.get().status == 200
    old = resource.prlimit(p.pid, resource.RLIMIT_NOFILE)
    used = p.fds()
    resource.prlimit(p.pid, resource.RLIMIT_NOFILE, (used + 4, old[1]))
    socks = [connect(p) for _ in range(20)]
    p.wait_stat(name(p, "accept_paused"), lambda n: n > 0)
    before, at = cpu(p), time.monotonic()
    for _ in range(5):
        assert p.admin("/ready").status == 200
    paused = p.stat(name(p, "accept_paused"))
    until(lambda: p.stat(name(p, "accept_paused")) >= paused + 3, 10)
    assert cpu(p) - before < 0.5 * (time.monotonic() - at) + 0.2
    resource.prlimit(p.pid, resource.RLIMIT_NOFILE, old)
    p.wait_stat(name(p, "downstream_cx_total"), lambda n: n >= 21)
    assert p.get().status == 200
    for s in socks:
        s.close()


def cpu(p):
    with open("/proc/%d/stat" % p.pid, encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100
