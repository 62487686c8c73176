# shellcheck shell=bash disable=SC2154 # name and work are the test's
# For the tests that need a Docker engine: one of their own, and the image of this tree. Sourced, with `name` set to the name of the
# test and `work` to a directory that the test removes. BASE names the base image; without BASE and without a registry a
# base is made with debootstrap (SUITE, default trixie).

fail() { echo "$name: $*" >&2; exit 1; }
skip() { echo "$name: SKIPPED: $*"; [ -z "${REQUIRE:-}" ] || exit 77; exit 0; }

# Polls a command for at most $1 seconds.
wait_for() {
    local deadline=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.1
    done
}

# start_engine [OPTION...]: a dockerd that has all its files in $work; sets $engine, its process, and DOCKER_HOST.
start_engine() {
    command -v docker >/dev/null || skip "there is no docker command (Debian: apt-get install docker.io)"
    if ! command -v dockerd >/dev/null || [ "$(id -u)" != 0 ]; then
        skip "no Docker engine can be started here (that takes root, and dockerd)"
    fi
    export DOCKER_HOST=unix://$work/docker.sock
    dockerd --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" -H "$DOCKER_HOST" "$@" >"$work/dockerd.log" 2>&1 &
    engine=$!
    wait_for 30 docker info || skip "dockerd does not start here: $(tail -n 1 "$work/dockerd.log")"
}

stop_engine() {
    [ -n "${engine:-}" ] || return 0
    kill "$engine"
    while kill -0 "$engine" 2>/dev/null; do sleep 0.2; done
    engine=
    umount "$work"/exec/netns/* 2>/dev/null || true # dockerd leaves its host network mounted there
}

find_base() {
    [ -z "${BASE:-}" ] || return 0
    BASE=debian:${SUITE:-trixie}-slim
    docker image inspect "$BASE" >/dev/null 2>&1 && return
    timeout 60 docker pull -q "$BASE" >/dev/null 2>&1 && return
    command -v debootstrap >/dev/null || skip "no registry is reached, and there is no debootstrap to make a base image"
    local mirror
    mirror=$(sed -n 's/^URIs: *\(http[^ ]*\).*/\1/p; s/^deb  *\(http[^ ]*\) .*/\1/p' /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | grep -v security | head -n 1 || true)
    echo "$name: making a base image of ${SUITE:-trixie} with debootstrap"
    debootstrap --variant=minbase "${SUITE:-trixie}" "$work/base" ${mirror:+"$mirror"} >"$work/debootstrap.log" 2>&1 || fail "debootstrap: $(tail -n 1 "$work/debootstrap.log")"
    BASE=nginx-sandbox-base:${SUITE:-trixie}
    tar -C "$work/base" -c . | docker import - "$BASE" >/dev/null
    rm -rf "$work/base"
}

# build_image TAG
build_image() {
    find_base
    if docker buildx version >/dev/null 2>&1; then
        docker build -q --network host --build-arg BASE="$BASE" -t "$1" . >"$work/build.log" 2>&1
    else # the classic builder refuses --start-interval
        sed 's/ --start-interval=[^ ]*//' Dockerfile | DOCKER_BUILDKIT=0 docker build -q --network host --build-arg BASE="$BASE" -t "$1" -f - . >"$work/build.log" 2>&1
    fi || fail "docker build: $(tail -n 3 "$work/build.log")"
}
