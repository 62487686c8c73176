# The sandbox image: one stage compiles, the other holds stock nginx, s6, the daemons and the tools
# that the commands of an agent expect. Debian rather than Ubuntu 22.04: see docs/docker.md.
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        make gcc libc6-dev pkg-config libfcgi-dev libcjson-dev libmd-dev libpcre2-dev libvterm-dev
WORKDIR /src
COPY . .
RUN make build && make install PREFIX=/usr DESTDIR=/out

FROM ${BASE}
# libfcgi-bin brings the shared library, whose own package is named differently in Debian 12 and 13.
# policy-rc.d: the installation must not start a service (invoke-rc.d(8)).
RUN printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        nginx libnginx-mod-stream libnginx-mod-stream-js libnginx-mod-http-js s6 libfcgi-bin libcjson1 libmd0 libpcre2-8-0 libvterm0 \
        ca-certificates curl wget git python3 python-is-python3 jq procps zstd \
 && rm -rf /var/lib/apt/lists/* /etc/nginx/sites-enabled/default
COPY --from=build /out/ /
# The directory where commands start, for any user, and the home of users without one (SANDBOX_HOME). git accepts repositories of
# other users, because all users work for the same client.
RUN install -d -m 1777 /workspace && git config --system --add safe.directory '*'
WORKDIR /workspace
# The access log goes to the container's log. All other files lie in a private directory below /tmp.
ENV SANDBOX_ACCESS_LOG=/dev/stdout SANDBOX_HOME=/workspace LANG=C.UTF-8
EXPOSE 3030 3031
# Checked twice a second until the server is healthy. The classic builder refuses --start-interval: `make docker-build` omits it there.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=500ms \
    CMD ["sh", "-c", "exec curl --noproxy '*' -fsS -o /dev/null \"http://127.0.0.1:${PORT:-3030}/health\""]
STOPSIGNAL SIGTERM
# The launcher drops the secret from the environment and becomes the parent of the supervisor, s6-svscan, which is then
# process 1. `docker run IMAGE -- CMD` runs a command beside the server.
ENTRYPOINT ["nginx-sandbox"]
