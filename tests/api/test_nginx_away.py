"""nginx that dies, stops or is deaf: nobody is refused but by a stop, because its sockets outlive it."""

import contextlib
import fcntl
import itertools
import os
import pathlib
import pty
import signal
import socket
import struct
import subprocess
import termios
import threading

import pytest
import requests

from figures import Measured
from sandbox import BIG_TIMEOUT, DEADLINE, TIMEOUT, Server, alive, descriptors, freeze, has_ipv6, proc_file, proc_stat, refused, wait_until

pytestmark = pytest.mark.host

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
def measured():
    """A server with all the listeners that there can be."""
    with Measured() as server:
        yield server


def listeners(server):
    """(address, port) of everything that nginx listens on; where it is the API first."""
    hosts = ["127.0.0.1", *(["::1"] if has_ipv6() else [])]
    ports = [server.port, server.proxy_port]
    return [*itertools.product(hosts, ports), ("127.0.0.1", server.metrics_port.number)]


def inodes(server):
    """The links of the listening sockets of these ports, as they are in /proc/<pid>/fd."""
    ports = {port for _, port in listeners(server)}
    rows = [line.split() for name in ("tcp", "tcp6") for line in pathlib.Path("/proc/net", name).read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) in ports}


def service(server):
    """The pid of what s6 runs as nginx."""
    status = subprocess.run(["s6-svstat", "-o", "pid", server.run_dir / "service/nginx"], capture_output=True, text=True, check=True)
    return int(status.stdout)


def answers(address):
    """Whether a listener of the API has an answer for a request that waits."""
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=TIMEOUT) as connection:
        connection.sendall(HEALTH)
        return connection.recv(12) == b"HTTP/1.1 200"
    return False


class Hammer(threading.Thread):
    """A client that opens a connection for each request, and what became of these."""

    def __init__(self, server, address, over):
        super().__init__()
        self.address, self.over = address, over
        self.request = b"" if address[1] == server.proxy_port else HEALTH  # nothing is bound: the connection is closed
        self.refused = self.done = 0
        self.start()

    def run(self):
        while not self.over.is_set():
            try:
                with socket.create_connection(self.address, timeout=BIG_TIMEOUT) as connection:
                    connection.sendall(self.request)
                    while connection.recv(4096):
                        pass
                self.done += 1
            except ConnectionRefusedError:
                self.refused += 1
            except ConnectionError:  # it was in flight
                pass


def strike(server, kind):
    """Kills the master, its workers, all of nginx, or what s6 runs."""
    master = wait_until(lambda: server.daemon("nginx"), "nginx to run")
    pids = {"master": [master], "workers": set(server.nginx_pids()) - {master}, "all": server.nginx_pids(),
            "service": [service(server)]}[kind]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(alive, pids)), f"the end of {kind}")
    if kind != "workers":  # s6 ends the nginx of a service that was killed
        server.back("nginx", master)


@pytest.mark.slow
def test_nobody_is_refused_while_nginx_is_killed(measured):
    """With a connection for each request, at each of its listeners."""
    over = threading.Event()
    clients = [Hammer(measured, address, over) for address in listeners(measured)]
    try:
        for kind in ["master", "workers", "all", "service"] * 5:
            before = [client.done for client in clients]
            strike(measured, kind)
            wait_until(lambda: all(client.done > old + 1 for client, old in zip(clients, before)), "answers for everybody", 3 * DEADLINE)
    finally:
        over.set()
        for client in clients:
            client.join()
    assert [client.refused for client in clients] == [0] * len(clients)
    measured.healthy()
    assert measured.shell("echo fine") == "fine\n"
    measured.scrape()


def test_nginx_starts_again_at_once(server):
    """By the program that s6 runs, which goes on, and not by s6, which would wait for a second."""
    supervised = service(server)
    with server.stream("sleep 1"):  # longer than nginx must have lived
        pass
    for number in (signal.SIGKILL, signal.SIGQUIT):
        old = server.kill_daemon("nginx", number)
        server.back("nginx", old)
        assert service(server) == supervised
        with server.stream("sleep 1"):
            pass


def test_requests_wait_while_there_is_no_nginx(server):
    """Nothing of the second that they may wait is an error."""
    for _ in range(3):  # the first that dies young is started a second later
        server.kill_daemon("nginx")
        # A worker that its master has left may have taken the first.
        assert answers((server.host, server.port)) or answers((server.host, server.port))


@pytest.mark.parametrize("frozen", [False, True])
def test_a_stop_refuses_at_once(measured, frozen):
    """Also while nginx lives on for an old connection, or its master hangs; and after it all is as before."""
    addresses = listeners(measured)
    master = measured.daemon("nginx")
    with socket.create_server(("127.0.0.1", 0)) as target:
        target.settimeout(TIMEOUT)
        measured.post("/bind_port", port=str(target.getsockname()[1]))
        with socket.create_connection((measured.proxy_host, measured.proxy_port)), target.accept()[0]:  # which nginx keeps
            if frozen:
                freeze(master)
            subprocess.run(["s6-svc", "-d", measured.run_dir / "service/nginx"], check=True)
            for address in addresses:
                wait_until(lambda address=address: refused(*address), f"{address} to be refused")
            wait_until(lambda: not alive(master), "nginx to end")
        assert all(refused(*address) for address in addresses)
        measured.supervise("nginx", "u")
        measured.healthy()
        assert all(answers(address) for address in addresses if address[1] == measured.port)
        measured.scrape()
        with socket.create_connection((measured.proxy_host, measured.proxy_port)), target.accept()[0]:
            pass
    assert "accept4() failed" not in measured.launch.stderr.text


def test_who_waits_is_reset_by_a_stop(server):
    """A client in the backlog of an nginx that hangs does not wait for longer than the stop takes to begin."""
    for pid in server.nginx_pids():
        freeze(pid)
    with socket.create_connection((server.host, server.port), timeout=TIMEOUT) as waiting:
        waiting.sendall(HEALTH)
        subprocess.run(["s6-svc", "-d", server.run_dir / "service/nginx"], check=True)
        with pytest.raises(ConnectionResetError):
            waiting.recv(1)
    server.supervise("nginx", "u")
    server.healthy()


def test_a_reload_refuses_nobody(measured):
    over = threading.Event()
    clients = [Hammer(measured, address, over) for address in listeners(measured)]
    sockets = inodes(measured)
    try:
        for _ in range(5):
            old = measured.reload_nginx()
            wait_until(lambda: not old & set(measured.nginx_pids()), "the old workers to go")
    finally:
        over.set()
        for client in clients:
            client.join()
    assert [client.refused for client in clients] == [0] * len(clients) and all(client.done for client in clients)
    assert inodes(measured) == sockets


def test_a_check_of_the_configuration_disturbs_nobody(server):
    check = subprocess.run([server.run_dir / "bin/nginx", "-t", "-e", "stderr", "-p", server.run_dir / "nginx", "-c", server.run_dir / "nginx/nginx.conf"],
                           capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stderr
    server.healthy()


def test_only_nginx_and_its_supervisors_hold_its_sockets(measured):
    """No command does, and no other daemon; and no process but nginx knows of them by the variable."""
    job = measured.start("exec sleep 86400")
    sockets = inodes(measured)
    assert len(sockets) == len(listeners(measured))
    holders = {pid for pid in measured.launch.tree() if sockets & set(descriptors(pid))}
    names = {pid: proc_file(pid, "cmdline").replace(b"\0", b" ").decode() for pid in measured.launch.tree()}
    nginx = {service(measured), *measured.nginx_pids()}
    assert nginx <= holders | {pid for pid in nginx if names[pid].startswith("nginx: worker")}  # whom root alone may ask
    assert all(name.startswith(("s6-svscan", "s6-supervise")) for pid, name in names.items() if pid in holders - nginx), names
    assert job["pid"] not in holders
    told = {pid for pid in names if b"\0NGINX=" in b"\0" + proc_file(pid, "environ")}
    assert told <= nginx
    assert "NGINX=" not in measured.shell("env; ls -l /proc/self/fd")


def test_sigwinch(server):
    """nginx takes it for the order to end its workers, since its sockets are inherited; a reload has it listen again.

    The reload comes by itself; clients wait meanwhile."""
    old = set(server.nginx_pids()) - {server.daemon("nginx")}
    os.kill(server.daemon("nginx"), signal.SIGWINCH)
    wait_until(lambda: not old & set(server.nginx_pids()), "the workers to go")
    with socket.create_connection((server.host, server.port), timeout=TIMEOUT) as waiting:
        waiting.sendall(HEALTH)
        assert waiting.recv(12) == b"HTTP/1.1 200"


def test_a_resized_terminal_does_not_reach_nginx():
    master, slave = pty.openpty()
    try:
        with Server(prefix=("sh", "-c", 'exec "$@" <"$0"', os.ttyname(slave))) as server:  # a session's leader gets the terminal
            assert proc_stat(server.launch.pid) and os.tcgetpgrp(master) == server.launch.pid
            workers = server.nginx_pids()
            for rows in range(10, 30):
                fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 80, 0, 0))
            assert [server.shell("echo fine") for _ in range(20)] == ["fine\n"] * 20
            assert server.nginx_pids() == workers
    finally:
        os.close(master)
        os.close(slave)
