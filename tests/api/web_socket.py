"""A client of WebSockets (RFC 6455) that sends exactly the frames that a test wants."""

import base64
import contextlib
import hashlib
import json
import os
import socket
import struct

from sandbox import TIMEOUT, SharedReader

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
PROTOCOL = "nginx-sandbox.v1"


def mask(data, key):
    repeated = key * (len(data) // 4 + 1)
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated[:len(data)], "big")).to_bytes(len(data), "big")


def frame(opcode, payload=b"", final=True, masked=True, reserved=0, length=None):
    """The bytes of one; `length` is what its head says, if that is to be something else."""
    size = len(payload) if length is None else length
    head = bytes([final << 7 | reserved << 4 | opcode])
    bit = masked << 7
    head += bytes([bit | size]) if size < 126 else bytes([bit | 126]) + struct.pack(">H", size) if size < 1 << 16 else bytes([bit | 127]) + struct.pack(">Q", size)
    key = os.urandom(4)
    return head + (key + mask(payload, key) if masked else payload)


class Refused(Exception):
    """An answer that is no 101."""

    def __init__(self, status, headers, body):
        super().__init__(f"{status} {body[:300]!r}")
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class WebSocket:
    """An open one. Iterating yields what comes, (opcode, payload) with fragments put together, pings answered; until the close frame."""

    def __init__(self, sandbox, path, headers=None, protocols=(PROTOCOL,), token=True, timeout=TIMEOUT):
        self.socket = socket.create_connection((sandbox.host, sandbox.port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = SharedReader(socket.SocketIO(self.socket, "r"))
        key = base64.b64encode(os.urandom(16)).decode()
        wanted = {"Host": "localhost", "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key, **sandbox.headers}
        if token:
            wanted["Authorization"] = sandbox.authorization
        if protocols:
            wanted["Sec-WebSocket-Protocol"] = ", ".join(protocols)
        wanted.update(headers or {})
        lines = [f"GET {sandbox.path}{path} HTTP/1.1".encode()]
        lines += [name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()) for name, value in wanted.items() if value is not None]
        self.socket.sendall(b"\r\n".join([*lines, b"", b""]))
        self.closed = None
        self.pings = 0
        self.read_head(key)

    def read_head(self, key):
        status, self.headers = self.read_answer()
        if status != 101:
            length = int(self.headers.get("content-length", 0))
            body = self.reader.read(length) if "content-length" in self.headers else self.read_chunks()
            self.socket.close()
            raise Refused(status, self.headers, body)
        digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        assert self.headers["sec-websocket-accept"] == base64.b64encode(digest).decode()
        assert self.headers["upgrade"].lower() == "websocket" and self.headers["connection"].lower() == "upgrade"
        self.protocol = self.headers.get("sec-websocket-protocol")

    def read_answer(self):
        status = int(self.reader.readline().split()[1])
        headers = {}
        while (line := self.reader.readline().strip()):
            name, value = line.decode().split(":", 1)
            headers[name.lower()] = value.strip()
        return status, headers

    def read_chunks(self):
        body = b""
        while (size := int(self.reader.readline(), 16)) > 0:
            body += self.reader.read(size)
            self.reader.readline()
        self.reader.readline()
        return body

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, opcode, payload=b"", **options):
        self.socket.sendall(frame(opcode, payload, **options))

    def write(self, data):
        """Bytes, as a binary message."""
        self.send(BINARY, data)

    def order(self, **what):
        self.send(TEXT, json.dumps(what).encode())

    def read_frame(self):
        """(opcode, payload, final); None at the end of the connection."""
        head = self.reader.read(2)
        if len(head) < 2:
            return None
        assert head[0] & 0x70 == 0 and head[1] & 0x80 == 0  # a server does not mask
        size = head[1]
        if size == 126:
            size = struct.unpack(">H", self.reader.read(2))[0]
            assert size >= 126
        elif size == 127:
            size = struct.unpack(">Q", self.reader.read(8))[0]
            assert size >= 1 << 16
        payload = self.reader.read(size)
        assert len(payload) == size, "cut within a frame"
        return head[0] & 15, payload, bool(head[0] & 128)

    def read(self):
        """The next message or pong; None once the connection is over: then `closed` is (code, reason), or None where no close frame came."""
        while True:
            try:
                found = self.read_frame()
            except ConnectionError:
                return None
            if found is None:
                return None
            opcode, payload, final = found
            assert final  # the server makes no fragments
            if opcode == PING:
                self.pings += 1
                self.send(PONG, payload)
            elif opcode == CLOSE:
                self.closed = (struct.unpack(">H", payload[:2])[0], payload[2:].decode()) if payload else (1005, "")
                with contextlib.suppress(OSError):
                    self.send(CLOSE, payload[:2])
            else:
                return opcode, payload

    def __iter__(self):
        return iter(self.read, None)

    def event(self):
        """The next text, as the JSON that it is; what comes before it must not be bytes."""
        opcode, payload = self.read()
        assert opcode == TEXT, (opcode, payload[:100])
        return json.loads(payload)

    def read_bytes(self, count):
        """So many bytes of binary messages."""
        data = b""
        while len(data) < count:
            opcode, payload = self.read()
            assert opcode == BINARY, payload
            data += payload
        return data

    def close(self, code=1000, reason=""):
        """Closes as a client does; the answer is then in `closed`."""
        self.send(CLOSE, struct.pack(">H", code) + reason.encode())
        for _ in self:
            pass
        return self.closed
