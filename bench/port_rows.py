"""The rows of ports: HTTP and WebSockets through /port/N/, beside an nginx that has the same application behind a plain proxy_pass."""

import contextlib
import socket
import threading
import time

import load
import nginxes
from servers import DAEMONS, GUARD, NGINX, RUNNERS, free_port
from table import FEW, Form

MEBIBYTE = 1 << 20
IDLE = 1000


def plain_front(target):
    """Nothing but a proxy_pass, which takes upgrades."""
    port = free_port()
    return nginxes.Nginx(port, f"""http {{ {nginxes.HTTP} map $http_upgrade $hop {{ default upgrade; "" close; }}
 server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{target}; proxy_http_version 1.1;
  proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $hop; proxy_read_timeout 1d; }} }} }}""")


def small_answers():
    port = free_port()
    return nginxes.Nginx(port, f"http {{ {nginxes.HTTP} server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{'x' * 100}'; }} }} }}", workers=1)


def port_requests(bench):
    """100 bytes, and 1 MiB."""
    with small_answers() as target, plain_front(target.port) as plain:
        figures = bench.each(lambda server: load.rate(server, f"/port/{target.port}/"), {"plain": lambda: load.rate(plain, "/")})
    bench.line("`GET /port/N/` of 100 bytes, 8 connections", figures, Form("{:,.0f}/s"), ("plain", "{:,.0f}/s a plain proxy_pass", "≥ 0.9"))
    with nginxes.file_server(MEBIBYTE) as target, plain_front(target.port) as plain:
        figures = bench.each(lambda server: load.rate(server, f"/port/{target.port}/file"), {"plain": lambda: load.rate(plain, "/file")})
    bench.line("`GET /port/N/`, 1 MiB answers, 8 connections", figures, Form("{:,.0f} MiB/s"), ("plain", "{:,.0f} MiB/s a plain proxy_pass", "≥ 0.95"))


class Echo:
    """Takes any upgrade, and sends back what comes."""

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=IDLE)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=(self.listener.accept()[0],), daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            while data := connection.recv(65536):
                connection.sendall(data)

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def upgraded(server, path):
    connection = socket.create_connection((server.host, server.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {server.secret}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
                       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, head
        head += byte
    assert head.startswith(b"HTTP/1.1 101"), head
    return connection


def round_trips(server, path):
    """Of 32 bytes in a second, on one connection."""
    with upgraded(server, path) as connection:
        count, end = 0, time.monotonic() + load.SECONDS
        while time.monotonic() < end:
            connection.sendall(b"x" * 32)
            connection.recv(32)
            count += 1
    return count / load.SECONDS


def port_websockets(bench):
    with Echo() as echo, plain_front(echo.port) as plain:
        figures = bench.each(lambda server: round_trips(server, f"/port/{echo.port}/"), {"plain": lambda: round_trips(plain, "/")})
        bench.line("WebSocket through `/port/N/`, round trips of 32 bytes", figures, Form("{:,.0f}/s"), ("plain", "{:,.0f}/s a plain proxy_pass", "≥ 0.9"))

        def memory(server):
            pattern = f"{DAEMONS}|{RUNNERS}|{GUARD}|{NGINX}"
            before = server.pss_kib(pattern)
            connections = [upgraded(server, f"/port/{echo.port}/") for _ in range(IDLE)]
            grown = server.pss_kib(pattern) - before
            for connection in connections:
                connection.close()
            return grown / IDLE

        bench.line(f"{IDLE:,} idle WebSockets through `/port/N/`, each", bench.fresh(memory, turns=1), Form("{:.1f} KiB PSS"), target="≤ 24 KiB PSS")


def hold_once(server):
    """From listen(2) to the accept of a request that waits, in ms."""
    with socket.socket() as listener, socket.create_connection((server.host, server.port)) as client:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        client.sendall(f"GET /port/{port}/ HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {server.secret}\r\n\r\n".encode())
        time.sleep(0.05 + port % 15 / 1000)  # it waits, and at no certain moment between two looks
        listener.listen()
        began = time.monotonic()
        listener.accept()[0].close()
        return (time.monotonic() - began) * 1000


def port_hold(bench):
    figures = bench.each(lambda server: [hold_once(server) for _ in range(20)], turns=FEW)
    bench.line("a request that waits for its port, from listen(2) to accept(2)", figures, Form("median {:.1f} ms"), target="≤ 30")
