# SPDX-License-Identifier: AGPL-3.0-or-later
"""Scripted upstreams: a thread per connection, everything that arrived is on record."""
import socket
import threading
import time

from . import wire


class Conn:
    """One connection from the proxy, as the origin sees it."""

    def __init__(self, origin, sock, index):
        self.origin = origin
        self.sock = sock
        self.index = index
        self.received = bytearray()
        self.requests = []
        self.error = None
        self.ended = threading.Event()
        self.reader = wire.Reader(sock, origin.timeout, self.received.extend)

    def request(self, timeout=None):
        """The next request; None when the proxy closed between two."""
        deadline = time.monotonic() + (self.origin.timeout if timeout is None else timeout)
        try:
            if not self.reader.buf and not self.reader.fill(deadline):
                return None
        except wire.Closed:
            return None
        return self.note(self.reader.request(timeout))

    def request_head(self, timeout=None):
        return self.note(self.reader.request_head(timeout))

    def note(self, request):
        request.conn = self
        request.at = time.monotonic()
        self.requests.append(request)
        with self.origin.changed:
            self.origin.requests.append(request)
            self.origin.changed.notify_all()
        return request

    def send(self, data):
        self.sock.settimeout(self.origin.timeout)
        self.sock.sendall(data)

    def reset(self):
        wire.abort(self.sock)

    def close(self):
        self.sock.close()

    def shutdown_write(self):
        self.sock.shutdown(socket.SHUT_WR)

    def wait_closed(self, timeout=5.0):
        """Until the proxy ends the connection; returns what came before that."""
        try:
            return self.reader.until_eof(timeout)
        except wire.Reset:
            return bytes(self.reader.buf)


class Origin:
    """answer(request) -> bytes serves keep-alive; handler(conn) is a whole script for a connection.

    gate, when given, holds a request back until it is set.
    """

    def __init__(self, answer=None, handler=None, name="", timeout=20.0, port=0, host="127.0.0.1",
                 path=None, rcvbuf=None, backlog=4096):
        self.name = name
        self.timeout = timeout
        self.answer = answer or (lambda request: wire.reply(200, b"ok", [("x-origin", name)]))
        self.handler = handler or self.serve
        self.conns = []
        self.requests = []
        self.changed = threading.Condition()
        self.stopping = False
        if path is not None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.bind(path)
        else:
            self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET,
                                      socket.SOCK_STREAM)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if rcvbuf:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
            self.sock.bind((host, port))
        self.sock.listen(backlog)
        self.host = host
        self.path = path
        self.port = self.sock.getsockname()[1] if path is None else 0
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            if self.stopping:
                sock.close()
                return
            if self.path is None:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.changed:
                conn = Conn(self, sock, len(self.conns))
                self.conns.append(conn)
                self.changed.notify_all()
            threading.Thread(target=self._run, args=(conn,), daemon=True).start()

    def _run(self, conn):
        try:
            self.handler(conn)
        except wire.WireError as e:
            conn.error = e
        except OSError as e:
            if not self.stopping:
                conn.error = e
        finally:
            conn.sock.close()
            conn.ended.set()

    def serve(self, conn):
        while True:
            request = conn.request()
            if request is None:
                return
            data = self.answer(request)
            if data is None:
                return
            conn.send(data)

    def wait_requests(self, n, timeout=5.0):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.requests) >= n, timeout):
                raise wire.Late("%d of %d requests reached the origin" % (len(self.requests), n))
            return list(self.requests)

    def wait_conns(self, n, timeout=5.0):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.conns) >= n, timeout):
                raise wire.Late("%d of %d connections reached the origin" % (len(self.conns), n))
            return list(self.conns)

    @property
    def last(self):
        return self.requests[-1]

    def received(self):
        """All bytes of all connections."""
        return b"".join(bytes(c.received) for c in self.conns)

    def errors(self):
        """What the strict reader held against the proxy (a close between requests is none)."""
        return [c.error for c in self.conns
                if isinstance(c.error, wire.WireError)
                and not isinstance(c.error, (wire.Closed, wire.Late))]

    def stop_listening(self):
        """Later connections are refused; those that are open stay."""
        self.stopping = True
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        self.thread.join(5)

    def stop(self):
        self.stop_listening()
        for conn in list(self.conns):
            try:
                conn.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
