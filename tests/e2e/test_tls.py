# SPDX-License-Identifier: AGPL-3.0-or-later
"""TLS towards clients: certificates, names, clients' certificates, resumption, rotation, hostile handshakes."""
import os
import socket
import ssl
import struct
import threading
import time

import pytest

from harness import config, tls
from harness.peers import pattern
from harness.wire import reply


@pytest.fixture
def ca(tmp_path):
    return tls.Authority(tmp_path)


def proxy(make, origin, certs, common=None, hcm=None, alpn=("http/1.1",), chain=None, **fields):
    from harness.proxy import new_ports
    admin = new_ports(1)[0]
    port = new_ports(1)[0]
    http = config.manager([config.vhost("all", ["*"], [config.to("main")])], hcm)
    lis = config.listener("l", config.address(port), http)
    lis["filter_chains"][0]["transport_socket"] = tls.downstream(certs, alpn, common, **fields)
    lis["filter_chains"][0].update(chain or {})
    text = config.dump(config.bootstrap(admin, [lis], [config.cluster("main", origin.port)]))
    return make.text(text, ports=[port], admin=admin, name="envoy.yaml")


def echo(request):
    return reply(200, request.body)


def stat(p, name):
    return p.stat("listener.127.0.0.1_%d.ssl.%s" % (p.ports[0], name))


def wait_stat(p, name, n):
    p.wait_stat("listener.127.0.0.1_%d.ssl.%s" % (p.ports[0], name), n)


# ---- serving


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("kind", ["ec", "p384", "rsa"])
def test_versions_and_keys(make, ca, version, kind):
    p = proxy(make, make.origin(), [ca.issue("s", "localhost", ["localhost"], kind)])
    with tls.connect(p.ports[0], tls.client_context(ca, version=version)) as s:
        for _ in range(3):
            assert tls.get(s)[0].startswith("HTTP/1.1 200")
        assert s.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2"}.get(version, "TLSv1.3")
    assert stat(p, "handshake") == 1


def test_scheme_is_https(make, ca):
    o = make.origin()
    p = proxy(make, o, [ca.issue("s", "localhost", ["localhost"])])
    with tls.connect(p.ports[0], tls.client_context(ca)) as s:
        tls.get(s)
    assert o.last.get("x-forwarded-proto") == "https"


def test_http2_over_tls(make, ca):
    """curl speaks HTTP/2 by ALPN; the upstream learns that it was https."""
    import subprocess
    o = make.origin()
    p = proxy(make, o, [ca.issue("s", "localhost", ["localhost"])], alpn=("h2", "http/1.1"))
    r = subprocess.run(["curl", "-sS", "--max-time", "10", "--cacert", ca.path, "-w",
                        "%{http_version} %{http_code}", "--resolve",
                        "localhost:%d:127.0.0.1" % p.ports[0],
                        "https://localhost:%d/" % p.ports[0]], capture_output=True, timeout=15)
    assert r.stdout == b"ok2 200", r.stderr
    assert o.last.get("x-forwarded-proto") == "https"


def test_large_bodies_both_ways(make, ca):
    """Bodies over many records, also when the reader is slow."""
    o = make.origin(echo)
    p = proxy(make, o, [ca.issue("s", "localhost", ["localhost"])])
    for n in (1, 16384, 16385, 70000, 3 << 20):
        body = pattern(n)
        with tls.connect(p.ports[0], tls.client_context(ca)) as s:
            def send():
                s.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % n + body)
            t = threading.Thread(target=send)
            t.start()
            got = b""
            while b"\r\n\r\n" not in got:
                got += s.recv(1000)
            head, got = got.split(b"\r\n\r\n", 1)
            assert head.startswith(b"HTTP/1.1 200")
            while len(got) < n:
                piece = s.recv(4096 if n < 100000 else 65536)
                assert piece
                got += piece
            t.join()
            assert got == body


def test_certificate_by_name_and_kind(make, ca):
    a = ca.issue("a", "a.test", ["a.test"])
    a_rsa = ca.issue("ar", "a.test", ["a.test"], "rsa")
    b = ca.issue("b", "b.test", ["b.test", "*.w.test"])
    p = proxy(make, make.origin(), [a, a_rsa, b])

    def serial(name, ciphers=None):
        c = tls.client_context(version=ssl.TLSVersion.TLSv1_2)
        if ciphers:
            c.set_ciphers(ciphers)
        with tls.connect(p.ports[0], c, name) as s:
            from cryptography import x509
            return x509.load_der_x509_certificate(s.getpeercert(True)).serial_number
    assert serial("a.test") == a.serial
    assert serial("A.Test") == a.serial
    assert serial("a.test", "ECDHE-RSA-AES128-GCM-SHA256") == a_rsa.serial
    assert serial("b.test") == b.serial
    assert serial("x.w.test") == b.serial
    assert serial("y.x.w.test") == a.serial, "a wildcard stands for one label"
    assert serial("w.test") == a.serial
    assert serial("other.test") == a.serial


def test_alpn(make, ca):
    p = proxy(make, make.origin(), [ca.issue("s", "localhost", ["localhost"])],
              alpn=("h2", "http/1.1"))
    for offer, want in ((["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "h2"), (["x"], None),
                        ([], None)):
        with tls.connect(p.ports[0], tls.client_context(ca, alpn=offer)) as s:
            assert s.selected_alpn_protocol() == want
            if want != "h2":
                assert tls.get(s)[0].startswith("HTTP/1.1 200")


# ---- clients' certificates


def validation(ca, **kw):
    return {"validation_context": {"trusted_ca": {"filename": ca.path}, **kw}}


def handshakes(p, context):
    """Does a request go through? (TLS 1.3 tells a client late.)"""
    try:
        with tls.connect(p.ports[0], context) as s:
            return tls.get(s)[0].startswith("HTTP/1.1 200")
    except (ssl.SSLError, EOFError, ConnectionError, OSError):
        return False


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_certificates(make, ca, tmp_path, version):
    os.mkdir(tmp_path / "o")
    other = tls.Authority(tmp_path / "o", "other")
    server = ca.issue("s", "localhost", ["localhost"])
    good = ca.issue("c", "client", ["c.test"], uris=["spiffe://x/c"])
    gone = ca.issue("g", "gone", ["c.test"])
    old = ca.issue("e", "old", ["c.test"], days=-1)
    bad = other.issue("c", "client", ["c.test"])
    name = ca.issue("n", "client", ["n.test"])
    common = validation(ca, crl={"filename": ca.crl(gone)}, match_typed_subject_alt_names=[
        {"san_type": "DNS", "matcher": {"exact": "c.test"}}])
    o = make.origin()
    p = proxy(make, o, [server], common, require_client_certificate=True,
              hcm={"forward_client_cert_details": "SANITIZE_SET",
                   "set_current_client_cert_details": {"subject": True, "uri": True, "dns": True}})

    def ctx(cert):
        return tls.client_context(ca, cert, version=version)
    assert handshakes(p, ctx(good))
    xfcc = o.last.get("x-forwarded-client-cert")
    assert xfcc == 'Hash=%s;Subject="CN=client";URI=spiffe://x/c;DNS=c.test' % good.fingerprint()
    for cert, counter in ((None, "fail_verify_no_cert"), (bad, "fail_verify_error"),
                          (gone, "fail_verify_error"), (old, "fail_verify_error"),
                          (name, "fail_verify_san")):
        before = stat(p, counter)
        assert not handshakes(p, ctx(cert)), counter
        wait_stat(p, counter, before + 1)
    assert len(o.requests) == 1


def test_optional_client_certificate_and_pins(make, ca):
    good = ca.issue("c", "client", ["c.test"])
    other = ca.issue("d", "other", ["c.test"])
    o = make.origin()
    p = proxy(make, o, [ca.issue("s", "localhost", ["localhost"])],
              validation(ca, verify_certificate_hash=[good.fingerprint()]))
    assert handshakes(p, tls.client_context(ca))
    assert handshakes(p, tls.client_context(ca, good))
    assert not handshakes(p, tls.client_context(ca, other))
    wait_stat(p, "fail_verify_cert_hash", 1)


def test_xfcc_of_a_client_is_not_believed(make, ca):
    o = make.origin()
    p = proxy(make, o, [ca.issue("s", "localhost", ["localhost"])])
    with tls.connect(p.ports[0], tls.client_context(ca)) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: Hash=1\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 200")
    assert o.last.get("x-forwarded-client-cert") is None


# ---- sessions


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_resumption_survives_reload_and_rotation(make, ca, version):
    cert = ca.issue("s", "localhost", ["localhost"])
    p = proxy(make, make.origin(), [cert])
    context = tls.client_context(ca, version=version)

    def once(session=None):
        raw = socket.create_connection(("127.0.0.1", p.ports[0]), timeout=10)
        with context.wrap_socket(raw, server_hostname="localhost", session=session) as s:
            tls.get(s)
            return s.session, s.session_reused
    session, reused = once()
    assert not reused
    session, reused = once(session)
    assert reused, "whichever worker"
    cert.write(*ca.sign("localhost", ["localhost"]))
    assert p.admin("/reload", "POST").status == 200
    _, reused = once(session)
    assert reused
    assert stat(p, "session_reused") == 2


def test_no_tickets(make, ca):
    p = proxy(make, make.origin(), [ca.issue("s", "localhost", ["localhost"])],
              disable_stateless_session_resumption=True)
    with tls.connect(p.ports[0], tls.client_context(ca)) as s:
        tls.get(s)
        assert s.session is None or not s.session.has_ticket


# ---- rotation


def test_rotation_and_reloads_break_nothing(make, ca):
    """New certificate files and five reloads, with requests all the time on old and new connections."""
    cert = ca.issue("s", "localhost", ["localhost"])
    p = proxy(make, make.origin(), [cert])
    stop, errors, done = threading.Event(), [], [0, 0]

    def keep_alive():
        try:
            with tls.connect(p.ports[0], tls.client_context(ca)) as s:
                while not stop.is_set():
                    assert tls.get(s)[0].startswith("HTTP/1.1 200")
                    done[0] += 1
        except Exception as e:  # noqa: BLE001
            errors.append(e)

    def fresh():
        while not stop.is_set():
            try:
                with tls.connect(p.ports[0], tls.client_context(ca)) as s:
                    assert tls.get(s)[0].startswith("HTTP/1.1 200")
                    done[1] += 1
            except Exception as e:  # noqa: BLE001
                errors.append(e)
    threads = [threading.Thread(target=f) for f in (keep_alive, keep_alive, fresh, fresh)]
    for t in threads:
        t.start()
    try:
        for _ in range(5):
            new, key = ca.sign("localhost", ["localhost"])
            cert.write(new, key)
            assert p.admin("/reload", "POST").status == 200
            end = time.monotonic() + 10
            while True:
                with tls.connect(p.ports[0], tls.client_context(ca)) as s:
                    from cryptography import x509
                    shown = x509.load_der_x509_certificate(s.getpeercert(True)).serial_number
                if shown == new.serial_number:
                    break
                assert time.monotonic() < end
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert errors == [] and min(done) > 5


def test_bad_rotation_is_refused_and_the_old_certificate_stays(make, ca):
    cert = ca.issue("s", "localhost", ["localhost"])
    p = proxy(make, make.origin(), [cert])
    _, key = ca.sign("localhost", ["localhost"])
    cert.write(cert.cert, key)
    r = p.admin("/reload", "POST")
    assert r.status == 400 and b"does not belong to the certificate" in r.body
    old, old_key = ca.sign("localhost", ["localhost"], days=-1)
    cert.write(old, old_key)
    r = p.admin("/reload", "POST")
    assert r.status == 400 and b"expired on" in r.body
    with open(cert.chain, "w") as f:
        f.write("nothing")
    assert b"not a certificate in PEM" in p.admin("/reload", "POST").body
    os.unlink(cert.chain)
    assert b"cannot read" in p.admin("/reload", "POST").body
    assert handshakes(p, tls.client_context(ca))


# ---- hostile


def client_hello(name=b"localhost"):
    """A ClientHello as Python's ssl makes it."""
    out, context = ssl.MemoryBIO(), tls.client_context()
    o = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name.decode())
    with pytest.raises(ssl.SSLWantReadError):
        o.do_handshake()
    return out.read()


def closed(s, within=10):
    """The peer ends the connection, perhaps after an alert."""
    s.settimeout(within)
    try:
        while s.recv(4096):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x00" * 100,
    b"\x16\x03\x01\x00\x05hello" * 3,
    b"\x16\x03\x01\xff\xff" + b"a" * 70000,
    b"\x17\x03\x03\x00\x10" + b"x" * 16,
    b"\x15\x03\x01\x00\x02\x02\x28",
    b"\x80\x2e\x01\x00\x02" + b"a" * 44,
])
def test_garbage_ends_the_connection(make, ca, data):
    p = proxy(make, make.origin(), [ca.issue("s", "localhost", ["localhost"])])
    with socket.create_connection(("127.0.0.1", p.ports[0])) as s:
        try:
            s.sendall(data)
        except ConnectionError:
            pass
        assert closed(s)
    wait_stat(p, "connection_error", 1)
    assert handshakes(p, tls.client_context(ca))


def test_early_close_and_slow_bytes(make, ca):
    p = proxy(make, make.origin(), [ca.issue("s", "localhost", ["localhost"])])
    hello = client_hello()
    socket.create_connection(("127.0.0.1", p.ports[0])).close()
    for n in (1, 5, 50, len(hello) - 1):
        with socket.create_connection(("127.0.0.1", p.ports[0])) as s:
            s.sendall(hello[:n])
    wait_stat(p, "connection_error", 4)
    with socket.create_connection(("127.0.0.1", p.ports[0])) as s:
        s.sendall(hello[:100])
        s.shutdown(socket.SHUT_WR)
        assert closed(s)
    with socket.create_connection(("127.0.0.1", p.ports[0])) as s:
        for i in range(len(hello)):
            s.sendall(hello[i:i + 1])
        s.settimeout(10)
        assert s.recv(1) == b"\x16", "an answer to a hello in single bytes"
    assert handshakes(p, tls.client_context(ca))


def test_handshake_that_takes_too_long(make, ca):
    p = proxy(make, make.origin(), [ca.issue("s", "localhost", ["localhost"])],
              chain={"transport_socket_connect_timeout": "0.3s"})
    with socket.create_connection(("127.0.0.1", p.ports[0])) as s:
        s.sendall(client_hello()[:20])
        assert closed(s)
    p.wait_stat("listener.127.0.0.1_%d.downstream_cx_transport_socket_connect_timeout" % p.ports[0],
                1)


def test_renegotiation_is_refused(make, ca):
    import subprocess
    p = proxy(make, make.origin(), [ca.issue("s", "localhost", ["localhost"])])
    r = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:%d" % p.ports[0], "-tls1_2",
                        "-legacy_renegotiation"], input=b"R\n", capture_output=True, timeout=15)
    assert b"no renegotiation" in r.stderr + r.stdout
    assert handshakes(p, tls.client_context(ca))


def test_a_source_that_fails_is_closed_unread(make, ca):
    p = proxy(make, make.origin(), [ca.issue("s", "localhost", ["localhost"])])
    name = "listener.127.0.0.1_%d.downstream_cx_handshake_failures_exceeded" % p.ports[0]
    for _ in range(700):
        with socket.create_connection(("127.0.0.1", p.ports[0])) as s:
            try:
                s.sendall(b"x" * 20)
                closed(s)
            except ConnectionError:
                pass
        if p.stat(name) > 0:
            break
    assert p.stat(name) > 0
    assert stat(p, "connection_error") <= 2 * 200 * 2, "a worker each, perhaps two windows"


# ---- several chains, PROXY protocol


INSPECTOR = {"name": "i", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"}}
PROXY = {"name": "p", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"}}


def answer(text):
    return {"match": {"prefix": "/"}, "direct_response": {"status": 200,
                                                          "body": {"inline_string": text}}}


def chain(text, match, socket_=None):
    lis = config.listener("x", config.address(1), config.manager(
        [config.vhost("all", ["*"], [answer(text)])], {"stat_prefix": "h_" + text}))
    out = {**lis["filter_chains"][0], "filter_chain_match": match}
    if socket_:
        out["transport_socket"] = socket_
    return out


def chains(make, listed, **fields):
    from harness.proxy import new_ports
    admin, port = new_ports(2)
    lis = {"name": "l", "address": config.address(port), "filter_chains": listed, **fields}
    text = config.dump(config.bootstrap(admin, [lis], []))
    return make.text(text, ports=[port], admin=admin, name="envoy.yaml")


def test_chains_by_name_and_transport(make, ca):
    a = tls.downstream([ca.issue("a", "a.test", ["a.test"])])
    w = tls.downstream([ca.issue("w", "w", ["*.test", "x.y.test"])])
    p = chains(make, [
        chain("a", {"server_names": ["a.test"]}, a),
        chain("wild", {"server_names": ["*.test"]}, w),
        chain("plain", {"transport_protocol": "raw_buffer"}),
        chain("deep", {"server_names": ["*.y.test"], "transport_protocol": "tls"}, w),
    ])
    for name, want in (("a.test", b"a"), ("b.test", b"wild"), ("A.TEST", b"a"),
                       ("x.y.test", b"deep")):
        with tls.connect(p.ports[0], tls.client_context(), name) as s:
            assert tls.get(s)[2] == want
    with socket.create_connection(("127.0.0.1", p.ports[0])) as s:
        assert tls.get(s)[2] == b"plain"
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        tls.connect(p.ports[0], tls.client_context(), "other.example")
    p.wait_stat("listener.127.0.0.1_%d.no_filter_chain_match" % p.ports[0], 1)
    assert p.stat("http.h_a.downstream_cx_total") == 2
    # The chains come in another order, one goes: open connections are served on.
    with tls.connect(p.ports[0], tls.client_context(), "b.test") as s:
        assert tls.get(s)[2] == b"wild"
        assert p.admin("/reload", "POST").status == 200
        assert tls.get(s)[2] == b"wild"


def test_proxy_protocol_in(make, ca):
    o = make.origin()
    p = chains(make, [chain("plain", {"transport_protocol": "raw_buffer"}),
                      chain("tls", {"transport_protocol": "tls"},
                            tls.downstream([ca.issue("s", "localhost", ["localhost"])]))],
               listener_filters=[PROXY, INSPECTOR])
    assert o
    v2 = b"\r\n\r\n\0\r\nQUIT\n" + b"\x21\x11\x00\x0c" + bytes([9, 8, 7, 6, 5, 4, 3, 2]) + \
        struct.pack("!HH", 1111, 443)
    for header in (b"PROXY TCP4 9.8.7.6 5.4.3.2 1111 443\r\n", v2, b"PROXY UNKNOWN\r\n",
                   b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"):
        for cut in (0, 1, len(header) - 1, len(header)):
            with socket.create_connection(("127.0.0.1", p.ports[0])) as s:
                if cut:
                    s.sendall(header[:cut])
                    time.sleep(0.02)
                s.sendall(header[cut:] + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert s.recv(100).startswith(b"HTTP/1.1 200")
        raw = socket.create_connection(("127.0.0.1", p.ports[0]))
        raw.sendall(header)
        with tls.client_context(ca).wrap_socket(raw, server_hostname="localhost") as s:
            assert tls.get(s)[2] == b"tls"
    name = "listener.127.0.0.1_%d.downstream_cx_proxy_proto_error" % p.ports[0]
    for n, bad in enumerate((b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"PROXY TCP4 1 2 3 4\r\n",
                             b"PROXY " + b"a" * 200, v2[:12] + b"\x31" + v2[13:])):
        with socket.create_connection(("127.0.0.1", p.ports[0])) as s:
            s.sendall(bad)
            assert closed(s)
        p.wait_stat(name, n + 1)


def test_filters_timeout(make):
    p = chains(make, [chain("plain", {})], listener_filters=[PROXY],
               listener_filters_timeout="0.3s")
    with socket.create_connection(("127.0.0.1", p.ports[0])) as s:
        s.sendall(b"PROXY ")
        assert closed(s)
    p.wait_stat("listener.127.0.0.1_%d.downstream_pre_cx_timeout" % p.ports[0], 1)


# ---- refused at load


@pytest.mark.parametrize("what, said", [
    ({"common_tls_context": {}}, "there is no certificate"),
    ({"common_tls_context": {"tls_params": {"tls_minimum_protocol_version": "TLSv1_0"}}},
     "versions below 1.2 are not safe"),
    ({"common_tls_context": {"tls_params": {"cipher_suites": ["NOPE"]}}}, 'cipher "NOPE"'),
    ({"common_tls_context": {"tls_params": {"ecdh_curves": ["P-1"]}}}, "the curves"),
    ({"common_tls_context": {"validation_context": {"trusted_ca": {"inline_string": "x"}}}},
     "trusted_ca"),
    ({"common_tls_context": {"tls_certificate_sds_secret_configs": [{"name": "s"}]}},
     'there is no secret "s"'),
])
def test_refused(tmp_path, ca, what, said):
    from harness.proxy import run_once
    cert = ca.issue("s", "localhost", ["localhost"])
    c = what["common_tls_context"]
    if c and "tls_certificate_sds_secret_configs" not in c:
        c["tls_certificates"] = [cert.config()]
    lis = {"name": "l", "address": config.address(1), "filter_chains": [chain("x", {}, {
        "name": "t", "typed_config": {"@type": tls.TLS + "DownstreamTlsContext", **what}})]}
    path = tmp_path / "e.yaml"
    path.write_text(config.dump(config.bootstrap(2, [lis], [])))
    code, out, err = run_once("-t", "-c", str(path))
    assert code != 0 and said in err + out


# ---- upstreams


class TlsOrigin:
    """Serves requests over TLS, and remembers who came."""

    def __init__(self, cert, ca=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert.chain, cert.key_path)
        if ca:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(ca.path)
        self.names, self.peers, self.first = [], [], []
        self.context.sni_callback = lambda s, name, c: self.names.append(name)
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                raw, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw):
        try:
            raw.settimeout(20)
            if raw.recv(1, socket.MSG_PEEK) == b"P":
                line = b""
                while not line.endswith(b"\r\n"):
                    line += raw.recv(1)
                self.first.append(line)
            with self.context.wrap_socket(raw, server_side=True) as s:
                self.peers.append(s.getpeercert(True))
                data = b""
                while True:
                    while b"\r\n\r\n" not in data:
                        piece = s.recv(65536)
                        if not piece:
                            return
                        data += piece
                    head, data = data.split(b"\r\n\r\n", 1)
                    s.sendall(reply(200, pattern(100000) if b"/big" in head else b"ok"))
        except (OSError, ssl.SSLError):
            pass

    def stop(self):
        self.sock.close()


@pytest.fixture
def origins():
    made = []
    yield made
    for o in made:
        o.stop()


def trusted(ca, *names):
    v = {"trusted_ca": {"filename": ca.path}}
    if names:
        v["match_typed_subject_alt_names"] = [
            {"san_type": "DNS", "matcher": {"exact": n}} for n in names]
    return {"validation_context": v}


def test_upstream_tls(make, ca, origins):
    o = TlsOrigin(ca.issue("u", "up.test", ["up.test"]))
    origins.append(o)
    p = make.proxy(o.port, cluster={"transport_socket": tls.upstream(trusted(ca, "up.test"),
                                                                     sni="up.test")})
    for target in ("/", "/big", "/"):
        r = p.get(target)
        assert r.status == 200 and (target == "/" or r.body == pattern(100000))
    assert set(o.names) == {"up.test"}
    assert 1 <= p.stat("cluster.main.ssl.handshake") <= 2, "one connection a worker"


@pytest.mark.parametrize("what", ["name", "ca", "expired"])
def test_upstream_that_is_not_who_it_should_be(make, ca, origins, tmp_path, what):
    os.mkdir(tmp_path / "o")
    other = tls.Authority(tmp_path / "o", "other")
    o = TlsOrigin(ca.issue("u", "up", ["up.test"], days=-1 if what == "expired" else 1))
    origins.append(o)
    p = make.proxy(o.port, cluster={"transport_socket": tls.upstream(
        trusted(other if what == "ca" else ca, "else.test" if what == "name" else "up.test"))})
    assert p.get().status == 503
    assert p.stat("cluster.main.ssl.fail_verify_%s" % ("san" if what == "name" else "error")) >= 1


def test_upstream_mtls_and_resumption(make, ca, origins):
    o = TlsOrigin(ca.issue("u", "up", ["up.test"]), ca)
    origins.append(o)
    mine = ca.issue("m", "me", ["me.test"])
    p = make.proxy(o.port, cluster={"transport_socket": tls.upstream(
        {**trusted(ca, "up.test"), "tls_certificates": [mine.config()]}),
        "max_requests_per_connection": 1})
    for _ in range(6):
        assert p.get().status == 200
    assert o.peers and o.peers[0] is not None
    assert p.stat("cluster.main.ssl.session_reused") >= 1


def test_proxy_protocol_out(make, ca, origins):
    o = TlsOrigin(ca.issue("u", "up", ["up.test"]))
    origins.append(o)
    p = make.proxy(o.port, cluster={"transport_socket": {
        "name": "p", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3."
                     "ProxyProtocolUpstreamTransport",
            "config": {"version": "V1"},
            "transport_socket": tls.upstream(trusted(ca, "up.test"))}}})
    ports = []
    for _ in range(4):
        with p.connect() as c:
            ports.append(c.sock.getsockname()[1])
            assert c.get().status == 200
            assert c.get("/2").status == 200
    want = [b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n" % (port, p.ports[0])
            for port in ports for _ in range(2)]
    assert o.first == want, "a connection for each request"


# ---- the simple file


def test_simple_file(make, ca):
    cert = ca.issue("s", "localhost", ["localhost"])
    p = make.march(make.origin(), fields={"certificates": [
        {"name": "c", "cert_chain_file": cert.chain, "private_key_file": cert.key_path}]})
    assert p.get().status == 200, "plain text and TLS on one port"
    with tls.connect(p.ports[0], tls.client_context(ca, alpn=["http/1.1"])) as s:
        assert tls.get(s)[0].startswith("HTTP/1.1 200")
    listed = p.admin_json("/certs")["certificates"]
    assert {c["subject"] for c in listed} == {"CN=localhost"}


def test_simple_file_redirect(make, ca):
    from harness.proxy import new_ports
    cert = ca.issue("s", "localhost", ["localhost"])
    o = make.origin()
    port, plain = new_ports(2)
    p = make.text(config.dump({
        "admin": "127.0.0.1:@ADMIN@",
        "listen": [{"address": "127.0.0.1:%d" % port, "tls": True},
                   {"address": "127.0.0.1:%d" % plain, "redirect": True}],
        "certificates": [{"name": "c", "cert_chain_file": cert.chain,
                          "private_key_file": cert.key_path}],
        "services": [{"name": "s", "hosts": ["127.0.0.1"], "port": o.port}],
        "routes": [{"name": "r", "prefix": "/", "cluster_name": "s"}]}), ports=[plain, port])
    for method, status in (("GET", 301), ("HEAD", 301), ("POST", 308)):
        r = p.request(method, "/a?b=c")
        assert r.status == status
        assert r.get("location") == "https://test/a?b=c"
    assert p.get("/.well-known/acme-challenge/x").status == 200
    with tls.connect(port, tls.client_context(ca)) as s:
        assert tls.get(s)[0].startswith("HTTP/1.1 200")
