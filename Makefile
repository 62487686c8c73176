# nginx-sandbox: build, run, test, install. `make help` lists the targets.

PREFIX   ?= /usr/local
DESTDIR  ?=
SANITIZE ?=
COVERAGE ?=
comma    := ,
# Builds for tests live apart, so that they never mix with plain objects: make SANITIZE=address,undefined; make COVERAGE=1
FLAVOUR  := $(subst $(comma),-,$(SANITIZE))$(if $(COVERAGE),coverage)
BUILD    ?= build$(if $(FLAVOUR),/$(FLAVOUR))
BIN      ?= $(if $(FLAVOUR),$(BUILD)/bin,bin)

WARNINGS  := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla
# The OpenSSF compiler hardening guide's set; _FORTIFY_SOURCE needs optimisation and clashes with sanitizers.
HARDENING := -fstack-protector-strong -fstack-clash-protection -fPIE $(if $(FLAVOUR),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
OPTIMISE  ?= $(if $(SANITIZE),-O1 -g -fno-omit-frame-pointer,$(if $(COVERAGE),-Og -g,-O2 -g))
# Counted with atomic additions, for there are threads.
COUNT     := $(if $(COVERAGE),--coverage -fprofile-update=atomic)

override CPPFLAGS += -D_GNU_SOURCE -I.
override CFLAGS   += -std=gnu17 $(OPTIMISE) $(WARNINGS) $(HARDENING) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all) $(COUNT) -pthread
override LDFLAGS  += -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed -pthread $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(COUNT)

PKG_CONFIG  ?= pkg-config
FCGI_CFLAGS  = $(shell $(PKG_CONFIG) --cflags fcgi libcjson)
FCGI_LIBS    = $(shell $(PKG_CONFIG) --libs fcgi libcjson)
MD_CFLAGS    = $(shell $(PKG_CONFIG) --cflags libmd)
MD_LIBS      = $(shell $(PKG_CONFIG) --libs libmd)
CMOCKA_LIBS  = $(shell $(PKG_CONFIG) --libs cmocka)
FUZZ_LIBS    = $(shell $(PKG_CONFIG) --libs fcgi libcjson jansson)

VERSION := $(shell sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)

objects = $(patsubst %.c,$(BUILD)/%.o,$(1))

COMMON   := $(call objects,$(wildcard common/*.c))
PROCD    := $(call objects,$(filter-out procd/wire/client%,$(wildcard procd/*.c procd/*/*.c)))
# What other programs link of procd: the protocol and its client. fcgi-app also reads the logs of jobs.
CLIENT   := $(call objects,$(wildcard procd/wire/*.c))
FCGI_APP := $(call objects,$(wildcard fcgi-app/*.c fcgi-app/*/*.c) procd/log/event_id.c procd/log/job_segment.c) $(CLIENT)
GUARD    := $(call objects,$(wildcard guard/*.c)) $(CLIENT)
LAUNCHER := $(sort $(call objects,$(wildcard launcher/*.c launcher/*/*.c procd/cgroup/*.c) $(addprefix procd/,process/process_hold.c process/process_table.c process/reap.c process/runners.c process/tree_kill.c runner/environment.c)) $(CLIENT))
FAULT    := $(BUILD)/tests/faults/libfault.so
UNIT     := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.c))
FUZZ     := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
BENCH    := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))

# Debian packages: to compile, to run, to test.
BUILD_PACKAGES := gcc libc6-dev pkg-config libfcgi-dev libcjson-dev libmd-dev
RUN_PACKAGES   := nginx libnginx-mod-stream libnginx-mod-stream-js libnginx-mod-http-js s6
TEST_PACKAGES  := libcmocka-dev libjansson-dev python3 python3-pytest python3-pytest-xdist python3-prometheus-client python3-requests python3-yaml \
    python3-httpx chromium curl jq procps logrotate openssl nodejs
FUZZ_PACKAGES  := clang libclang-rt-dev
COVERAGE_PACKAGES := gcovr
BENCH_PACKAGES := wrk
SOAK_PACKAGES  := gnuplot-nox
METRICS_PACKAGES := prometheus
DEPLOY_PACKAGES := python3-kubernetes
VM_PACKAGES    := qemu-system-x86 busybox-static cpio
LINT_PACKAGES  := clang-format clang-tidy mandoc shellcheck
# Debian 12 has the paths of systemd's units in systemd itself.
DEB_PACKAGES   := build-essential debhelper lintian 'systemd-dev|systemd'
DEB_TEST_PACKAGES := debootstrap systemd-container

# Debian's own Python has the test packages; another one may come first in PATH.
PYTHON ?= /usr/bin/python3
# Tests at once. They wait more than they compute.
JOBS   ?= 4
PYTEST  = SANDBOX_BIN=$(abspath $(BIN)) SANDBOX_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest -q -n $(JOBS)
IMAGE  ?= koyeb/sandbox

# A build elsewhere than bin/ finds the configuration as an installed program does: in ../share.
TREE_LINK := $(if $(filter-out bin,$(BIN)),$(BIN)/../share/nginx-sandbox/nginx)

.PHONY: all build build-deps deps test-deps run unit test disasters chaos soak fuzz fuzz-merge fuzz-http faults leaks coverage test-metrics test-asan test-tsan install uninstall clean format lint analyze \
        help deb docker-build docker-run docker-buildx docker-push test-deb test-docker test-deploy test-swarm test-vm bench
.DELETE_ON_ERROR:
.SECONDARY:

all: build

## build: bin/fcgi-app, bin/procd, bin/guard and bin/nginx-sandbox (the default; SANITIZE=address,undefined for another set)
build: $(BIN)/fcgi-app $(BIN)/procd $(BIN)/guard $(BIN)/nginx-sandbox $(TREE_LINK)

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

$(BIN)/guard: $(GUARD) $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^

$(BIN)/nginx-sandbox: $(LAUNCHER) $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(MD_LIBS)

$(BUILD)/fcgi-app/%.o: CPPFLAGS += $(FCGI_CFLAGS)
$(BUILD)/launcher/%.o: CPPFLAGS += $(MD_CFLAGS)
$(BUILD)/launcher/main.o: CPPFLAGS += -DNGINX_SANDBOX_VERSION='"$(VERSION)"'
$(BUILD)/launcher/main.o: debian/changelog
$(BUILD)/%.o: %.c | build-deps
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# A unit test links everything but the mains; the linker takes what it needs. Tests of endpoints bring a
# fake of fcgi.c, which keeps libfcgi's out.
UNIT_OBJECTS := $(COMMON) $(filter-out $(BUILD)/procd/main.o,$(PROCD)) $(filter-out $(BUILD)/fcgi-app/main.o,$(FCGI_APP))
$(addprefix $(BUILD)/tests/unit/test_,faults json files metrics port pump sse): $(BUILD)/tests/unit/fake_request.o
$(BUILD)/tests/unit/test_faults: $(BUILD)/tests/faults/fault.o
$(BUILD)/tests/unit/test_files: LDFLAGS += -Wl,--wrap=io_read_some
$(BUILD)/tests/unit/test_reap: LDFLAGS += -Wl,--wrap=cgroup_oom_kills
$(BUILD)/tests/unit/test_remover: LDFLAGS += -Wl,--wrap=tree_remove
# Another user acts between these calls, or the kernel refuses them.
$(BUILD)/tests/unit/test_fs: LDFLAGS += -Wl,--wrap=fallocate,--wrap=mkdir,--wrap=mkdirat,--wrap=open,--wrap=stat
# The fallbacks for file systems without O_TMPFILE are tried where it works, too.
$(addprefix $(BUILD)/tests/unit/test_,fs spool): $(BUILD)/tests/unit/no_tmpfile.o
$(addprefix $(BUILD)/tests/unit/test_,fs spool): LDFLAGS += -Wl,--wrap=openat
$(addprefix $(BUILD)/tests/unit/test_,procd registry stop): $(BUILD)/tests/unit/procd_fixture.o | $(BIN)/procd
$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libunit.a
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(BUILD)/libunit.a $(FCGI_LIBS) $(CMOCKA_LIBS)
$(BUILD)/libunit.a: $(UNIT_OBJECTS)
	rm -f $@ && $(AR) rcs $@ $(sort $^)

# A fuzz target links what it reads with, and nothing that runs. Without libFuzzer replay.c is its main.
FUZZ_OBJECTS := $(COMMON) $(call objects,$(wildcard fcgi-app/json/*.c) fcgi-app/processes/log_cursor.c \
    $(patsubst %,fcgi-app/http/%.c,answer json query record_filter spools sse writer) \
    $(wildcard procd/log/*.c) procd/jobs/job_record.c procd/wire/protocol.c procd/wire/words.c \
    tests/unit/fake_request.c tests/fuzz/scratch.c $(if $(findstring fuzzer,$(SANITIZE)),,tests/fuzz/replay.c))
$(BUILD)/tests/fuzz/fuzz_launcher: $(call objects,$(patsubst %,launcher/%.c,pool/claim pool/scgi_request machine/environment_file \
    machine/sandbox_map base/file base/program base/setting_names base/stop_signal base/trim render/cors_origins \
    render/listen_address render/prefix secrets/secret start/run_dir))
$(BUILD)/tests/fuzz/fuzz_launcher: LDFLAGS += -Wl,--wrap=log_line,--wrap=setenv
$(BUILD)/tests/fuzz/fuzz_launcher: FUZZ_LIBS += $(MD_LIBS)
$(FUZZ): $(BUILD)/%: $(BUILD)/%.o $(FUZZ_OBJECTS)
	$(CC) $(LDFLAGS) -o $@ $^ $(FUZZ_LIBS)
.PHONY: fuzz-targets
fuzz-targets: $(FUZZ)

## unit: build and run the C tests; one of them: make unit UNIT=build/tests/unit/test_spool
unit: $(UNIT)
	@for test in $(UNIT); do SANDBOX_BIN=$(abspath $(BIN)) $$test || exit 1; done

## test: install what is missing, build, and run the tests: C, API, smoke, some chaos, soak, fuzz corpus, faults. The last line counts them
test: test-deps
	@$(MAKE) --no-print-directory build $(UNIT) $(FAULT)
	@$(MAKE) --no-print-directory fuzz-targets SANITIZE=address,undefined
	$(PYTEST) tests/unit tests/api tests/smoke tests/chaos tests/soak tests/fuzz tests/faults tests/deploy

## faults: each allocation and system call of the daemons fails in turn, with AddressSanitizer looking on
faults: test-deps
	@$(MAKE) --no-print-directory faults-sanitized SANITIZE=address,undefined

# The library comes before the sanitizer's, which must not mind.
.PHONY: faults-sanitized
faults-sanitized: export SANDBOX_FAULTS_STEP = 1
faults-sanitized: LINK_ORDER = :verify_asan_link_order=0
faults-sanitized: TESTS = -o faulthandler_timeout=900 tests/faults "tests/unit/test_programs.py::test_program[test_faults]"
faults-sanitized: build $(FAULT) $(BUILD)/tests/unit/test_faults
	$(run-sanitized)

# Of `make leaks` and `make fuzz-http`.
REQUESTS ?= 10000

## leaks: REQUESTS=10000 of all kinds, good, bad and cut off, and a stop; LeakSanitizer says nothing of any process
leaks: test-deps
	@$(MAKE) --no-print-directory leaks-sanitized SANITIZE=address,undefined

.PHONY: leaks-sanitized
leaks-sanitized: export SANDBOX_LEAKS_REQUESTS = $(REQUESTS)
leaks-sanitized: TESTS = -o faulthandler_timeout=3600 tests/leaks
leaks-sanitized: build
	$(run-sanitized)

## coverage: which lines of fcgi-app and procd the tests run; it fails below COVERED=90 per cent of either
COVERED ?= 90
coverage: test-deps
	@tools/install-packages $(COVERAGE_PACKAGES)
	@$(MAKE) --no-print-directory coverage-counted COVERAGE=1

# What a killed process has counted is lost. A test that fails here fails `make test`, which is the place to look at it.
.PHONY: coverage-counted coverage-report
coverage-counted: build $(UNIT) $(FAULT)
	find $(BUILD) -name '*.gcda' -delete
	-SANDBOX_FAULTS_STEP=4 SANDBOX_TEST_DEADLINE=20 $(PYTEST) tests/unit tests/api tests/smoke tests/chaos tests/faults
	@$(MAKE) --no-print-directory coverage-report

coverage-report:
	@for program in fcgi-app procd; do \
	    gcovr --root . --filter "$$program/" --exclude-unreachable-branches --fail-under-line $(COVERED) $(BUILD) || failed=1; done; exit $${failed:-0}

## disasters: fork bombs, no memory, no disk, no descriptors; SANDBOX_TEST_RECOVERY=5 is how soon all must be well after them
disasters: test-deps
	@$(MAKE) --no-print-directory build
	@# What cannot be tried here is told at the end.
	$(PYTEST) -n 1 -rs tests/api/test_disasters.py tests/api/test_full_disk.py

## chaos: daemons die for SECONDS=120 under load, and nothing is lost; SEED=… repeats the operations of another run, RUNNERS=1 kills runners, too
SECONDS ?= 120
chaos: test-deps
	@$(MAKE) --no-print-directory build
	SANDBOX_BIN=$(abspath $(BIN)) $(PYTHON) tests/chaos/run.py --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(RUNNERS),--runners)

## soak: MINUTES=60 of steady load from 32 clients; does anything grow, or become slower? Figures and a picture in build/soak
MINUTES ?= 60
soak: test-deps
	@tools/install-packages $(SOAK_PACKAGES)
	@$(MAKE) --no-print-directory build
	SANDBOX_BIN=$(abspath $(BIN)) $(PYTHON) tests/soak/run.py --minutes $(MINUTES) --directory $(BUILD)/soak $(if $(SEED),--seed $(SEED)) $(if $(RATE),--rate $(RATE))

## fuzz: each libFuzzer target for SECONDS=120, or those in TARGETS='json text'; what they find is in build/fuzz
TARGETS ?= $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZER  := CC=clang SANITIZE=fuzzer,address,undefined BUILD=$(abspath build/fuzzer)
fuzz fuzz-merge: test-deps
	@tools/install-packages $(FUZZ_PACKAGES)
	@$(MAKE) --no-print-directory fuzz-targets $(FUZZER)
	@BUILD=$(abspath build/fuzzer) tests/fuzz/run $(if $(filter fuzz,$@),$(SECONDS),merge) $(TARGETS)

## fuzz-merge: add what `make fuzz` has found to the committed corpus, and reduce that to what the coverage needs

## fuzz-http: REQUESTS=10000 made-up requests against a running server; SEED=… repeats those of another run, CASE=… one of them
fuzz-http: test-deps
	@$(MAKE) --no-print-directory build
	SANDBOX_BIN=$(abspath $(BIN)) $(PYTHON) tests/fuzz/http_fuzzer.py --requests $(REQUESTS) $(if $(SEED),--seed $(SEED)) $(if $(CASE),--case $(CASE))

## test-metrics: the tests of GET /metrics, with Prometheus's own promtool
test-metrics: test-deps
	@tools/install-packages $(METRICS_PACKAGES)
	@$(MAKE) --no-print-directory build
	$(PYTEST) tests/api/test_metrics.py

## test-asan: C and API tests with AddressSanitizer and UndefinedBehaviorSanitizer
test-asan: test-deps
	@$(MAKE) --no-print-directory test-sanitized SANITIZE=address,undefined

## test-tsan: the same with ThreadSanitizer, and some chaos
test-tsan: test-deps
	@$(MAKE) --no-print-directory test-sanitized SANITIZE=thread

# A report of any process, runners and killed daemons too, fails the run.
REPORTS := $(abspath $(BUILD))/reports
.PHONY: test-sanitized
test-sanitized: TESTS = tests/unit tests/api $(if $(findstring thread,$(SANITIZE)),tests/chaos)
test-sanitized: build $(UNIT)
	$(run-sanitized)

define run-sanitized
	rm -rf $(REPORTS) && mkdir -p $(REPORTS) && chmod 1777 $(REPORTS) # another user's processes report, too
	ASAN_OPTIONS=detect_stack_use_after_return=1:log_path=$(REPORTS)/asan$(LINK_ORDER) UBSAN_OPTIONS=print_stacktrace=1:log_path=$(REPORTS)/ubsan \
	TSAN_OPTIONS=log_path=$(REPORTS)/tsan SANDBOX_TEST_DEADLINE=$${SANDBOX_TEST_DEADLINE:-20} $(PYTEST) $(TESTS)
	@# What LeakSanitizer says of threads that end while their process does is no report.
	@find $(REPORTS) -type f -exec sed -i -E '/was not suspended\. False leaks are possible\.$$|Unable to get registers from thread [0-9]+\.$$/d' {} +
	@find $(REPORTS) -type f -empty -delete
	@if [ -n "$$(ls $(REPORTS))" ]; then cat $(REPORTS)/*; exit 1; fi
endef

# gcc writes the counters out before execve(2) and counts no more after that: wrong where a child borrows the memory.
$(BUILD)/procd/runner/spawn.o: CFLAGS += $(if $(COVERAGE),-fno-builtin-execve)

# Preloaded by the daemons in tests of failing calls. Its wrappers run where neither a sanitizer nor _FORTIFY_SOURCE may.
$(BUILD)/tests/faults/fault.o: tests/faults/fault.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -std=gnu17 -O2 -g $(WARNINGS) -U_FORTIFY_SOURCE -fPIC -fno-builtin -MMD -MP -c -o $@ $<
$(FAULT): $(BUILD)/tests/faults/fault.o
	$(CC) -shared -Wl,-z,now -o $@ $^ -ldl

$(BUILD)/bench/%.o: CPPFLAGS += $(FCGI_CFLAGS)
$(BUILD)/bench/%: $(BUILD)/bench/%.o $(BUILD)/libunit.a
	$(CC) $(LDFLAGS) -o $@ $^ $(FCGI_LIBS)

## bench: the table of docs/benchmarks.md; PEER='host:port:proxyport:secret' puts another server beside it
bench: test-deps
	@tools/install-packages $(BENCH_PACKAGES)
	@$(MAKE) --no-print-directory build $(BENCH)
	SANDBOX_BIN=$(abspath $(BIN)) BENCH_BIN=$(abspath $(BUILD))/bench $(PYTHON) bench/run.py

## install: to $(DESTDIR)$(PREFIX): bin/nginx-sandbox, libexec/nginx-sandbox/, share/nginx-sandbox/ (with a unit for systemd), share/man/
MAN := $(DESTDIR)$(PREFIX)/share/man
SHARE := $(DESTDIR)$(PREFIX)/share/nginx-sandbox/nginx
UNIT_FILE := $(PREFIX)/share/nginx-sandbox/systemd/nginx-sandbox.service
install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/nginx-sandbox $(SHARE)
	install -m 755 $(BIN)/nginx-sandbox $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(BIN)/fcgi-app $(BIN)/procd $(BIN)/guard $(DESTDIR)$(PREFIX)/libexec/nginx-sandbox/
	install -m 644 nginx/nginx.conf nginx/proxy.js nginx/token.js nginx/metrics.txt nginx/logrotate $(SHARE)/
	rm -rf $(SHARE)/snippets $(SHARE)/templates $(SHARE)/service
	cp -R nginx/snippets nginx/templates nginx/service $(SHARE)/
	chmod -R u=rwX,go=rX $(SHARE)
	install -d $(dir $(DESTDIR)$(UNIT_FILE))
	sed 's|@PREFIX@|$(PREFIX)|' systemd/standalone.service.in >$(DESTDIR)$(UNIT_FILE)
	chmod 644 $(DESTDIR)$(UNIT_FILE)
	$(foreach section,5 7 8,install -d $(MAN)/man$(section) && install -m 644 docs/man/*.$(section) $(MAN)/man$(section)/ &&) true
	@$(if $(DESTDIR),,echo "make: with systemd, after a look at the settings in it: systemctl enable --now $(UNIT_FILE)")

## uninstall: remove what install has put there
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/nginx-sandbox
	rm -rf $(DESTDIR)$(PREFIX)/libexec/nginx-sandbox $(DESTDIR)$(PREFIX)/share/nginx-sandbox
	rm -f $(foreach section,5 7 8,$(patsubst docs/man/%,$(MAN)/man$(section)/%,$(wildcard docs/man/*.$(section))))

## clean: remove everything that was built
clean:
	rm -rf build bin

C_FILES = $(shell find bench common fcgi-app guard launcher procd tests -name '*.[ch]')
## format: clang-format on every C file
format:
	clang-format -i $(C_FILES)

## lint: install what is missing; clang-format, clang-tidy, gcc's analyzer, mandoc and shellcheck complain about nothing
lint: test-deps
	@tools/install-packages $(LINT_PACKAGES)
	clang-format --dry-run -Werror $(C_FILES)
	clang-tidy --quiet $(filter %.c,$(C_FILES)) -- -std=gnu17 $(CPPFLAGS) $(FCGI_CFLAGS) $(MD_CFLAGS)
	@$(MAKE) --no-print-directory analyze
	mandoc -T lint -W warning docs/man/*
	shellcheck -x $(shell grep -rlE '^#!/bin/(ba)?sh|^#!/usr/bin/env bash|^# shellcheck shell=' debian nginx/service tools .ci tests findings)

## analyze: gcc's static analyzer finds nothing
# Of the tests, it would mostly find that memory is left to the end of the program.
analyze:
	printf '%s\n' $(filter-out tests/%,$(filter %.c,$(C_FILES))) | \
	    xargs -P "$$(nproc)" -I{} gcc -std=gnu17 $(CPPFLAGS) $(FCGI_CFLAGS) $(MD_CFLAGS) -O2 -Werror -fanalyzer -c -o /dev/null {}

# What tools/shared-names and tools/circles ask for.
.PHONY: objects-fcgi-app objects-procd objects-guard objects-nginx-sandbox lines
objects-fcgi-app: ; @echo $(FCGI_APP:$(BUILD)/%=%) $(COMMON:$(BUILD)/%=%)
objects-procd: ; @echo $(PROCD:$(BUILD)/%=%) $(COMMON:$(BUILD)/%=%)
objects-guard: ; @echo $(GUARD:$(BUILD)/%=%) $(COMMON:$(BUILD)/%=%)
objects-nginx-sandbox: ; @echo $(LAUNCHER:$(BUILD)/%=%) $(COMMON:$(BUILD)/%=%)

## lines: code lines of the product's C by folder, the longest file, the longest function
lines:
	@tools/lines

## docker-build: the image $(IMAGE)
docker-build:
	@# The classic builder, which Debian's docker.io has without docker-buildx, refuses --start-interval.
	if docker buildx version >/dev/null 2>&1; then docker build -t $(IMAGE) .; \
	else sed 's/ --start-interval=[^ ]*//' Dockerfile | docker build -t $(IMAGE) -f - .; fi

## docker-run: build the image and run it; without SANDBOX_SECRET it makes one
docker-run: docker-build
	@# The same ports inside, so that the address that the server prints is the published one.
	port=$${PORT:-3030}; proxy_port=$${PROXY_PORT:-3031}; docker run --rm -i -p $$port:$$port -p $$proxy_port:$$proxy_port \
	    -e PORT=$$port -e PROXY_PORT=$$proxy_port -e SANDBOX_SECRET $(IMAGE) $(if $(SANDBOX_SECRET),,--generate-secret)

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

## test-deploy: what deploy/ says, as kubectl, the Kubernetes API's models, docker and nginx read it
test-deploy: test-deps
	@tools/install-packages $(DEPLOY_PACKAGES)
	@command -v kubectl >/dev/null || tools/install-packages kubernetes-client
	@$(MAKE) --no-print-directory build
	@# What cannot be tried here is told at the end.
	$(PYTEST) -rs tests/deploy tests/api/test_gateway.py

## test-swarm: the Swarm stack on an engine of its own; says so where none can be started
test-swarm:
	tests/deploy/swarm

## test-vm: the tests of cgroups in a virtual machine with a kernel of its own; TESTS='…' for other pytest arguments
test-vm: test-deps
	@tools/install-packages $(VM_PACKAGES)
	@$(MAKE) --no-print-directory build
	BUILD=$(BUILD) tests/vm/run $(TESTS)

## deb: the Debian package, in build/deb/packages, and what lintian says of it
deb:
	@tools/install-packages $(BUILD_PACKAGES) $(DEB_PACKAGES)
	tools/build-deb $(BUILD)/deb/packages

## test-deb: the package in a machine of its own with systemd, from install to purge; SUITE=trixie for another than bookworm, VM=1 with a kernel of its own
test-deb: build-deps
	@tools/install-packages $(DEB_PACKAGES) $(DEB_TEST_PACKAGES) $(if $(VM),$(VM_PACKAGES))
	BUILD=$(BUILD) tests/deb/run

## help: this list
help:
	@sed -n 's/^## \([a-z-]*\): /\1|/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "  %-14s %s\n", $$1, $$2 }'

-include $(shell find $(BUILD) -path $(BUILD)/deb -prune -o -type f -name '*.d' -print 2>/dev/null)
