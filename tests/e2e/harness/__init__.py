# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the end-to-end tests stand on: raw sockets, scripted peers, the proxy as a process.

Nothing here shares code with the proxy: the parser in wire.py is an independent, strict reading of
RFC 9112, so that what the proxy sends is judged by somebody else.
"""
