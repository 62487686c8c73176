# The Debian packages that each target needs, this project's own Debian package, and the image.
BUILD_PACKAGES := gcc libc6-dev pkg-config libfcgi-dev libcjson-dev libmd-dev libpcre2-dev libvterm-dev
RUN_PACKAGES   := nginx libnginx-mod-stream libnginx-mod-stream-js libnginx-mod-http-js s6 zstd
TEST_PACKAGES  := libcmocka-dev libjansson-dev python3 python3-pytest python3-pytest-xdist python3-prometheus-client python3-requests python3-yaml \
    python3-httpx aria2 chromium curl wget iproute2 jq procps logrotate openssl nodejs libarchive-tools zstd
FUZZ_PACKAGES  := clang libclang-rt-dev
COVERAGE_PACKAGES := gcovr
BENCH_PACKAGES := wrk
SOAK_PACKAGES  := gnuplot-nox
METRICS_PACKAGES := prometheus
DEPLOY_PACKAGES := python3-kubernetes
VM_PACKAGES    := qemu-system-x86 busybox-static cpio
LINT_PACKAGES  := clang-format clang-tidy mandoc shellcheck
# systemd.pc, which names the directory of units, is in systemd on Debian 12 and in systemd-dev later.
DEB_PACKAGES   := build-essential debhelper lintian 'systemd-dev|systemd'
DEB_TEST_PACKAGES := debootstrap systemd-container

IMAGE ?= koyeb/sandbox

.PHONY: deps test-deps build-deps deb docker-build docker-run docker-buildx docker-push

## deps: install the Debian packages to build and run (as root or with sudo)
deps:
	@tools/install-packages $(BUILD_PACKAGES) $(RUN_PACKAGES)

## test-deps: install the Debian packages to test
test-deps: deps
	@tools/install-packages $(TEST_PACKAGES)

# Installs nothing where a compiler and the libraries are there, whatever package they came from.
build-deps:
	@command -v $(firstword $(CC)) >/dev/null && $(PKG_CONFIG) --exists fcgi libcjson libmd libpcre2-8 vterm 2>/dev/null || \
	    tools/install-packages $(BUILD_PACKAGES)

## deb: the Debian package, in build/deb/packages, checked by lintian
deb:
	@tools/install-packages $(BUILD_PACKAGES) $(DEB_PACKAGES)
	tools/build-deb $(BUILD)/deb/packages

## docker-build: the image $(IMAGE)
docker-build:
	@# Debian's docker.io without docker-buildx has only the classic builder, which refuses --start-interval.
	if docker buildx version >/dev/null 2>&1; then docker build -t $(IMAGE) .; \
	else sed 's/ --start-interval=[^ ]*//' Dockerfile | docker build -t $(IMAGE) -f - .; fi

## docker-run: build the image and run it; without SANDBOX_SECRET it makes a secret
docker-run: docker-build
	@# The same ports inside, because the server prints its own port as the published one.
	port=$${PORT:-3030}; proxy_port=$${PROXY_PORT:-3031}; docker run --rm -i -p $$port:$$port -p $$proxy_port:$$proxy_port \
	    -e PORT=$$port -e PROXY_PORT=$$proxy_port -e SANDBOX_SECRET $(IMAGE) $(if $(SANDBOX_SECRET),,--generate-secret)

## docker-buildx: the image for amd64 and arm64 (needs the buildx plugin)
docker-buildx:
	@docker buildx version >/dev/null 2>&1 || { echo "make: docker buildx is missing (Debian: apt-get install docker-buildx)" >&2; exit 1; }
	docker buildx build --platform linux/amd64,linux/arm64 -t $(IMAGE) .

## docker-push: push the image $(IMAGE) to its registry
docker-push:
	@docker push $(IMAGE) || { echo "make: log in first (docker login), or name a registry of yours: make docker-push IMAGE=registry/name" >&2; exit 1; }
