# SPDX-License-Identifier: AGPL-3.0-or-later
"""Two network namespaces joined by a pair of virtual cards, a BPF file system of their own, and the proxy in one.

setns instead of `ip netns exec`, which would mount another /sys over the pins. Everything is removed again, also after a
failure: removing a namespace takes its cards and what is attached to them along.
"""
import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLIENT, OTHER, SERVER = "10.99.0.2", "10.99.0.3", "10.99.0.1"
CLIENT6, SERVER6 = "fd99::2", "fd99::1"
PORT, ADMIN = 80, 9901


def why_not():
    """Why these tests cannot run here; None: they can."""
    if os.geteuid() != 0:
        return "needs root"
    for tool in ("ip", "nsenter", "ethtool"):
        if shutil.which(tool) is None and not os.path.exists(f"/usr/sbin/{tool}"):
            return f"{tool} is not installed"
    made = subprocess.run(["unshare", "-n", "true"], capture_output=True, timeout=20)
    if made.returncode != 0:
        return "network namespaces cannot be made here"
    name = f"mpt{os.getpid()}"
    named = subprocess.run(["ip", "netns", "add", name], capture_output=True, timeout=20)
    if named.returncode == 0:  # in a chroot, ip can make them and not enter them
        named = subprocess.run(["ip", "-n", name, "link"], capture_output=True, text=True, timeout=20)
        subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=20)
    if named.returncode != 0:
        return "named network namespaces cannot be entered here"
    folder = tempfile.mkdtemp()
    mounted = subprocess.run(["mount", "-t", "bpf", "bpf", folder], capture_output=True, timeout=20)
    subprocess.run(["umount", folder], capture_output=True, timeout=20)
    os.rmdir(folder)
    return None if mounted.returncode == 0 else "a BPF file system cannot be mounted here"


def guard_object():
    return os.path.join(os.path.dirname(os.environ["MARCHPROXY_BIN"]), "src", "bpf", "guard.bpf.o")


def sh(*command, check=True, timeout=30):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.stderr}{done.stdout}")
    return done.stdout


def until(what, seconds=20, step=0.02):
    """Polls; the value that was true at last."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, "waited in vain"
        time.sleep(step)


class World:
    def __init__(self, offloads, mtu=1500):
        self.client, self.server = f"mpc{os.getpid()}", f"mps{os.getpid()}"
        self.folder = tempfile.mkdtemp(prefix="mp-netns-")
        self.pins = os.path.join(self.folder, "bpf")
        self.offloads, self.mtu = offloads, mtu
        self.proxies = []

    def __enter__(self):
        try:
            self.make()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *exc):
        self.remove()

    def make(self):
        for name in (self.client, self.server):
            sh("ip", "netns", "add", name)
            sh("ip", "-n", name, "link", "set", "lo", "up")
        sh("ip", "link", "add", "mpc0", "netns", self.client, "mtu", str(self.mtu), "type", "veth", "peer", "name", "mps0",
           "netns", self.server, "mtu", str(self.mtu))
        for name, card, addresses in ((self.client, "mpc0", (CLIENT, OTHER, CLIENT6)), (self.server, "mps0", (SERVER, SERVER6))):
            for address in addresses:
                six = ":" in address
                sh("ip", "-n", name, "addr", "add", address + ("/64" if six else "/24"), "dev", card, *(["nodad"] if six else []))
            sh("ip", "-n", name, "link", "set", card, "up")
            if not self.offloads:
                self.run(name, "ethtool", "-K", card, "tx", "off", "tso", "off", "gso", "off")
            self.write(name, "net/ipv4/tcp_congestion_control", "reno")
        self.run(self.client, "ethtool", "-K", "mpc0", "gro", "on")  # frames sent back at the card need it
        os.mkdir(self.pins)
        sh("mount", "-t", "bpf", "bpf", self.pins)

    def remove(self):
        for proxy in self.proxies:
            proxy.kill()
        for name in (self.client, self.server):
            sh("ip", "netns", "del", name, check=False)
        shutil.rmtree(os.path.join(self.pins, "mp"), ignore_errors=True)
        sh("umount", self.pins, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, name, *command, check=True, timeout=30):
        return sh("nsenter", f"--net=/run/netns/{name}", *command, check=check, timeout=timeout)

    def write(self, name, key, value):
        with self.inside(name), open(f"/proc/sys/{key}", "w", encoding="ascii") as file:
            file.write(value)

    @contextlib.contextmanager
    def inside(self, name):
        """This thread in a namespace; sockets that it makes stay there."""
        with open(f"/proc/self/task/{threading.get_native_id()}/ns/net", encoding="ascii") as home, \
                open(f"/run/netns/{name}", encoding="ascii") as there:
            assert LIBC.setns(there.fileno(), 0) == 0
            try:
                yield
            finally:
                assert LIBC.setns(home.fileno(), 0) == 0

    def socket(self, name, *args):
        with self.inside(name):
            return socket.socket(*args)

    def attached(self):
        """(kind, program id) of what is on the server's card."""
        link = json.loads(self.run(self.server, "ip", "-j", "-d", "link", "show", "mps0"))[0]
        return link.get("xdp")

    def connect(self, source=CLIENT, timeout=2.0, server=SERVER):
        s = self.socket(self.client, socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_STREAM)
        s.settimeout(timeout)
        s.bind((source, 0))
        try:
            s.connect((server, PORT))
        except OSError:
            s.close()
            raise
        return s

    def get(self, source=CLIENT, timeout=2.0, request=b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", server=SERVER):
        """The status line."""
        with self.connect(source, timeout, server) as s:
            s.sendall(request)
            return s.recv(4096).split(b"\r\n")[0].decode()


class Proxy:
    def __init__(self, world, xdp="", mode="", args=(), env=None, binary=None, ports=(PORT, ADMIN)):
        self.world = world
        self.log = os.path.join(world.folder, f"log{len(world.proxies)}")
        config = os.path.join(world.folder, f"march{len(world.proxies)}.yaml")
        self.config = config
        self.port, self.admin_port = ports
        self.write(xdp, mode)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{world.server}", binary or os.environ["MARCHPROXY_BIN"], "-c", config,
                 "--concurrency", "1", "--drain-time-s", "0", *args], stdout=log, stderr=log, env=dict(os.environ, **(env or {})))
        world.proxies.append(self)

    def write(self, xdp="", mode=""):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"""services: [{{name: a, hosts: [127.0.0.1], port: 9}}]
routes: [{{name: r, prefix: /, cluster_name: a}}]
listen: ["0.0.0.0:{self.port}", "[::]:{self.port}"]
admin: 127.0.0.1:{self.admin_port}
access_log: "off"
xdp:
  interface: mps0
  pin_path: {self.world.pins}/mp
  state_file: {self.world.folder}/deny_list
  {mode}
  {xdp}
""")

    def ready(self):
        def is_live():
            assert self.process.poll() is None, self.text()
            try:
                return self.admin("/ready").startswith("HTTP/1.1 200")
            except OSError:
                return False
        until(is_live, 30)
        return self

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def admin(self, path, method="GET"):
        s = self.world.socket(self.world.server, socket.AF_INET, socket.SOCK_STREAM)
        with s:
            s.settimeout(10)
            s.connect(("127.0.0.1", self.admin_port))
            s.sendall(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            parts = []
            while True:
                part = s.recv(65536)
                if not part:
                    return b"".join(parts).decode()
                parts.append(part)

    def json(self, path):
        head, _, body = self.admin(path).partition("\r\n\r\n")
        if "chunked" in head.lower():
            out = ""
            while body:
                size, _, body = body.partition("\r\n")
                n = int(size, 16)
                out += body[:n]
                body = body[n + 2:]
            body = out
        return json.loads(body)

    def stat(self, name):
        for row in self.json(f"/stats?format=json&filter=^{name}$")["stats"]:
            if row.get("name") == name:
                return row["value"]
        return 0

    def mode(self):
        return self.json("/kernel?format=json")["interfaces"][0]["mode"]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.text()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
