# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is measured, with which load, and the target against the best peer (docs: BENCH)."""
import base64
import hashlib
import hmac
import json

BROWSER = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.9", "Accept-Encoding: gzip, deflate, br",
    "Cookie: sid=3f9a8b7c6d5e4f3a2b1c; theme=dark; _ga=GA1.2.123456789.1690000000",
    "Cache-Control: max-age=0", "Upgrade-Insecure-Requests: 1", "Sec-Fetch-Mode: navigate",
    "Referer: https://bench.local/index.html"]
# What each stock filter may add, in us; together they have no target.
FILTERS = {"auth": 0.5, "auth_uncached": 3.0, "license": 0.3, "metrics": 0.3, "filters": None}
TOKEN_SECRET = "the secret of the benchmark, of no use to anybody"
LICENSE = {"license_key": "PENG-1234-5678-90AB-CDEF-WXYZ", "is_enterprise": True, "max_proxies": 100}
PEERS = ["nginx", "haproxy", "h2o", "nghttpx"]
TLS_BULK = ["nginx", "nginx-256k", "haproxy", "h2o", "nghttpx"]
BULK = ["nginx", "nginx-256k", "haproxy", "haproxy-splice", "h2o", "nghttpx"]


class Scenario:
    def __init__(self, name, text, path="/1k", wrk=(), h2load=(), peers=PEERS, variant="plain", target=None,
                 stretch=None, kind="load"):
        self.name, self.text, self.path = name, text, path
        self.wrk, self.h2load = list(wrk), list(h2load)  # arguments of the one that makes the load
        self.peers, self.variant, self.kind = peers, variant, kind
        self.target, self.stretch = target, stretch

    def entries(self, wanted):
        """(proxy, variant, path) of each entry; wanted: names, None for all."""
        out = []
        if self.kind == "filters":
            return [("marchproxy", v, self.path) for v in ["plain"] + list(FILTERS)]
        for name in self.peers + ["marchproxy"]:
            if wanted is None or name in wanted or name.split("-")[0] in wanted:
                out.append((name, self.variant, self.path))
        if self.kind == "routes":
            out += [(n, "plain", "/1k") for n, _, _ in list(out)]
        return out


def bearer():
    """A token as a service would have it, good until 2100."""
    def b64(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    claims = {"sub": "3f9a8b7c-6d5e-4f3a-2b1c-0a9b8c7d6e5f", "iss": "https://id.bench.local", "aud": "api",
              "iat": 1700000000, "exp": 4102444800, "scope": "read write"}
    signed = b64(b'{"alg":"HS256","typ":"JWT"}') + b"." + b64(json.dumps(claims, separators=(",", ":")).encode())
    mac = hmac.new(TOKEN_SECRET.encode(), signed, hashlib.sha256).digest()
    return ["-H", "Authorization: Bearer " + (signed + b"." + b64(mac)).decode()]


def browser():
    return [x for h in BROWSER for x in ("-H", h)]


SCENARIOS = [
    Scenario("h1_1k", "64 connections, 1 KB", wrk=["-c64"], target=0.75, stretch=0.68),
    Scenario("h1_brow", "the same with 9 browser fields", wrk=["-c64"] + browser(), target=0.75,
             stretch=0.68),
    Scenario("h1_c512", "512 connections, 1 KB", wrk=["-c512"], target=0.60),
    Scenario("h1_64k", "32 connections, 64 KB", path="/64k", wrk=["-c32"], peers=BULK, target=0.90),
    Scenario("h1_1m", "8 connections, 1 MB", path="/1m", wrk=["-c8"], peers=BULK, target=0.70),
    # nghttpx answers a part of these with 502, so it is left out.
    Scenario("h1_conn", "64 connections, one request each", wrk=["-c64", "-H", "Connection: close"],
             peers=PEERS[:3], target=0.90, stretch=0.82),
    Scenario("post16k", "64 connections, POST of 16 KB", wrk=["-c64", "-s", "post16k.lua"], target=0.70),
    Scenario("h1_1k_log", "h1_1k, everybody logs JSON lines to a file", wrk=["-c64"], variant="log",
             target=0.75),
    Scenario("h2c_1k", "HTTP/2 without TLS, 16 connections of 16 streams, 1 KB", h2load=["-c16", "-m16"],
             variant="h2c", target=0.82, stretch=0.75),
    Scenario("h2tls_1k", "the same over TLS", h2load=["-c16", "-m16"], variant="tls", target=0.80),
    Scenario("tls_1k", "h1_1k over TLS", wrk=["-c64"], variant="tls", target=0.80),
    Scenario("tls_1m", "h1_1m over TLS", path="/1m", wrk=["-c8"], peers=TLS_BULK, variant="tls", target=0.95),
    # nghttpx cannot be told not to resume sessions, so it is left out.
    Scenario("tls_hs", "a full handshake for each request, P-256", wrk=["-c16", "-H", "Connection: close"],
             peers=PEERS[:3], variant="hs", target=1.0),
    Scenario("tls_hs384", "a full handshake for each request, P-384", wrk=["-c16", "-H", "Connection: close"],
             peers=PEERS[:3], variant="hs384", target=1.0),
    Scenario("routes", "h1_1k with 1000 prefix routes", path="/svc777/x", wrk=["-c64"],
             peers=["nginx", "haproxy"], variant="routes", kind="routes", target=0.3),
    Scenario("filters", "h1_1k with a token: what each stock filter adds", wrk=["-c64"] + bearer(),
             peers=[], kind="filters"),
    Scenario("idle_h1", "bytes of memory (PSS) per idle connection", kind="idle", target=300),
    Scenario("idle_tls", "bytes of memory (PSS) per idle TLS connection", variant="tls", kind="idle",
             target=12 * 1024),
]
BY_NAME = {s.name: s for s in SCENARIOS}
