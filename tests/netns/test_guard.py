# SPDX-License-Identifier: AGPL-3.0-or-later
"""The guard in front of a proxy, in network namespaces: what it lets through, what it stops, and that it never lets go."""
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest
import world
from world import CLIENT, CLIENT6, OTHER, SERVER, SERVER6, Proxy, World, until

OFF = "rate_limit: {enabled: false}"
UDP_PORT = 4444


@pytest.mark.parametrize("mtu", [1500, 9000])
@pytest.mark.parametrize("mode", ["native", "tcx", "skb"])
def test_traffic_passes(mode, mtu):
    with World(offloads=mode != "native", mtu=mtu) as w:
        proxy = Proxy(w, OFF, "mode: skb" if mode == "skb" else "").ready()
        assert proxy.mode() == mode, proxy.text()
        assert w.get().startswith("HTTP/1.1 503")
        assert w.get(CLIENT6, server=SERVER6).startswith("HTTP/1.1 503")
        until(lambda: proxy.stat("xdp.http_packets") >= 2)
        assert proxy.stat("xdp.ip6_packets") > 0
        if shutil.which("iperf3"):
            server = subprocess.Popen(["nsenter", f"--net=/run/netns/{w.server}", "iperf3", "-s", "-1"], stdout=subprocess.DEVNULL)
            try:
                out = until(lambda: w.run(w.client, "iperf3", "-c", SERVER, "-n", "30M", check=False, timeout=60))
                assert "receiver" in out, out
            finally:
                server.kill()
                server.wait(10)
        assert proxy.stat("xdp.dropped") == 0


def test_rate(net):
    """One window of ten minutes: of 50,000 packets 10,000 pass; another source is not concerned."""
    proxy = Proxy(net, "rate_limit: {window_ns: 600000000000, max_packets: 10000}").ready()
    assert proxy.mode() == net.expected
    sender = net.socket(net.client, socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind((CLIENT, 0))
    for _ in range(50000):
        sender.sendto(b"x", (SERVER, UDP_PORT))
    dropped = until(lambda: (n := proxy.stat("xdp.rate_limited")) >= 39000 and n)
    assert abs(50000 - dropped - 10000) <= 200
    assert net.get(OTHER).startswith("HTTP/1.1 503")
    with pytest.raises(OSError):
        net.connect(CLIENT, timeout=0.5)


def syn(source, port):
    """An IPv4 TCP SYN from source, without an IP checksum (the kernel puts it in)."""
    src, dst = socket.inet_aton(source), socket.inet_aton(SERVER)
    tcp = struct.pack("!HHIIBBHHH", port, 80, random.getrandbits(32), 0, 5 << 4, 2, 65535, 0, 0)
    pseudo = src + dst + struct.pack("!BBH", 0, 6, len(tcp))
    total = sum(struct.unpack("!16H", pseudo + tcp))
    total = (total & 0xffff) + (total >> 16)
    total = (total & 0xffff) + (total >> 16)
    tcp = tcp[:16] + struct.pack("!H", ~total & 0xffff) + tcp[18:]
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + src + dst + tcp


def test_syn_flood(net):
    net.write(net.server, "net/ipv4/tcp_syncookies", "2")
    if net.expected == "native":
        # Or what the card sends back would wait (docs/kernel.md); without limits of its own it lets everything pass.
        net.run(net.client, "ip", "link", "set", "dev", "mpc0", "xdpdrv", "object", world.guard_object(), "section", "xdp.frags")
    cookies = "always" if net.expected == "native" else "flood"
    proxy = Proxy(net, f"syn_limit: {{cookies: {cookies}, flood_syns_per_second: 500}}").ready()
    raw = net.socket(net.client, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    frames = [syn(f"10.{random.randrange(100, 250)}.{random.randrange(256)}.{random.randrange(1, 255)}", 1024 + i)
              for i in range(4000)]
    net.run(net.server, "ip", "route", "add", "10.0.0.0/8", "via", CLIENT)
    done = threading.Event()

    def flood():
        while not done.is_set():
            for i, frame in enumerate(frames):
                raw.sendto(frame, (SERVER, 0))
                if i % 40 == 0:
                    time.sleep(0.001)  # some ten thousand a second

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        if net.expected == "native":
            until(lambda: proxy.stat("xdp.syn_cookies") > 1000)
        else:
            until(lambda: proxy.stat("xdp.ip4_packets") > 4000)
        times = []
        for _ in range(10):
            begin = time.monotonic()
            net.connect(OTHER, timeout=5).close()
            times.append(time.monotonic() - begin)
    finally:
        done.set()
        thread.join(20)
    # A lost SYN would cost a second.
    assert sorted(times)[5] < 0.1, times
    assert net.get(OTHER).startswith("HTTP/1.1 503")


def test_malformed_client_is_banned(net):
    proxy = Proxy(net, "ban: {duration: 4s, window: 60s, protocol_errors: 20}").ready()
    for _ in range(19):
        assert net.get(request=b"BAD\r\n\r\n").startswith("HTTP/1.1 400")
    assert proxy.json("/deny_list?format=json")["entries"][0]["list"] == "allow"
    # An open connection is the probe: its bytes are answered until the packets are dropped.
    probe = net.connect(timeout=0.02)
    assert net.get(request=b"BAD\r\n\r\n").startswith("HTTP/1.1 400")
    last = time.monotonic()
    answered = last
    for _ in range(10):
        try:
            probe.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            probe.recv(4096)
            answered = time.monotonic()
        except socket.timeout:
            break
    probe.close()
    assert answered - last < 0.1, "the client was served after its ban"
    with pytest.raises(socket.timeout):
        net.connect(CLIENT, timeout=0.5)
    assert net.get(OTHER).startswith("HTTP/1.1 503")
    entry = proxy.json("/deny_list?format=json")["entries"][0]
    assert (entry["source"], entry["reason"], entry["origin"]) == (CLIENT, "protocol_errors", "verdict")
    assert entry["packets_dropped"] > 0 and 0 < entry["seconds_left"] <= 4
    until(lambda: [s for s in [net.socket(net.client, socket.AF_INET, socket.SOCK_STREAM)]
                   if s.bind((CLIENT, 0)) is None and s.settimeout(1) is None and s.connect_ex((SERVER, 80)) == 0])
    until(lambda: proxy.stat("xdp.deny_entries") == 0)


def test_lists_by_hand(net):
    proxy = Proxy(net, "allow: [10.99.0.3]").ready()
    assert "OK" in proxy.admin("/deny_list/deny?source=10.99.0.0/24&seconds=600", "POST")
    with pytest.raises(OSError):
        net.connect(CLIENT, timeout=0.5)
    assert net.get(OTHER).startswith("HTTP/1.1 503")  # the allow list wins
    assert " 409 " in proxy.admin("/deny_list/remove?source=10.99.0.3", "POST")
    assert " 404 " in proxy.admin("/deny_list/remove?source=10.99.0.99", "POST")
    assert " 400 " in proxy.admin("/deny_list/deny?source=nobody", "POST")
    proxy.admin("/deny_list/remove?source=10.99.0.0/24", "POST")
    assert net.get(CLIENT).startswith("HTTP/1.1 503")


class Stream:
    """Packets from a denied source, a few thousand a second; whatever arrives has met no guard."""

    def __init__(self, net):
        self.out = net.socket(net.client, socket.AF_INET, socket.SOCK_DGRAM)
        self.out.bind((CLIENT, 0))
        self.sink = net.socket(net.server, socket.AF_INET, socket.SOCK_DGRAM)
        self.sink.bind((SERVER, UDP_PORT))
        self.sink.setblocking(False)
        self.sent, self.pause_max, self.done = 0, 0.0, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        last = time.monotonic()
        while not self.done.is_set():
            self.out.sendto(b"x", (SERVER, UDP_PORT))
            self.sent += 1
            now = time.monotonic()
            self.pause_max, last = max(self.pause_max, now - last), now
            time.sleep(0.0001)

    def leaked(self):
        n = 0
        try:
            while True:
                self.sink.recv(10)
                n += 1
        except BlockingIOError:
            return n

    def stop(self):
        self.done.set()
        self.thread.join(20)
        self.out.close()
        self.sink.close()


def test_no_gap(net):
    """kill -9, restart, an upgrade beside the old process, reload: no packet of the denied source gets through."""
    deny = f"deny: [{CLIENT}]"
    proxy = Proxy(net, deny).ready()
    stream = Stream(net)
    try:
        time.sleep(0.3)
        assert stream.leaked() == 0
        proxy.kill()
        second = Proxy(net, deny).ready()
        assert "taken_over=true" in second.text()
        # Upgrade: the next one starts while this one runs, then this one ends.
        third = Proxy(net, deny, ports=(81, 9902))
        until(lambda: "the guard is attached" in third.text(), 60)
        second.stop()
        time.sleep(0.1)
        assert stream.leaked() == 0
        # One that cannot start leaves what it found.
        fails = Proxy(net, deny, ports=(81, 9902))
        assert fails.process.wait(60) == 1, fails.text()
        assert "taken_over=true" in fails.text()
        third.kill()
        fourth = Proxy(net, deny).ready()
        fourth.write(deny + "\n  rate_limit: {max_packets: 77}")
        assert "taken_over=true" in fourth.text()
        assert " 200 " in fourth.admin("/reload", "POST")
        time.sleep(0.2)
        assert stream.leaked() == 0
        assert stream.sent > 1000
        assert fourth.json("/deny_list?format=json")["entries"][0]["packets_dropped"] > 1000
    finally:
        stream.stop()
    fourth.stop()
    assert net.attached() is None
    assert not os.path.exists(net.pins + "/mp")
    # So it was the guard that stopped them.
    net.out = net.socket(net.client, socket.AF_INET, socket.SOCK_DGRAM)
    sink = net.socket(net.server, socket.AF_INET, socket.SOCK_DGRAM)
    sink.bind((SERVER, UDP_PORT))
    sink.settimeout(5)
    net.out.bind((CLIENT, 0))
    net.out.sendto(b"y", (SERVER, UDP_PORT))
    assert sink.recv(10) == b"y"


def test_keep_on_exit(card):
    proxy = Proxy(card, f"deny: [{CLIENT}]", args=["--on-exit", "keep"]).ready()
    proxy.stop()
    assert card.attached()["prog"]["name"] == "guard_xdp"
    card.run(card.server, "ip", "link", "show", "mps0")
    proxy = Proxy(card).ready()  # and the next one takes it off
    assert card.get().startswith("HTTP/1.1 503")
    proxy.stop()
    assert card.attached() is None


def test_verdicts_outlive_the_process(net):
    for end in (signal.SIGTERM, signal.SIGKILL):
        proxy = Proxy(net).ready()
        proxy.admin(f"/deny_list/deny?source={OTHER}&seconds=900", "POST")
        proxy.process.send_signal(end)
        proxy.process.wait(20)
        proxy = Proxy(net).ready()
        entry = proxy.json("/deny_list?format=json")["entries"][0]
        assert entry["source"] == OTHER and entry["origin"] == "manual" and 800 < entry["seconds_left"] <= 900
        with pytest.raises(OSError):
            net.connect(OTHER, timeout=0.3)
        proxy.stop()


def test_fallbacks_and_errors(card):
    proxy = Proxy(card, mode="mode: hw").ready()
    state = proxy.json("/kernel?format=json")["interfaces"][0]
    assert state["mode"] == "native" and state["reason"].startswith("hw: ")
    proxy.stop()
    proxy = Proxy(card)
    proxy.kill()
    with open(proxy.config, encoding="utf-8") as file:
        text = file.read().replace("mps0", "nosuch0")
    proxy = Proxy(card)
    proxy.kill()
    card.run(card.server, "ip", "link", "set", "dev", "mps0", "xdp", "off", check=False)
    proxy = Proxy.__new__(Proxy)
    proxy.world, proxy.log, proxy.config = card, os.path.join(card.folder, "log-x"), os.path.join(card.folder, "x.yaml")
    proxy.port, proxy.admin_port = 80, 9901
    with open(proxy.config, "w", encoding="utf-8") as file:
        file.write(text)
    with open(proxy.log, "wb") as log:
        proxy.process = subprocess.Popen(["nsenter", f"--net=/run/netns/{card.server}", os.environ["MARCHPROXY_BIN"], "-c",
                                          proxy.config, "--concurrency", "1"], stdout=log, stderr=log)
    card.proxies.append(proxy)
    proxy.ready()
    assert "Cannot attach XDP program: interface nosuch0" in proxy.text()
    assert card.get().startswith("HTTP/1.1 503")


def test_few_rights(card):
    """CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are enough (the others are for the port and the folders)."""
    few = os.path.join(card.folder, "few")
    with open(few, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\nexec setpriv --bounding-set=-all,+bpf,+perfmon,+net_admin,+net_bind_service,+dac_override "
                   f"--inh-caps=-all {os.environ['MARCHPROXY_BIN']} \"$@\"\n")
    os.chmod(few, 0o755)
    proxy = Proxy(card, f"deny: [{OTHER}]", binary=few).ready()
    assert proxy.mode() == "native", proxy.text()
    assert card.get().startswith("HTTP/1.1 503")
    with pytest.raises(OSError):
        card.connect(OTHER, timeout=0.3)
    proxy.stop()
    assert card.attached() is None


def test_sandbox(card):
    """Rights that are given up after the start are not missed."""
    proxy = Proxy(card, "ban: {duration: 2s, protocol_errors: 3}", args=["--user", "nobody", "--sandbox", "on"]).ready()
    for _ in range(3):
        card.get(request=b"BAD\r\n\r\n")
    with pytest.raises(OSError):
        card.connect(timeout=0.4)
    until(lambda: proxy.stat("xdp.bans.protocol_errors") == 1)
    until(lambda: proxy.stat("xdp.deny_entries") == 0)
    assert card.get().startswith("HTTP/1.1 503")
    proxy.stop()
    assert card.attached() is None, proxy.text()
