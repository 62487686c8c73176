# nginx-sandbox: build, run, test, install. `make help` lists the targets.

PREFIX   ?= /usr/local
DESTDIR  ?=
SANITIZE ?=
# Sanitizer builds live apart, so that they never mix with plain objects: make SANITIZE=address,undefined
BUILD    ?= build$(if $(SANITIZE),/$(subst $(comma),-,$(SANITIZE)))
BIN      ?= $(if $(SANITIZE),$(BUILD)/bin,bin)
comma    := ,

WARNINGS  := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla
# The OpenSSF compiler hardening guide's set; _FORTIFY_SOURCE needs optimisation and clashes with sanitizers.
HARDENING := -fstack-protector-strong -fstack-clash-protection -fPIE $(if $(SANITIZE),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
OPTIMISE  ?= $(if $(SANITIZE),-O1 -g -fno-omit-frame-pointer,-O2 -g)

override CPPFLAGS += -D_GNU_SOURCE -I.
override CFLAGS   += -std=gnu17 $(OPTIMISE) $(WARNINGS) $(HARDENING) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all) -pthread
override LDFLAGS  += -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed -pthread $(if $(SANITIZE),-fsanitize=$(SANITIZE))

PKG_CONFIG  ?= pkg-config
FCGI_CFLAGS  = $(shell $(PKG_CONFIG) --cflags fcgi libcjson)
FCGI_LIBS    = $(shell $(PKG_CONFIG) --libs fcgi libcjson)
MD_CFLAGS    = $(shell $(PKG_CONFIG) --cflags libmd)
MD_LIBS      = $(shell $(PKG_CONFIG) --libs libmd)
CMOCKA_LIBS  = $(shell $(PKG_CONFIG) --libs cmocka)

objects = $(patsubst %.c,$(BUILD)/%.o,$(1))

COMMON   := $(call objects,$(wildcard common/*.c))
PROCD    := $(call objects,$(filter-out procd/client.c,$(wildcard procd/*.c)))
FCGI_APP := $(call objects,$(wildcard fcgi-app/*.c) procd/client.c procd/protocol.c)
LAUNCHER := $(call objects,$(wildcard nginx/launcher/*.c))
UNIT     := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.c))
BENCH    := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))

# Debian packages: to compile, to run, to test.
BUILD_PACKAGES := gcc libc6-dev pkg-config libfcgi-dev libcjson-dev libmd-dev
RUN_PACKAGES   := nginx libnginx-mod-stream libnginx-mod-stream-js s6
TEST_PACKAGES  := libcmocka-dev python3 python3-pytest python3-pytest-xdist python3-requests curl jq procps
BENCH_PACKAGES := wrk

# Debian's own Python has the test packages; another one may come first in PATH.
PYTHON ?= /usr/bin/python3
# Tests at once. They wait more than they compute.
JOBS   ?= 4
PYTEST  = SANDBOX_BIN=$(abspath $(BIN)) SANDBOX_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest -q -n $(JOBS)
IMAGE  ?= koyeb/sandbox

# A build elsewhere than bin/ finds the configuration as an installed program does: in ../share.
TREE_LINK := $(if $(filter-out bin,$(BIN)),$(BIN)/../share/nginx-sandbox/nginx)

.PHONY: all build build-deps deps test-deps run unit test test-asan test-tsan install uninstall clean format lint help \
        docker-build docker-run docker-buildx docker-push test-docker bench
.DELETE_ON_ERROR:
.SECONDARY:

all: build

## build: bin/fcgi-app, bin/procd and bin/nginx-sandbox (the default; SANITIZE=address,undefined for another set)
build: $(BIN)/fcgi-app $(BIN)/procd $(BIN)/nginx-sandbox $(TREE_LINK)

## run: install what is missing, build, and run the server in the foreground (SANDBOX_SECRET, PORT, PROXY_PORT)
# The launcher replaces the shell, drops the variables of make, and is told when make is killed.
run: deps
	@$(MAKE) --no-print-directory build
	@exec setpriv --pdeathsig TERM $(BIN)/nginx-sandbox --generate-secret

## deps: install the Debian packages to build and run (as root or with sudo)
deps:
	@tools/install-packages $(BUILD_PACKAGES) $(RUN_PACKAGES)

## test-deps: install the Debian packages to test
test-deps: deps
	@tools/install-packages $(TEST_PACKAGES)

# To compile, whatever provides a compiler and the libraries will do.
build-deps:
	@command -v $(firstword $(CC)) >/dev/null && $(PKG_CONFIG) --exists fcgi libcjson libmd 2>/dev/null || \
	    tools/install-packages $(BUILD_PACKAGES)

$(BIN)/../share/nginx-sandbox/nginx:
	@mkdir -p $(@D)
	ln -sfn $(CURDIR)/nginx $@

$(BIN)/fcgi-app: $(FCGI_APP) $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(FCGI_LIBS)

$(BIN)/procd: $(PROCD) $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^

$(BIN)/nginx-sandbox: $(LAUNCHER) $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(MD_LIBS)

$(BUILD)/fcgi-app/%.o: CPPFLAGS += $(FCGI_CFLAGS)
$(BUILD)/nginx/launcher/%.o: CPPFLAGS += $(MD_CFLAGS)
$(BUILD)/%.o: %.c | build-deps
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# A unit test links everything but the mains; the linker takes what it needs. Tests of endpoints bring a
# fake of fcgi.c, which keeps libfcgi's out.
UNIT_OBJECTS := $(COMMON) $(filter-out $(BUILD)/procd/main.o,$(PROCD)) $(filter-out $(BUILD)/fcgi-app/main.o,$(FCGI_APP))
$(addprefix $(BUILD)/tests/unit/test_,json files port pump sse): $(BUILD)/tests/unit/fake_request.o
$(BUILD)/tests/unit/test_files: LDFLAGS += -Wl,--wrap=io_read_some
# The fallbacks for file systems without O_TMPFILE are tried where it works, too.
$(addprefix $(BUILD)/tests/unit/test_,fs spool): $(BUILD)/tests/unit/no_tmpfile.o
$(addprefix $(BUILD)/tests/unit/test_,fs spool): LDFLAGS += -Wl,--wrap=openat
$(addprefix $(BUILD)/tests/unit/test_,procd registry stop): $(BUILD)/tests/unit/procd_fixture.o | $(BIN)/procd
$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libunit.a
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(BUILD)/libunit.a $(FCGI_LIBS) $(CMOCKA_LIBS)
$(BUILD)/libunit.a: $(UNIT_OBJECTS)
	rm -f $@ && $(AR) rcs $@ $(sort $^)

## unit: build and run the C tests; one of them: make unit UNIT=build/tests/unit/test_spool
unit: $(UNIT)
	@for test in $(UNIT); do SANDBOX_BIN=$(abspath $(BIN)) $$test || exit 1; done

## test: install what is missing, build, and run all tests: C, API, smoke. The last line counts them
test: test-deps
	@$(MAKE) --no-print-directory build $(UNIT)
	$(PYTEST) tests/unit tests/api tests/smoke

## test-asan: C and API tests with AddressSanitizer and UndefinedBehaviorSanitizer
test-asan: test-deps
	@$(MAKE) --no-print-directory test-sanitized SANITIZE=address,undefined

## test-tsan: the same with ThreadSanitizer
test-tsan: test-deps
	@$(MAKE) --no-print-directory test-sanitized SANITIZE=thread

# A report of any process, runners and killed daemons too, fails the run.
REPORTS := $(abspath $(BUILD))/reports
.PHONY: test-sanitized
test-sanitized: build $(UNIT)
	rm -rf $(REPORTS) && mkdir -p $(REPORTS)
	ASAN_OPTIONS=detect_stack_use_after_return=1:log_path=$(REPORTS)/asan UBSAN_OPTIONS=print_stacktrace=1:log_path=$(REPORTS)/ubsan \
	TSAN_OPTIONS=log_path=$(REPORTS)/tsan SANDBOX_TEST_DEADLINE=$${SANDBOX_TEST_DEADLINE:-20} $(PYTEST) tests/unit tests/api
	@if [ -n "$$(ls $(REPORTS))" ]; then cat $(REPORTS)/*; exit 1; fi

$(BUILD)/bench/%.o: CPPFLAGS += $(FCGI_CFLAGS)
$(BUILD)/bench/%: $(BUILD)/bench/%.o $(BUILD)/libunit.a
	$(CC) $(LDFLAGS) -o $@ $^ $(FCGI_LIBS)

## bench: the table of docs/benchmarks.md; PEER='host:port:proxyport:secret' puts another server beside it
bench: test-deps
	@tools/install-packages $(BENCH_PACKAGES)
	@$(MAKE) --no-print-directory build $(BENCH)
	SANDBOX_BIN=$(abspath $(BIN)) BENCH_BIN=$(abspath $(BUILD))/bench $(PYTHON) bench/run.py

## install: to $(DESTDIR)$(PREFIX): bin/nginx-sandbox, libexec/nginx-sandbox/, share/nginx-sandbox/
SHARE := $(DESTDIR)$(PREFIX)/share/nginx-sandbox/nginx
install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/nginx-sandbox $(SHARE)
	install -m 755 $(BIN)/nginx-sandbox $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(BIN)/fcgi-app $(BIN)/procd $(DESTDIR)$(PREFIX)/libexec/nginx-sandbox/
	install -m 644 nginx/nginx.conf nginx/proxy.js $(SHARE)/
	rm -rf $(SHARE)/snippets $(SHARE)/service
	cp -R nginx/snippets nginx/service $(SHARE)/
	chmod -R u=rwX,go=rX $(SHARE)

## uninstall: remove what install has put there
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/nginx-sandbox
	rm -rf $(DESTDIR)$(PREFIX)/libexec/nginx-sandbox $(DESTDIR)$(PREFIX)/share/nginx-sandbox

## clean: remove everything that was built
clean:
	rm -rf build bin

C_FILES = $(shell find bench common fcgi-app nginx procd tests -name '*.[ch]')
## format: clang-format on every C file
format:
	clang-format -i $(C_FILES)

## lint: clang-format, clang-tidy and shellcheck complain about nothing
lint:
	clang-format --dry-run -Werror $(C_FILES)
	clang-tidy --quiet $(filter %.c,$(C_FILES)) -- -std=gnu17 $(CPPFLAGS) $(FCGI_CFLAGS) $(MD_CFLAGS)
	shellcheck $(shell grep -rlE '^#!/bin/(ba)?sh|^#!/usr/bin/env bash' nginx/service tools .ci tests)

## docker-build: the image $(IMAGE)
docker-build:
	docker build -t $(IMAGE) .

## docker-run: build the image and run it; without SANDBOX_SECRET it makes one
docker-run: docker-build
	docker run --rm -i -p $${PORT:-3030}:3030 -p $${PROXY_PORT:-3031}:3031 -e SANDBOX_SECRET $(IMAGE) $(if $(SANDBOX_SECRET),,--generate-secret)

## docker-buildx: the image for amd64 and arm64 (needs the buildx plugin)
docker-buildx:
	@docker buildx version >/dev/null 2>&1 || { echo "make: docker buildx is missing (Debian: apt-get install docker-buildx)" >&2; exit 1; }
	docker buildx build --platform linux/amd64,linux/arm64 -t $(IMAGE) .

## docker-push: push the image $(IMAGE) to its registry
docker-push:
	@docker push $(IMAGE) || { echo "make: log in first (docker login), or name a registry of yours: make docker-push IMAGE=registry/name" >&2; exit 1; }

## test-docker: API tests against containers of the image; says so where no engine can be started
test-docker:
	tests/docker/run

## help: this list
help:
	@sed -n 's/^## \([a-z-]*\): /\1|/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "  %-14s %s\n", $$1, $$2 }'

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
