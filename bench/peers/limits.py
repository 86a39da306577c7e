"""What no program can do without: the disk, to make one file durable; a socket with TLS, to send one call."""

from __future__ import annotations

import os
import socket
import ssl
from urllib.parse import urlsplit


def durable(folder: str, name: str, content: bytes) -> None:
    """Write a file so that it outlives a power cut: whole, and under its name."""
    file = os.open(f"{folder}/.{name}.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(file, content)
    os.fsync(file)
    os.close(file)
    os.rename(f"{folder}/.{name}.tmp", f"{folder}/{name}")
    opened = os.open(folder, os.O_DIRECTORY)
    os.fsync(opened)
    os.close(opened)


def patch(context: ssl.SSLContext, url: str, key: str) -> bytes:
    """Send one PATCH on a new connection; the beginning of its answer."""
    to = urlsplit(url)
    call = f"PATCH {to.path} HTTP/1.1\r\nHost: {to.netloc}\r\napi_key: {key}\r\nConnection: close\r\n\r\n"
    with (
        socket.create_connection((to.hostname or "", to.port or 443)) as plain,
        context.wrap_socket(plain, server_hostname=to.hostname) as secure,
    ):
        secure.sendall(call.encode())
        return secure.recv(4096)
