# SPDX-License-Identifier: AGPL-3.0-or-later
"""TLS of the scenarios: certificates of the run, what each proxy is told, and a look at what it really speaks."""
import os
import re
import subprocess

from .machine import WORK

# All negotiate the same: the load offers nothing else.
CIPHER = "TLS_AES_128_GCM_SHA256"
GROUP = "X25519"
# Variant of a peer: bits of the certificate's key, whether sessions may be resumed.
VARIANTS = {"tls": (256, True), "hs": (256, False), "hs384": (384, False)}
CLIENT_CONF = """openssl_conf = all
[all]
ssl_conf = modules
[modules]
system_default = load
[load]
MinProtocol = TLSv1.3
Ciphersuites = %s
Groups = %s
""" % (CIPHER, GROUP)


def scheme(variant):
    return "https" if variant in VARIANTS else "http"


def pem(bits):
    return os.path.join(WORK, "p%d.pem" % bits)


def prepare():
    """Certificates good for a month, made when there are none or when they are a week old, and the load's settings."""
    for bits in (256, 384):
        path = pem(bits)
        fresh = ["openssl", "x509", "-checkend", str(21 * 86400), "-noout", "-in", path]
        if os.path.exists(path) and subprocess.run(fresh, capture_output=True).returncode == 0:
            continue
        for suffix in (".key", ".crt"):
            if os.path.exists(path + suffix):
                os.unlink(path + suffix)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-%d" % bits,
                        "-nodes", "-days", "30", "-sha%d" % bits, "-subj", "/CN=bench.local", "-addext",
                        "subjectAltName=DNS:bench.local,IP:127.0.0.1", "-keyout", path + ".key", "-out",
                        path + ".crt"], check=True, capture_output=True)
        with open(path, "w", encoding="ascii") as out:
            os.chmod(path, 0o600)
            for suffix in (".crt", ".key"):
                with open(path + suffix, encoding="ascii") as f:
                    out.write(f.read())
    with open(os.path.join(WORK, "openssl.cnf"), "w", encoding="ascii") as f:
        f.write(CLIENT_CONF)


def client_env():
    """wrk has no option for ciphers; OpenSSL's own configuration does it."""
    return {**os.environ, "OPENSSL_CONF": os.path.join(WORK, "openssl.cnf")}


def values(base, variant):
    """What goes into the templates in place of @LISTEN@ and @TLS@."""
    if variant in VARIANTS:
        bits, resume = VARIANTS[variant]
        return SECURE[base](pem(bits) + ".crt", pem(bits) + ".key", resume)
    plain = {"nghttpx": ";no-tls"}
    h2c = {"nginx": " http2", "haproxy": " proto h2", "nghttpx": ";no-tls"}
    return {"LISTEN": (h2c if variant == "h2c" else plain).get(base, ""), "TLS": ""}


def nginx(crt, key, resume):
    lines = ["ssl_certificate %s;" % crt, "ssl_certificate_key %s;" % key, "ssl_protocols TLSv1.2 TLSv1.3;"]
    lines += ["ssl_session_cache shared:bench:10m;"] if resume else ["ssl_session_cache off;",
                                                                     "ssl_session_tickets off;"]
    return {"LISTEN": " ssl http2", "TLS": "\n        ".join(lines)}


def haproxy(crt, _, resume):
    return {"LISTEN": " ssl crt %s alpn h2,http/1.1%s" % (crt[:-4], "" if resume else " no-tls-tickets"),
            "TLS": "" if resume else "tune.ssl.cachesize 0"}


def h2o(crt, key, resume):
    return {"LISTEN": ", ssl: {certificate-file: %s, key-file: %s, minimum-version: TLSv1.2}" % (crt, key),
            "TLS": "" if resume else "ssl-session-resumption: {mode: off}"}


def nghttpx(crt, key, _):
    return {"LISTEN": "", "TLS": "private-key-file=%s\ncertificate-file=%s" % (key, crt)}


def marchproxy(crt, key, resume):
    off = "" if resume else ", disable_stateless_session_resumption: true"
    return {"LISTEN": "", "TLS": (
        'transport_socket: { name: envoy.transport_sockets.tls, typed_config: { "@type": type.googleapis.com/'
        'envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, common_tls_context: { alpn_protocols: '
        '[h2, http/1.1], tls_certificates: [{ certificate_chain: { filename: "%s" }, private_key: { filename: "%s" '
        '} }] }%s } }' % (crt, key, off))}


SECURE = {"nginx": nginx, "haproxy": haproxy, "h2o": h2o, "nghttpx": nghttpx, "marchproxy": marchproxy}


def ask(port, alpn, *more):
    """One request by openssl s_client: what it says about the connection, and the answer."""
    request = b"GET /1k HTTP/1.1\r\nHost: bench.local\r\nConnection: close\r\n\r\n" if alpn != "h2" else b""
    end = [] if alpn != "h2" else ["-no_ign_eof"]
    p = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:%d" % port, "-ign_eof", "-alpn", alpn,
                        "-groups", GROUP, "-ciphersuites", CIPHER, *end, *more], input=request,
                       capture_output=True, timeout=10)
    return p.stdout.decode("latin-1")


def check(peer, scenario):
    """That the peer speaks what its row says; raises when it does not."""
    if peer.variant not in VARIANTS:
        return  # h2load tells about HTTP/2 without TLS by itself
    bits, resume = VARIANTS[peer.variant]
    saved = os.path.join(WORK, peer.key + ".session")
    if os.path.exists(saved):
        os.unlink(saved)
    want = {"cipher": "New, TLSv1.3, Cipher is " + CIPHER, "group": "Server Temp Key: %s," % GROUP,
            "key": "Server public key is %d bit" % bits}
    said = ask(peer.port, "h2")
    want["h2"] = "ALPN protocol: h2"
    missing(peer, said, want)
    want["h2"] = "ALPN protocol: http/1.1"
    want["answer"] = "x" * 1024
    missing(peer, ask(peer.port, "http/1.1", "-sess_out", saved), want)
    if not resume and os.path.exists(saved):
        again = ask(peer.port, "http/1.1", "-sess_in", saved)
        if not re.search(r"^New, TLSv1.3", again, re.M):
            raise RuntimeError("%s resumes sessions in %s" % (peer.key, scenario.name))


def missing(peer, said, want):
    lost = [k for k, text in want.items() if text not in said]
    if lost:
        raise RuntimeError("%s speaks something else (%s): %s" % (peer.key, ", ".join(lost), said[-1500:]))
