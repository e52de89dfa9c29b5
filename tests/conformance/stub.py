"""Small sockets for tests: a server that always says the same, and a client that sends bytes as they are."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


@contextmanager
def answering(
    body: bytes, status: str = "200 OK", headers: str = "", *, missing: int = 0
) -> Iterator[tuple[str, list[bytes]]]:
    """A server on loopback that answers every request with this; gives its base URL and the heads that it saw.

    `missing`: so many bytes are promised beyond those that come.
    """
    seen: list[bytes] = []

    class Handler(socketserver.StreamRequestHandler):
        timeout = 5

        def handle(self) -> None:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = self.rfile.readline()
                if not line:
                    return
                head += line
            seen.append(head)
            length = next(
                (int(row[15:]) for row in head.lower().split(b"\r\n") if row.startswith(b"content-length:")), 0
            )
            self.rfile.read(length)
            out = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body) + missing}\r\n"
            self.wfile.write(f"{out}{headers}connection: close\r\n\r\n".encode() + body)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", seen
        server.shutdown()
        thread.join(5)


def spoken(url: str, request: bytes, *, timeout_s: float = 5.0) -> tuple[int, bytes]:
    """(status, all that came) for bytes sent as they are; (0, b'') when the connection was closed without an answer."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=timeout_s) as connection:
        found = b""
        try:
            connection.sendall(request)
            while piece := connection.recv(65536):
                found += piece
        except ConnectionError:
            pass
    status = int(found.split(b" ", 2)[1]) if found.startswith(b"HTTP/1.1 ") else 0
    return status, found
