# SPDX-License-Identifier: AGPL-3.0-or-later
"""One sample: load from the other CPU, CPU time of the proxy, calibration on both sides."""
import os
import re
import resource
import socket
import ssl
import subprocess
import time

from . import machine, tls
from .machine import BENCH, LOAD_CPU

UNITS = {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6}


def load(scenario, port, path, seconds):
    """What the generator of the scenario counted in so many seconds."""
    return (h2load if scenario.h2load else wrk)(scenario, port, path, seconds)


def wrk(scenario, port, path, seconds):
    command = ["taskset", "-c", str(LOAD_CPU), "wrk", "-t1", "-d%ds" % seconds, "--latency"]
    for arg in scenario.wrk:
        command.append(os.path.join(BENCH, "loads", arg) if arg.endswith(".lua") else arg)
    command.append("%s://127.0.0.1:%d%s" % (tls.scheme(scenario.variant), port, path))
    p = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=seconds + 30, env=tls.client_env())
    return parse_wrk(p.stdout)


def parse_wrk(text):
    done = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
    if not done:
        raise RuntimeError("wrk said: %s" % text)
    out = {"requests": int(done[1]), "seconds": float(done[2]) * UNITS[done[3]] / 1e6}
    for q in ("50", "99"):
        m = re.search(r"\s%s%%\s+([\d.]+)(us|ms|s|m)" % q, text)
        out["p%s_us" % q] = float(m[1]) * UNITS[m[2]] if m else None
    m = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    out["errors"] = sum(int(x) for x in m.groups()) if m else 0
    m = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    out["bad"] = int(m[1]) if m else 0
    return out


def h2load(scenario, port, path, seconds):
    command = ["taskset", "-c", str(LOAD_CPU), "h2load", "-t1", "-D%d" % seconds,
               "--tls13-ciphers=" + tls.CIPHER, "--groups=" + tls.GROUP] + scenario.h2load
    command.append("%s://127.0.0.1:%d%s" % (tls.scheme(scenario.variant), port, path))
    p = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=seconds + 30, env=tls.client_env())
    return parse_h2load(p.stdout, tls.scheme(scenario.variant) == "https", seconds)


def parse_h2load(text, secure, seconds):
    """Requests under way when the time is over are not counted, as with wrk."""
    m = re.search(r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, "
                  r"(\d+) errored, (\d+) timeout", text)
    protocol = re.search(r"Application protocol: (\S+)", text)
    if not m or not protocol or protocol[1] != ("h2" if secure else "h2c"):
        raise RuntimeError("h2load said: %s" % text[-2000:])
    done, good, failed, errored, timeout = (int(x) for x in m.groups())
    return {"requests": good, "seconds": float(seconds), "p50_us": None, "p99_us": None,
            "errors": failed + errored + timeout, "bad": done - good}


def take(scenario, peer, path, seconds):
    before = machine.calibrate()
    cpu = peer.group.cpu_ns()
    r = load(scenario, peer.port, path, seconds)
    cpu = peer.group.cpu_ns() - cpu
    after = machine.calibrate()
    r["us"] = cpu / 1e3 / max(1, r["requests"])
    r["rps"] = r["requests"] / r["seconds"]
    r["calibration"] = (before + after) / 2
    return r


# ---- memory of idle connections

REQUEST = b"GET /1k HTTP/1.1\r\nHost: localhost\r\nUser-Agent: idle/1.0\r\n\r\n"


def open_idle(port, n, secure):
    there, context = [], ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    for _ in range(n):
        s = socket.create_connection(("127.0.0.1", port), 10)
        if secure:
            s = context.wrap_socket(s)
        s.sendall(REQUEST)
        got = b""
        while not got.endswith(b"x" * 1024):
            data = s.recv(65536)
            if not data:
                raise RuntimeError("closed after %d connections" % len(there))
            got += data
        there.append(s)
    return there


def idle_bytes(peer, n):
    """Memory that each further idle connection costs, after one request on each."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    n = min(n, peer.idle_max, hard - 1000)
    secure = tls.scheme(peer.variant) == "https"
    there = open_idle(peer.port, 100, secure)
    time.sleep(0.5)
    before = peer.group.pss_bytes()
    try:
        there += open_idle(peer.port, n, secure)
        time.sleep(1.5)
        used = peer.group.pss_bytes() - before
    finally:
        for s in there:
            s.close()
    return {"connections": n, "bytes": used / n, "pss_kb": before // 1024}
