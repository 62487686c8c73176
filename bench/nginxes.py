"""The plain nginxes that servers are measured beside, or through."""

import os
import shutil
import socket
import subprocess

from servers import free_port, fresh_directory, wait_until

MODULES = "/usr/lib/nginx/modules"


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def worker_count():
    """As many as our own nginx has."""
    return min(4, len(os.sched_getaffinity(0)))


class Nginx:
    """A plain nginx with nothing of ours: `text` are its http and stream blocks, with @DIR@ for its directory."""

    def __init__(self, port, text, modules=(), workers=None, directory=None):
        self.host, self.port, self.secret = "127.0.0.1", port, ""
        self.directory = directory or fresh_directory()
        conf = self.directory / "nginx.conf"
        frame = [f"load_module {MODULES}/{module}.so;" for module in modules]
        frame += [f"worker_processes {workers or worker_count()};", "pid @DIR@/pid;", "error_log stderr;", "events { worker_connections 4096; }"]
        if os.geteuid() == 0:
            frame.append("user www-data;")
        conf.write_text("\n".join([*frame, text]).replace("@DIR@", str(self.directory)))
        self.process = subprocess.Popen(["/usr/sbin/nginx", "-e", "stderr", "-c", conf, "-g", "daemon off;"])
        wait_until(lambda: listens(port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.directory)


# The directories that nginx makes at its start. The default ones are another nginx's.
HTTP = """ access_log off; keepalive_requests 100000; client_body_temp_path @DIR@/b; proxy_temp_path @DIR@/p; fastcgi_temp_path @DIR@/f;
 uwsgi_temp_path @DIR@/u; scgi_temp_path @DIR@/s;"""


def proxy_pass():
    """What an operator's proxy_pass costs: a kept HTTP connection over a unix socket to an nginx that returns 200 bytes."""
    port = free_port()
    return Nginx(port, f"""http {{ {HTTP}
 upstream second {{ server unix:@DIR@/second.sock; keepalive 64; }}
 server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://second; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
 server {{ listen unix:@DIR@/second.sock; default_type application/json; location / {{ return 200 '{"x" * 200}'; }} }} }}""")


def file_server(size):
    """An nginx that has one file, /file."""
    port = free_port()
    nginx = Nginx(port, f"http {{ {HTTP} sendfile on; server {{ listen 127.0.0.1:{port}; root @DIR@; }} }}", workers=1)
    (nginx.directory / "file").write_bytes(b"x" * size)
    return nginx


def plain_files(directory):
    """An nginx that sends the files of a directory by sendfile(2), and takes them by its module dav. All may write to the directory."""
    port = free_port()
    return Nginx(port, f"""http {{ {HTTP} sendfile on;
 server {{ listen 127.0.0.1:{port}; location / {{ root {directory}; client_body_temp_path {directory}/dav; client_max_body_size 0; dav_methods PUT; }} }} }}""")


def stream_proxy(target):
    """A TCP proxy with one fixed target."""
    port = free_port()
    return Nginx(port, f"stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{target}; }} }}", ["ngx_stream_module"])


def rendered_front(server, secrets):
    """An nginx with the files of `nginx-sandbox render`, in front of the daemons of a server of ours. /nginx only checks the token."""
    etc = fresh_directory()
    (etc / "map.conf").write_text("default run;\n")  # the run directory of the server as a sandbox
    (etc / "run.secret").touch(0o600)
    (etc / "run.secret").write_text("".join(f"{secret}\n" for secret in secrets))
    subprocess.run([server.binaries / "nginx-sandbox", "render", "--etc", etc, "--state", server.directory], check=True)
    port = free_port()
    front = Nginx(port, f"""http {{ {HTTP} include @DIR@/nginx/http.conf;
 server {{ listen 127.0.0.1:{port}; location = /nginx {{ include @DIR@/nginx/snippets/token.conf; try_files /none =204; }}
  include @DIR@/nginx/server.conf; }} }}""", ["ngx_http_js_module"], directory=etc)
    front.secret = server.secret
    return front
