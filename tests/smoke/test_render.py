"""`nginx-sandbox render` alone: what it refuses, and that the files of nginx are all new or all old."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess

import pytest

from foreground import LAUNCHER
from platform_nginx import MODULES, Platform
from sandbox import REPOSITORY, in_threads, wait_until


@pytest.fixture
def platform(tmp_path):
    with Platform(tmp_path) as platform:
        platform.add("default", "secret", run=False)
        yield platform


def tree(platform):
    """{path: (mode, content)} of what is in the directory of settings."""
    return {str(path.relative_to(platform.etc)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else None)
            for path in platform.etc.rglob("*")}


def write(name, text, mode=0o644):
    def change(platform):
        path = platform.etc / name
        path.unlink(missing_ok=True)
        path.touch(mode)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return change


def several(*changes):
    return lambda platform: [change(platform) for change in changes]


SECRET = write("two.secret", "x\n", 0o600)

WRONG = {
    "no sandbox": (lambda platform: [(platform.etc / name).unlink() for name in ("default.secret", "default.conf")], "no NAME.secret"),
    "no secret": (write("default.secret", "\n", 0o600), "holds no secret"),
    "too many secrets": (write("default.secret", "x\n" * 17, 0o600), "more than 16"),
    "a secret that is too long": (write("default.secret", "x" * 4097, 0o600), "longer than 4096"),
    "a secret with a control character": (write("default.secret", "a\tb\n", 0o600), "control character"),
    "a secret with a NUL": (write("default.secret", b"a\0b\n", 0o600), "NUL"),
    "a secret with a space at its end": (write("default.secret", "a \n", 0o600), "space"),
    "a secret that others may read": (write("default.secret", "a\n", 0o644), "chmod 600"),
    "a secret that is a directory": (several(lambda p: (p.etc / "default.secret").unlink(), lambda p: (p.etc / "default.secret").mkdir()), "not a regular file"),
    "settings without a secret": (write("two.conf", ""), "two.secret"),
    "a bad name": (write("Two.secret", "x\n", 0o600), "name"),
    "a name that means something": (write("map.secret", "x\n", 0o600), "name"),
    "a name that is too long": (write("x" * 33 + ".secret", "x\n", 0o600), "at most 32"),
    "a bad line": (write("nginx-sandbox.conf", "#\nexport A=b\n"), "line 2"),
    "a quote": (write("nginx-sandbox.conf", 'A="b\n'), "line 1"),
    "a mark before the settings": (write("nginx-sandbox.conf", b"\xef\xbb\xbfA=b\n"), "nginx-sandbox.conf: begins with a byte order mark"),
    "an escape": (write("nginx-sandbox.conf", "A=b\\\n"), "line 1"),
    "a bad value": (write("nginx-sandbox.conf", "SANDBOX_MAX_BODY=x\n"), "SANDBOX_MAX_BODY"),
    "a bad value of one": (write("default.conf", "PROXY_PORT=0\n"), "default.conf: PROXY_PORT"),
    "one's own keep-alive": (write("default.conf", "SANDBOX_HTTP_KEEPALIVE=1\n"), "SANDBOX_HTTP_KEEPALIVE"),
    "one's own of what is for all": (write("default.conf", "SANDBOX_MAX_BODY=1k\n"), "SANDBOX_MAX_BODY"),
    "a pool": (write("default.conf", "SANDBOX_AUTH_MODE=pool\n"), "SANDBOX_AUTH_MODE"),
    "a bad prefix": (write("nginx-sandbox.conf", "SANDBOX_PREFIX=sandbox\n"), "SANDBOX_PREFIX"),
    "a prefix that nginx reads otherwise": (write("nginx-sandbox.conf", "SANDBOX_PREFIX=/a.b\n"), "SANDBOX_PREFIX"),
    "two slashes": (write("nginx-sandbox.conf", "SANDBOX_PREFIX=/a//b\n"), "SANDBOX_PREFIX"),
    "many prefixes": (write("nginx-sandbox.conf", f"SANDBOX_PREFIX={','.join(f'/{number}' for number in range(17))}\n"), "16"),
    "a bad variable": (write("nginx-sandbox.conf", "SANDBOX_ROUTE_BY=$host\n"), "SANDBOX_ROUTE_BY"),
    "no address": (write("nginx-sandbox.conf", "SANDBOX_METRICS_LISTEN=localhost:3032\n"), "nginx-sandbox.conf: SANDBOX_METRICS_LISTEN"),
    "an address that ends nginx's line": (write("nginx-sandbox.conf", "SANDBOX_METRICS_LISTEN=127.0.0.1:3032;\n"), "nginx-sandbox.conf: SANDBOX_METRICS_LISTEN"),
    "one's own listener for metrics": (write("default.conf", "SANDBOX_METRICS_LISTEN=127.0.0.1:3032\n"), "default.conf: nginx has one SANDBOX_METRICS_LISTEN"),
    "an origin with a path": (write("nginx-sandbox.conf", "SANDBOX_CORS_ORIGINS=https://a.example/\n"), "nginx-sandbox.conf: SANDBOX_CORS_ORIGINS"),
    "one's own origin that is none": (write("default.conf", "SANDBOX_CORS_ORIGINS=https://a.example,b\n"), "default.conf: SANDBOX_CORS_ORIGINS"),
    "an origin that ends nginx's line": (write("default.conf", "SANDBOX_CORS_ORIGINS=https://a.example;\n"), "default.conf: SANDBOX_CORS_ORIGINS"),
    "metrics at the port of another": (several(SECRET, write("two.conf", "PROXY_PORT=4000\n"), write("nginx-sandbox.conf", "SANDBOX_METRICS_LISTEN=127.0.0.1:4000\n")),
                                       "PROXY_PORT of two, 4000"),
    "one port for two": (several(SECRET, write("two.conf", "PROXY_PORT=4000\n"), write("default.conf", "PROXY_PORT=4000\n")), "4000"),
    "settings behind a NUL": (write("nginx-sandbox.conf", b"A=b\0\nSANDBOX_MAX_BODY=1k\n"), "nginx-sandbox.conf: holds a NUL byte"),
    "a map behind a NUL": (write("map.conf", b"x default;\n\0y two;\n"), "map.conf: holds a NUL byte"),
    "a key that ends otherwise than it begins": (write("map.conf", '"x\\ default;\n'), "lines must be such as"),
    "a map to nobody": (write("map.conf", "x three;\n"), "three"),
    "a map without a semicolon": (write("map.conf", "x default\n"), "map.conf"),
    "a map with more on a line": (write("map.conf", "x y default;\n"), "map.conf"),
    "a map with a block": (write("map.conf", "x} default;\n"), "map.conf"),
    "a map with a quote": (write("map.conf", '"x default;\n'), "map.conf"),
    "a map that includes": (write("map.conf", "include /etc/hosts;\n"), "map.conf"),
    "nobody to be for": (several(write("two.secret", "x\n", 0o600), lambda p: (p.etc / "default.secret").unlink(),
                                 lambda p: (p.etc / "default.conf").unlink()), "all requests are for default"),
}


@pytest.mark.parametrize("change, words", WRONG.values(), ids=WRONG.keys())
def test_what_is_refused(platform, change, words):
    """One line says what, and nginx's files stay as they were."""
    platform.rendered()
    change(platform)
    before = tree(platform)
    done = platform.render()
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and words in done.stderr, done.stderr
    assert tree(platform) == before


def test_what_is_taken(platform):
    platform.secrets("two", "y")
    write("nginx-sandbox.conf", ' # a comment\n;another\n\nPROXY_PORT = 4001\n'.replace(" = ", "=") + "SANDBOX_MAX_UPLOAD=2k\nSANDBOX_MAX_BODY=' 2k'\nSANDBOX_MAX_BODY=\"1k\" \r\n"
          "SANDBOX_PREFIX=/a, /b\nSANDBOX_FUTURE=unknown\n")(platform)
    write("two.conf", "PROXY_PORT=4002")(platform)
    write("default.conf", "")(platform)
    platform.map("hostnames;", "", ".example.org two;", '"~^x{2} y" two;', "default default;")
    platform.rendered()
    generated = platform.etc / "nginx/generated"
    for snippet, size in (("api-short", "1024"), ("api-lasts", "1024"), ("api-run-stream", "1024"), ("api-log-stream", "1024"), ("raw", "2048")):
        assert f"client_max_body_size {size};" in (platform.etc / f"nginx/snippets/{snippet}.conf").read_text()
    proxies = (generated / "proxies.conf").read_text()
    assert "listen 0.0.0.0:4001 " in proxies and "listen 0.0.0.0:4002 " in proxies
    sandboxes = (generated / "sandboxes.conf").read_text()
    assert 'hostnames;\n.example.org two;\n"~^x{2} y" two;\ndefault default;\n' in sandboxes
    assert (generated / "locations.conf").read_text().count("location ^~ /") == 2
    assert f"server unix:{platform.state}/two/fcgi-app.sock;" in sandboxes
    platform.include_all()


def test_a_mark_before_the_map_is_skipped(platform):
    """As some editors write it: it is no part of the first key."""
    write("map.conf", b"\xef\xbb\xbfx default;\n")(platform)
    platform.rendered()
    assert "map $host $nginx_sandbox {\nx default;\n}" in (platform.etc / "nginx/generated/sandboxes.conf").read_text()


def test_the_settings_of_the_tour(platform):
    """What docs/operating.md writes, from its first line to its last: each is taken beside those before."""
    writes = re.compile(r"^(nginx-sandbox secret init .*|(?:echo|printf) .*>/etc/nginx-sandbox/\S+\.conf)$", re.M)
    blocks = re.findall(r"^```sh\n(.*?)^```$", (REPOSITORY / "docs/operating.md").read_text(), re.M | re.S)
    blocks = [found for found in map(writes.findall, blocks) if found]
    assert len(blocks) >= 3
    (platform.etc / "default.conf").unlink()
    for block in blocks:
        for command in block:
            command = command.replace("nginx-sandbox secret", f"{shlex.join(map(str, LAUNCHER))} secret --etc {platform.etc}", 1)
            subprocess.run(["sh", "-c", command.replace("/etc/nginx-sandbox/", f"{platform.etc}/")], check=True)
        platform.rendered()


@pytest.mark.parametrize("written, listen", [("127.0.0.1:3030", "    listen 127.0.0.1:3030;\n"), ("[0:0::1]:4000", "    listen [::1]:4000 ipv6only=on;\n"),
                                             ("off", None), ("", None)])
def test_the_listener_for_metrics(platform, written, listen):
    """PORT is not that nginx's, and nobody has 3031 here: so they may be its port."""
    platform.settings(SANDBOX_METRICS_LISTEN=written)
    platform.rendered()
    generated = platform.etc / "nginx/generated"
    if listen is None:
        assert not (generated / "metrics.conf").read_text()
    else:
        assert listen in (platform.etc / "nginx/snippets/metrics.conf").read_text()
        assert "/metrics default;\n/metrics/default default;\n" in (generated / "metrics.conf").read_text()


def test_a_location_for_each_endpoint(platform):
    """All but the one of the listener for metrics; each in the way that the list says."""
    snippets = {"OPEN": {"api-open"}, "SHORT": {"api-short"}, "LARGE": {"api-lasts"}, "LASTS": {"api-lasts"}, "STREAMS": {"api-log-stream", "api-run-stream"},
                "RAW": {"api-raw", "api-uploads"}, "SOCKET": {"api-socket"}, "WALKS": {"api-lasts"}}
    listed = dict(re.findall(r'^    ENDPOINT\(\w+, "(/\w+)", [\w |]+, (\w+), ', (REPOSITORY / "api/endpoints.h").read_text(), re.M))
    assert listed.pop("/metrics") == "METRICS" and len(listed) > 20
    platform.rendered()
    generated = (platform.etc / "nginx/generated/locations.conf").read_text()
    for path in [path for path, trait in listed.items() if trait in ("RAW", "SOCKET")]:  # all paths below it, too
        expression = f'location ~ "^{path}(?:/|\\z)" {{'
        assert expression in generated
        generated = generated.replace(expression, f"location = {path} {{")
    locations = dict(re.findall(r"^ *location = (/\w+) \{ include \S*/snippets/([\w-]+)\.conf; \}$", generated, re.M))
    assert locations.keys() == listed.keys() and len(generated.splitlines()) == len(locations) + 1  # and the one of ports
    assert all(locations[path] in snippets[trait] for path, trait in listed.items())
    http = (platform.etc / "nginx/snippets/http.conf").read_text()
    logged = re.search(r'map \$nginx_sandbox_at_host\$nginx_sandbox_path \$nginx_sandbox_log_endpoint \{.*?"~\^/\(\?:(.*?)\)\\z"', http, re.S)[1]
    assert {f"/{name}" for name in logged.split("|")} == listed.keys()


def test_each_error_has_a_code_of_the_list(platform):
    codes = set(re.findall(r"ERROR\((\w+), ", (REPOSITORY / "api/errors.h").read_text()))
    for text in ((REPOSITORY / "nginx/snippets/named.conf").read_text(), (REPOSITORY / "nginx/snippets/port-named.conf").read_text(), (REPOSITORY / "deploy/gateway/nginx.conf").read_text()):
        answers = re.findall(r"""'(\{"error":.*\})'""", text)
        said = [json.loads(re.sub(r":\$\w+", ":0", answer.replace("\\'", "'")))["error_code"] for answer in answers]
        assert len(said) >= 5 and {code for code in said if code[0] != "$"} <= codes
    platform.rendered()
    http = (platform.etc / "nginx/snippets/http.conf").read_text()
    messages, mapped = (dict(re.findall(r"^    (\d+) +(.+);$", re.search(rf"map \$status \$nginx_sandbox_{name} \{{(.*?)\}}", http, re.S)[1], re.M))
                        for name in ("message", "error_code"))
    assert messages.keys() == mapped.keys() >= {"400", "401", "403", "404", "405", "408", "413", "414", "429", "431", "500", "501", "503"}
    assert set(mapped.values()) <= codes


def test_no_word_is_left(platform):
    """Each word of the files of nginx/ has something to stand for."""
    platform.rendered()
    for path in (platform.etc / "nginx").rglob("*.conf"):
        assert not re.search("@[A-Z_]+@", path.read_text()), path


@pytest.mark.parametrize("arguments", [["--nothing"], ["word"], ["--etc", "relative"], ["--etc", "/nowhere"], ["--state", "/a b"]])
def test_bad_arguments(platform, arguments):
    done = subprocess.run([*LAUNCHER, "render", "--etc", platform.etc, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2) and done.stderr and not (platform.etc / "nginx").exists()


def test_its_help():
    done = subprocess.run([*LAUNCHER, "render", "--help"], capture_output=True, text=True, check=True)
    assert "--state" in done.stdout and not done.stderr


def test_the_environment_is_not_asked(platform):
    environment = {**os.environ, "SANDBOX_MAX_BODY": "1", "SANDBOX_SECRET": "other"}
    subprocess.run([*LAUNCHER, "render", "--etc", platform.etc, "--state", platform.state], check=True, env=environment)
    assert "client_max_body_size 268435456;" in (platform.etc / "nginx/snippets/api-short.conf").read_text()


def test_several_at_once_and_one_that_was_killed(platform):
    """Each leaves one whole set, and nothing else."""
    platform.rendered()
    names = {path for path in tree(platform) if path.startswith("nginx")}
    stage = platform.etc / ".nginx.new"
    shutil.copytree(platform.etc / "nginx", stage)  # as one that was killed would leave it
    (stage / "generated/more.conf").touch()
    assert all(done.returncode == 0 for done in in_threads(8, lambda _: platform.render()))
    assert {path for path in tree(platform) if path.startswith("nginx")} == names and not stage.exists()
    salts = set()
    for name in ("secrets.conf", "token.conf"):
        salts.add((platform.etc / "nginx/generated" / name).stat().st_mode & 0o777)
    assert salts == {0o600}


def test_it_takes_the_place_in_one_step(platform):
    """While it is written again and again there is no moment without the directory."""
    platform.rendered()
    writers = subprocess.Popen(["sh", "-c", 'while "$@"; do :; done', "sh", *LAUNCHER, "render", "--etc", platform.etc, "--state", platform.state],
                               start_new_session=True)
    try:
        seen = []

        def look():
            for _ in range(1000):
                found = (platform.etc / "nginx").stat().st_ino
                if found not in seen[-1:]:
                    seen.append(found)
            return len(seen) > 10

        wait_until(look, "it to be replaced")
    finally:
        os.killpg(writers.pid, signal.SIGKILL)
        writers.wait()


@pytest.mark.skipif(os.path.exists(f"{MODULES}/ngx_http_js_module.so"), reason="libnginx-mod-http-js is there")
def test_several_secrets_need_njs(platform):
    platform.secrets("default", "one", "two")
    done = platform.render()
    assert done.returncode == 1 and "libnginx-mod-http-js" in done.stderr
