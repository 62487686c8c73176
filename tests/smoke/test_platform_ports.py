"""Ports behind an operator's own nginx: below the root or a prefix of a server, and a server whose hosts are ports of several sandboxes."""

import socket

import pytest

from platform_nginx import Platform, Site
from sandbox import Port
from test_port_http import Application


@pytest.fixture
def platform(home):
    with Platform(home) as platform:
        yield platform


HOSTS = """server {{
    listen 127.0.0.1:{tls} ssl; listen 127.0.0.1:{plain};
    server_name *.sandbox.example.org *.localhost;
    ssl_certificate {home}/cert.pem; ssl_certificate_key {home}/key.pem;
    {include}
}}"""


def get(site, path, host=None, **headers):
    answer = site.call("GET", path, headers={"Host": host or "www.example.org", **headers})
    return answer, (answer.json() if answer.text[:1] == "{" else None)


@pytest.mark.parametrize("prefix", ["", "/box"])
def test_ports_of_two_sandboxes(platform, prefix):
    platform.settings(SANDBOX_PORT_DOMAIN="sandbox.example.org", SANDBOX_TRUSTED_PROXIES="10.0.0.0/8", **({"SANDBOX_PREFIX": prefix} if prefix else {}))
    platform.map("www.example.org red;", "default red;")
    for name in ("red", "blue"):
        platform.add(name, f"secret of {name}")
    platform.rendered()
    servers = HOSTS.format(tls=platform.tls, plain=platform.plain, home=platform.home, include=platform.include("ports"))
    platform.configure(http=platform.include("http"), server=platform.include("server"), servers=servers)
    platform.start_nginx()
    red, blue = (Site(platform, f"secret of {name}") for name in ("red", "blue"))
    with Application() as application:
        port = application.port
        answer, said = get(red, f"{prefix}/port/{port}/a%2Fb")
        names = {name.lower(): value for name, value in said["headers"]}
        assert answer.status_code == 200 and said["line"] == "GET /a%2Fb HTTP/1.1" and "X-Site" not in answer.headers
        assert names["x-forwarded-proto"] == "https" and names["x-forwarded-prefix"] == f"{prefix}/port/{port}" and names["host"] == f"localhost:{port}"
        assert get(blue, f"{prefix}/port/{port}/")[0].status_code == 401
        for name, right, wrong in (("red", red, blue), ("blue", blue, red)):
            host = f"{port}-{name}.sandbox.example.org"
            answer, said = get(right, "/run", host)
            assert answer.status_code == 200 and said["line"] == "GET /run HTTP/1.1"
            assert get(wrong, "/run", host)[0].status_code == 401
        assert get(red, "/x", f"{port}.localhost")[0].status_code == 200
        answer, said = get(red, "/x", f"{platform.add('green', 'x', run=False)}.localhost", **{"X-Sandbox-Wait-Ms": "0"})
        assert answer.status_code == 504 and said["error_code"] == "not_listening"
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        answer, said = get(red, f"{prefix}/port/{nobody.getsockname()[1]}/", **{"X-Sandbox-Wait-Ms": "1"})
        assert (answer.status_code, answer.headers["X-Sandbox-Error"]) == (504, "not_listening") and said["listening"]
    assert get(red, "/index.html")[0].text.startswith("<p>index")


def test_ports_of_ones_own(platform):
    """What no command of the sandbox listens on does not count."""
    platform.settings(SANDBOX_PORTS="own")
    platform.add("default", "secret")
    platform.rendered()
    platform.include_all()
    platform.start_nginx()
    site = Site(platform, "secret")
    port = Port()
    with Application() as application:  # of nobody's command
        for method in ("GET", "POST"):
            answer = site.call(method, f"/port/{application.port}/")
            assert answer.status_code == 403 and answer.json()["error_code"] == answer.headers["X-Sandbox-Error"] == "forbidden"
            answer = site.call(method, f"/port/{port.number}/", headers={"X-Sandbox-Wait-Ms": "50"})
            assert answer.status_code == 504 and application.port not in answer.json()["listening"]
    started = site.start(f"sleep 0.3; exec /usr/bin/python3 -m http.server --bind 127.0.0.1 {port.number}")
    assert site.get(f"/port/{port.number}/").status_code == 200
    site.post("/kill_process", id=started["id"])
    port.free()
