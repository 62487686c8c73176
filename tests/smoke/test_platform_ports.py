"""Ports behind an operator's own nginx: below the root or a prefix of a server, and a server whose hosts are ports of several sandboxes."""

import socket

import pytest
import requests

from platform_nginx import Platform, Site
from sandbox import BIG_TIMEOUT, Port
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


def start_two(platform):
    """Starts the sandboxes red and blue, and the nginx in front of their hosts."""
    for name in ("red", "blue"):
        platform.add(name, f"secret of {name}")
    platform.rendered()
    servers = HOSTS.format(tls=platform.tls, plain=platform.plain, home=platform.home, include=platform.include("ports"))
    platform.configure(http=platform.include("http"), server=platform.include("server"), servers=servers)
    platform.start_nginx()


@pytest.mark.parametrize("prefix", ["", "/box"])
def test_ports_of_two_sandboxes(platform, prefix):
    platform.settings(SANDBOX_PORT_DOMAIN="sandbox.example.org", SANDBOX_TRUSTED_PROXIES="10.0.0.0/8", **({"SANDBOX_PREFIX": prefix} if prefix else {}))
    platform.map("www.example.org red;", "default red;")
    start_two(platform)
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


def test_shares_of_two_sandboxes(platform):
    """Each has hosts, links and cookies of its own, and a link of one opens nothing of the other."""
    platform.settings(SANDBOX_PORT_DOMAIN="sandbox.example.org", SANDBOX_ROUTE_BY="http_x_box")
    platform.map("red red;", "blue blue;")
    start_two(platform)

    def visit(host, path, **headers):
        """By somebody without a token, who keeps no cookies."""
        answer = requests.get(red.url + path, headers={"Host": host, **headers}, verify=red.certificate, allow_redirects=False, timeout=BIG_TIMEOUT)
        return answer, (answer.json() if answer.text[:1] == "{" else None)

    red, blue = (Site(platform, f"secret of {name}", headers={"X-Box": name}) for name in ("red", "blue"))
    with Application() as application:
        shared, cookies = {}, {}
        for name, site in (("red", red), ("blue", blue)):
            answer = site.call("POST", "/share_port", {"port": application.port, "path": "/x?y"}, headers={"Host": "www.example.org"})
            shared[name] = answer.json()
            host = f"{application.port}-{name}.sandbox.example.org"
            assert shared[name]["host"] == host
            assert visit(host, "/x")[0].status_code == 401
            answer, _ = visit(host, shared[name]["path"])
            cookies[name] = answer.headers["Set-Cookie"].split(";")[0]
            assert (answer.status_code, answer.headers["Location"]) == (303, f"//{host}/x?y")
            assert cookies[name].startswith(f"__Host-sandbox-grant-{shared[name]['id']}=")
            assert visit(host, "/x?y", Cookie=cookies[name])[1]["line"] == "GET /x?y HTTP/1.1"
        for name, other in (("red", "blue"), ("blue", "red")):
            assert visit(shared[other]["host"], shared[name]["path"])[0].status_code == 401
            assert visit(shared[other]["host"], "/", Cookie=cookies[name])[0].status_code == 401
        both = f"{cookies['red']}; {cookies['blue']}"
        assert red.call("POST", "/unshare_port", {"port": application.port}).json()["ended"] == 1
        assert visit(shared["red"]["host"], "/", Cookie=both)[0].status_code == 401
        assert visit(shared["blue"]["host"], "/", Cookie=both)[0].status_code == 200


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
