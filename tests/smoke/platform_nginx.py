"""An nginx as an operator has it, with TLS and sites of its own, and the sandboxes of `nginx-sandbox render` in it."""

import http.client
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess

import requests

from foreground import LAUNCHER, Foreground
from sandbox import DEADLINE, Port, Sandbox, alive, all_pids, proc_file, proc_stat, wait_until

NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") or "/usr/sbin/nginx"
MODULES = "/usr/lib/nginx/modules"

CONF = """
load_module {modules}/ngx_stream_module.so;
load_module {modules}/ngx_stream_js_module.so;
load_module {modules}/ngx_http_js_module.so;
pid {home}/nginx.pid;
error_log {home}/error.log;
worker_processes {workers};
{user}
events {{ worker_connections 4096; }}
http {{
    client_body_temp_path {home}/body; fastcgi_temp_path {home}/fastcgi; proxy_temp_path {home}/proxy;
    scgi_temp_path {home}/scgi; uwsgi_temp_path {home}/uwsgi;
    log_format site '$host $request_method $request_uri $status $body_bytes_sent';
    access_log {home}/access.log site;
    limit_req_zone $binary_remote_addr zone=site:1m rate=1r/m;
    types {{ text/html html; }}
    default_type text/plain;
    add_header X-Site "the site's own";
    gzip on; gzip_types *; gzip_min_length 1;
    {http}
    server {{
        listen 127.0.0.1:{tls} ssl default_server;
        listen 127.0.0.1:{plain} default_server;
        server_name www.example.org;
        ssl_certificate {home}/cert.pem;
        ssl_certificate_key {home}/key.pem;
        client_max_body_size 1k;
        root {home}/www;
        error_page 404 /404.html;
        error_page 403 405 413 /refused.html;
        location = /hello {{ return 200 "hello $http_authorization"; }}
        location = /limited.html {{ limit_req zone=site; limit_req_status 429; }}
        location ~ \\.php$ {{ return 403; }}
        location /static/ {{ expires 1h; }}
        {server}
    }}
    server {{
        listen 127.0.0.1:{tls} ssl;
        listen 127.0.0.1:{plain};
        server_name other.example.org;
        ssl_certificate {home}/cert.pem;
        ssl_certificate_key {home}/key.pem;
        location / {{ return 200 "another site"; }}
    }}
    {servers}
}}
stream {{
    server {{ listen 127.0.0.1:{tcp}; return "the operator's own"; }}
    {stream}
}}
"""


def nginx_version():
    said = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True).stderr
    return tuple(map(int, re.search(r"nginx/([0-9.]+)", said)[1].split(".")))


class Site(Sandbox):
    """A sandbox as a client of that nginx sees it."""

    def __init__(self, platform, secret, prefix="", proxy_port=None, tls=True, headers=None):
        scheme, port = ("https", platform.tls) if tls else ("http", platform.plain)
        super().__init__(f"{scheme}://127.0.0.1:{port}{prefix}", ("127.0.0.1", proxy_port), secret)
        self.certificate = platform.home / "cert.pem"
        self.tls = tls
        self.headers = headers or {}
        platform.sites.append(self)

    def _session(self):
        session = super()._session()
        session.verify = str(self.certificate)
        return session

    def connection(self, timeout):
        if not self.tls:
            return super().connection(timeout)
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout,
                                           context=ssl.create_default_context(cafile=self.certificate))


class Platform:
    """The machine: `etc` and `state` of the sandboxes, their daemons, and the nginx in front of them."""

    def __init__(self, home):
        self.home = pathlib.Path(home)
        self.etc, self.state = self.home / "etc", self.home / "state"
        self.etc.mkdir()
        self.state.mkdir()
        (self.home / "www/static").mkdir(parents=True)
        for name in ("index", "404", "refused", "limited", "static/page"):
            (self.home / f"www/{name}.html").write_text(f"<p>{name}, the site's own</p>")
        self.ports = [Port() for _ in range(3)]
        self.tls, self.plain, self.tcp = (port.number for port in self.ports)
        self.daemons = {}
        self.sites = []
        self.nginx = None
        self.certify("cert", "127.0.0.1")

    def certify(self, name, common_name):
        """A key and a certificate that nobody but itself vouches for."""
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", f"/CN={common_name}", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", self.home / ("key.pem" if name == "cert" else f"{name}-key.pem"), "-out", self.home / f"{name}.pem"],
                       check=True, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.nginx is not None:
            self.stop_nginx(signal.SIGTERM)
        for daemons in self.daemons.values():
            daemons.__exit__()
        for port in self.ports:
            port.free()

    # -- the settings --

    def settings(self, name="nginx-sandbox", **settings):
        (self.etc / f"{name}.conf").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))

    def map(self, *lines):
        (self.etc / "map.conf").write_text("".join(f"{line}\n" for line in lines))

    def secrets(self, name, *secrets):
        path = self.etc / f"{name}.secret"
        path.touch(0o600)
        path.write_bytes(b"".join((secret if isinstance(secret, bytes) else secret.encode()) + b"\n" for secret in secrets))

    def add(self, name, *secrets, run=True):
        """A sandbox with a PROXY_PORT of its own, which is the value, and its daemons, if they are to run."""
        self.secrets(name, *secrets)
        port = Port()
        self.ports.append(port)
        self.settings(name, PROXY_PORT=port.number)
        if run:
            self.daemons[name] = Foreground([*LAUNCHER, "--without-nginx"],
                                            {"SANDBOX_SECRET": "not nginx's", "SANDBOX_RUN_DIR": str(self.state / name)})
            wait_until(lambda: "ready for nginx" in self.daemons[name].stdout.text, "the ready line")
        return port.number

    def render(self):
        return subprocess.run([*LAUNCHER, "render", "--etc", self.etc, "--state", self.state], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)

    def rendered(self):
        done = self.render()
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    # -- nginx --

    def include(self, level):
        return f"include {self.etc}/nginx/{level}.conf;"

    def configure(self, workers=1, **levels):
        """Its configuration; `levels` is what stands in `http`, `server`, `servers` or `stream` besides its own."""
        text = CONF.format(home=self.home, modules=MODULES, tls=self.tls, plain=self.plain, tcp=self.tcp, workers=workers,
                           user="user www-data;" if os.getuid() == 0 else "",
                           **{"http": "", "server": "", "servers": "", "stream": "", **levels})
        (self.home / "nginx.conf").write_text(text)
        self.check()

    def include_all(self, **options):
        self.configure(**{level: self.include(level) for level in ("http", "server", "stream")}, **options)

    def command(self, *arguments):
        return [NGINX, "-e", f"{self.home}/error.log", "-c", f"{self.home}/nginx.conf", *arguments]

    def check(self):
        done = subprocess.run(self.command("-t", "-e", "stderr"), capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "warn" not in done.stderr and "deprecated" not in done.stderr, done.stderr

    def start_nginx(self):
        with open(self.home / "said", "ab") as said:
            self.nginx = subprocess.Popen(self.command("-g", "daemon off;"), stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        wait_until(self.answers, "nginx to answer")

    def answers(self):
        assert self.nginx.poll() is None, (self.home / "error.log").read_text()
        try:
            return requests.get(f"http://127.0.0.1:{self.plain}/", timeout=DEADLINE).status_code == 200
        except requests.ConnectionError:
            return False

    def workers(self):
        """Those that serve new connections and those that only finish what they have."""
        return [pid for pid in all_pids() if (stat := proc_stat(pid)) and stat[1] == self.nginx.pid
                and proc_file(pid, "cmdline").startswith(b"nginx: worker process")]

    def reload(self):
        """As an operator does it; over when only new workers take connections. The old ones."""
        old = self.workers()
        subprocess.run(self.command("-s", "reload"), check=True)

        def taken_over():
            lines = [proc_file(pid, "cmdline") for pid in old if alive(pid)]
            return all(b"shutting down" in line for line in lines if line) and set(self.workers()) - set(old)

        wait_until(taken_over, "new workers instead of the old ones")
        for site in self.sites:
            site.leave_connections()
        return old

    def stop_nginx(self, number, deadline=DEADLINE):
        self.nginx.send_signal(number)
        try:
            self.nginx.wait(deadline)
        finally:
            if self.nginx.poll() is None:
                self.nginx.kill()
            self.nginx = None
