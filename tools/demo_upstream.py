#!/usr/bin/python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A small HTTP/1.1 server to look through a proxy at: it answers with what it received.

    /anything       name, method, path, headers and body size, as text
    /slow?ms=N      the same after N milliseconds (default 3000)
    /big?n=BYTES    so many bytes (default 1000000, at most 1 GiB)
    /status/NNN     that status code (200 to 599)
    /stream?n=N     N lines (default 5), one each 200 ms, chunked
"""
import argparse
import re
import signal
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

BIG_MAX = 1 << 30
BLOCK = b"0123456789abcdef" * 4096


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 300

    def log_message(self, *_):
        """Silent: the proxy's access log is the one to read."""

    def body_size(self):
        """Reads the request's body and returns its size; None when its framing is broken."""
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            total = 0
            while True:
                line = self.rfile.readline(100)
                size = int(line.split(b";")[0], 16)
                if size == 0:
                    while self.rfile.readline(65536) not in (b"\r\n", b"\n", b""):
                        pass
                    return total
                total += self.skip(size)
                self.rfile.readline(3)
        return self.skip(int(self.headers.get("content-length") or 0))

    def skip(self, size):
        left = size
        while left > 0:
            block = self.rfile.read(min(left, 65536))
            if not block:
                raise ConnectionError("the body ended early")
            left -= len(block)
        return size

    def number(self, key, default, most):
        try:
            return max(0, min(int(self.query[key][0]), most))
        except (KeyError, ValueError):
            return default

    def head(self, status, **fields):
        self.send_response(status)
        self.send_header("x-demo-upstream", self.server.name)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def report(self, status=200):
        lines = [f"{self.server.name} got {self.command} {self.path}"]
        lines += [f"  {name}: {value}" for name, value in self.headers.items()]
        lines.append(f"  ({self.received} bytes of body)")
        text = ("\n".join(lines) + "\n").encode("utf-8", "replace")
        if status in (204, 304):
            self.head(status)
            return
        self.head(status, content_type="text/plain; charset=utf-8", content_length=len(text))
        if self.command != "HEAD":
            self.wfile.write(text)

    def big(self):
        size = self.number("n", 1_000_000, BIG_MAX)
        self.head(200, content_type="application/octet-stream", content_length=size)
        while self.command != "HEAD" and size > 0:
            part = BLOCK[: min(size, len(BLOCK))]
            self.wfile.write(part)
            size -= len(part)

    def stream(self):
        if self.request_version == "HTTP/1.0":
            self.close_connection = True
            self.head(200, content_type="text/plain", connection="close")
        else:
            self.head(200, content_type="text/plain", transfer_encoding="chunked")
        if self.command == "HEAD":
            return
        chunked = self.request_version != "HTTP/1.0"
        for at in range(self.number("n", 5, 1000)):
            line = f"{self.server.name}: line {at + 1}\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line) if chunked else line)
            time.sleep(0.2)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def answer(self):
        try:
            self.received = self.body_size()
        except (ValueError, ConnectionError):
            self.close_connection = True
            return
        target = urlsplit(self.path)
        self.query = parse_qs(target.query)
        status = re.fullmatch(r"/status/([2-5][0-9][0-9])", target.path)
        try:
            if target.path == "/big":
                self.big()
            elif target.path == "/stream":
                self.stream()
            elif target.path == "/slow":
                time.sleep(self.number("ms", 3000, 600_000) / 1000)
                self.report()
            else:
                self.report(int(status[1]) if status else 200)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, name):
        self.name = name
        super().__init__(address, Handler)

    def handle_error(self, request, client_address):
        """A client that goes away is no event here."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--name", default="demo")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=10001)
    parser.add_argument("--check-ports", nargs="+", type=int, metavar="PORT",
                        help="only tell which of these ports cannot be bound; exit 1 if any")
    args = parser.parse_args()
    if args.check_ports:
        taken = []
        for port in args.check_ports:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("0.0.0.0", port))
                    probe.listen(1)
                except OSError:
                    taken.append(str(port))
        if taken:
            print(" ".join(taken))
        return 1 if taken else 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server = Server((args.host, args.port), args.name)
    except OSError as error:
        print(f"demo_upstream: {args.host}:{args.port}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{args.name} listens on {args.host}:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
