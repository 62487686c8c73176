# Tests, linters and measurements. A target without a description is called by one that has one.

CMOCKA_LIBS = $(shell $(PKG_CONFIG) --libs cmocka)
FUZZ_LIBS   = $(shell $(PKG_CONFIG) --libs fcgi libcjson jansson)

FAULT := $(BUILD)/tests/faults/libfault.so
UNIT  := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.c))
FUZZ  := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
BENCH := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))

# Debian's own Python, which has the test packages; another Python may come first in PATH.
PYTHON ?= /usr/bin/python3
# How many tests run at once. They wait more than they compute.
JOBS   ?= 4
PYTEST  = SANDBOX_BIN=$(abspath $(BIN)) SANDBOX_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest -q -n $(JOBS)

.PHONY: unit test disasters chaos soak fuzz fuzz-merge fuzz-targets fuzz-http faults leaks coverage test-metrics test-asan test-tsan \
        format lint analyze lines bench test-deb test-docker test-deploy test-swarm test-vm

# A unit test links a library of everything but the mains. Tests of endpoints link a fake of fcgi.c, which
# takes the place of the real one.
UNIT_OBJECTS := $(COMMON) $(filter-out $(BUILD)/procd/main.o,$(PROCD)) $(filter-out $(BUILD)/fcgi-app/main.o,$(FCGI_APP)) $(call objects,$(wildcard terminal/websocket/*.c))
$(addprefix $(BUILD)/tests/unit/test_,faults json json_early files metrics port pump query shares sse): $(BUILD)/tests/unit/fake_request.o
$(BUILD)/tests/unit/test_faults: $(BUILD)/tests/faults/fault.o
$(BUILD)/tests/unit/test_files: LDFLAGS += -Wl,--wrap=io_read_some
$(BUILD)/tests/unit/test_listening: LDFLAGS += -Wl,--wrap=socket
$(BUILD)/tests/unit/test_reap: LDFLAGS += -Wl,--wrap=cgroup_oom_kills
$(BUILD)/tests/unit/test_remover: LDFLAGS += -Wl,--wrap=tree_remove
$(BUILD)/tests/unit/test_settings: LDFLAGS += -Wl,--wrap=log_request
# The tests act as another user between these calls, or let them fail.
$(BUILD)/tests/unit/test_fs: LDFLAGS += -Wl,--wrap=fallocate,--wrap=mkdir,--wrap=mkdirat,--wrap=open,--wrap=stat
# Tests the fallbacks for file systems without O_TMPFILE where O_TMPFILE works, too.
$(addprefix $(BUILD)/tests/unit/test_,fs spool): $(BUILD)/tests/unit/no_tmpfile.o
$(addprefix $(BUILD)/tests/unit/test_,fs spool): LDFLAGS += -Wl,--wrap=openat
$(addprefix $(BUILD)/tests/unit/test_,procd registry socket_owners stop terminal): $(BUILD)/tests/unit/procd_fixture.o | $(BIN)/procd
$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libunit.a
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(BUILD)/libunit.a $(FCGI_LIBS) $(CMOCKA_LIBS)
$(BUILD)/libunit.a: $(UNIT_OBJECTS)
	$(call say,AR)
	$(Q)rm -f $@ && $(AR) rcs $@ $(sort $^)

# A fuzz target links the code that it feeds, and nothing that starts processes. Without libFuzzer replay.c is its main.
FUZZ_OBJECTS := $(COMMON) $(call objects,$(wildcard api/*.c fcgi-app/json/*.c) fcgi-app/processes/log_cursor.c \
    $(patsubst %,fcgi-app/http/%.c,answer body_records json json_body json_early prefer query record_filter spools sse writer) \
    $(wildcard procd/log/*.c) procd/jobs/job_record.c procd/wire/protocol.c procd/wire/words.c \
    tests/unit/fake_request.c tests/fuzz/scratch.c $(if $(findstring fuzzer,$(SANITIZE)),,tests/fuzz/replay.c))
$(BUILD)/tests/fuzz/fuzz_launcher: $(call objects,$(patsubst %,launcher/%.c,pool/claim machine/environment_file \
    machine/sandbox_map base/file base/program base/setting_names base/stop_signal base/trim render/cors_origins \
    render/listen_address render/prefix secrets/base64url secrets/grant_key secrets/secret start/old_uploads start/run_dir))
$(addprefix $(BUILD)/tests/fuzz/fuzz_,launcher text): LDFLAGS += -Wl,--wrap=log_request
$(BUILD)/tests/fuzz/fuzz_launcher: FUZZ_LIBS += $(MD_LIBS)
$(BUILD)/tests/fuzz/fuzz_headers: $(call objects,fcgi-app/files/base64.c fcgi-app/files/body_digest.c $(patsubst %,fcgi-app/http/%.c,byte_range conditions http_date))
$(BUILD)/tests/fuzz/fuzz_headers: FUZZ_LIBS += $(MD_LIBS)
$(BUILD)/tests/fuzz/fuzz_uploads: $(call objects,$(patsubst %,fcgi-app/uploads/%.c,upload_checksum upload_metadata upload_record) \
    $(patsubst %,fcgi-app/files/%.c,base64 fs_part fs_path raw_path raw_wish))
$(BUILD)/tests/fuzz/fuzz_uploads: FUZZ_LIBS += $(MD_LIBS)
$(BUILD)/tests/fuzz/fuzz_web_socket: $(call objects,$(wildcard terminal/websocket/*.c))
$(BUILD)/tests/fuzz/fuzz_web_socket: FUZZ_LIBS += $(MD_LIBS)
$(BUILD)/tests/fuzz/fuzz_ports: $(call objects,$(patsubst %,fcgi-app/ports/%.c,embed_origins port_file shares))
$(BUILD)/tests/fuzz/fuzz_edits: $(call objects,fcgi-app/files/edits.c)
$(BUILD)/tests/fuzz/fuzz_file_part: $(call objects,fcgi-app/files/file_part.c)
$(BUILD)/tests/fuzz/fuzz_output: $(call objects,$(patsubst %,fcgi-app/output/%.c,line_place screen_text text_finder))
$(BUILD)/tests/fuzz/fuzz_search: $(call objects,$(patsubst %,fcgi-app/search/%.c,file_search glob literal text_pattern) fcgi-app/files/stop_check.c fcgi-app/http/stopping.c)
$(BUILD)/tests/fuzz/fuzz_search: FUZZ_LIBS += $(shell $(PKG_CONFIG) --libs libpcre2-8)
$(FUZZ): $(BUILD)/%: $(BUILD)/%.o $(FUZZ_OBJECTS)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(FUZZ_LIBS)
fuzz-targets: $(FUZZ)

## unit: build and run the C tests; one of them: make unit UNIT=build/tests/unit/test_spool
unit: $(UNIT)
	@for test in $(UNIT); do SANDBOX_BIN=$(abspath $(BIN)) $$test || exit 1; done

## test: install what is missing, build, and run the tests: C, API, smoke, some chaos, soak, fuzz corpus, faults. The last line counts them
test: test-deps
	@$(MAKE) --no-print-directory build $(UNIT) $(FAULT)
	@$(MAKE) --no-print-directory fuzz-targets SANITIZE=address,undefined
	$(PYTEST) tests/unit tests/api tests/smoke tests/chaos tests/soak tests/fuzz tests/faults tests/deploy

## faults: each allocation and system call of the daemons fails in turn, under AddressSanitizer
faults: test-deps
	@$(MAKE) --no-print-directory faults-sanitized SANITIZE=address,undefined

# The fault library is loaded before AddressSanitizer's, which would refuse that without this option.
.PHONY: faults-sanitized
faults-sanitized: export SANDBOX_FAULTS_STEP = 1
faults-sanitized: LINK_ORDER = :verify_asan_link_order=0
faults-sanitized: TESTS = -o faulthandler_timeout=900 tests/faults "tests/unit/test_programs.py::test_program[test_faults]"
faults-sanitized: build $(FAULT) $(BUILD)/tests/unit/test_faults
	$(run-sanitized)

# For `make leaks` and `make fuzz-http`.
REQUESTS ?= 10000

## leaks: REQUESTS=10000 of all kinds, good, bad and cut off, then a stop; LeakSanitizer finds no leak in any process
leaks: test-deps
	@$(MAKE) --no-print-directory leaks-sanitized SANITIZE=address,undefined

.PHONY: leaks-sanitized
leaks-sanitized: export SANDBOX_LEAKS_REQUESTS = $(REQUESTS)
leaks-sanitized: TESTS = -o faulthandler_timeout=3600 tests/leaks
leaks-sanitized: build
	$(run-sanitized)

## coverage: which lines of fcgi-app and procd the tests run; fails below COVERED=90 percent of either
COVERED ?= 90
coverage: test-deps
	@tools/install-packages $(COVERAGE_PACKAGES)
	@$(MAKE) --no-print-directory coverage-counted COVERAGE=1

# A killed process loses its counts. A failing test does not matter here: it fails `make test`, too.
.PHONY: coverage-counted coverage-report
coverage-counted: build $(UNIT) $(FAULT)
	find $(BUILD) -name '*.gcda' -delete
	-SANDBOX_FAULTS_STEP=4 SANDBOX_TEST_DEADLINE=20 $(PYTEST) tests/unit tests/api tests/smoke tests/chaos tests/faults
	@$(MAKE) --no-print-directory coverage-report

coverage-report:
	@for program in fcgi-app procd; do \
	    gcovr --root . --filter "$$program/" --exclude-unreachable-branches --fail-under-line $(COVERED) $(BUILD) || failed=1; done; exit $${failed:-0}

## disasters: fork bombs, no memory, no disk, no descriptors; SANDBOX_TEST_RECOVERY=5 is the time to recover, in seconds
disasters: test-deps
	@$(MAKE) --no-print-directory build
	@# -rs: the last lines name the tests that were skipped.
	$(PYTEST) -n 1 -rs tests/api/test_disasters.py tests/api/test_full_disk.py

## chaos: daemons die for SECONDS=120 under load, and nothing is lost; SEED=… repeats a run's operations, RUNNERS=1 kills runners, too
SECONDS ?= 120
chaos: test-deps
	@$(MAKE) --no-print-directory build
	SANDBOX_BIN=$(abspath $(BIN)) $(PYTHON) tests/chaos/run.py --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(RUNNERS),--runners)

## soak: MINUTES=60 of steady load from 32 clients: nothing grows or becomes slower. Figures and a picture are in build/soak
MINUTES ?= 60
soak: test-deps
	@tools/install-packages $(SOAK_PACKAGES)
	@$(MAKE) --no-print-directory build
	SANDBOX_BIN=$(abspath $(BIN)) $(PYTHON) tests/soak/run.py --minutes $(MINUTES) --directory $(BUILD)/soak $(if $(SEED),--seed $(SEED)) $(if $(RATE),--rate $(RATE))

## fuzz: each libFuzzer target, or those in TARGETS='json text', for SECONDS=120; findings go to build/fuzz
TARGETS ?= $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZER  := CC=clang SANITIZE=fuzzer,address,undefined BUILD=$(abspath build/fuzzer)
fuzz fuzz-merge: test-deps
	@tools/install-packages $(FUZZ_PACKAGES)
	@$(MAKE) --no-print-directory fuzz-targets $(FUZZER)
	@BUILD=$(abspath build/fuzzer) tests/fuzz/run $(if $(filter fuzz,$@),$(SECONDS),merge) $(TARGETS)

## fuzz-merge: add the inputs that `make fuzz` found to the committed corpus, and reduce it to those that add coverage

## fuzz-http: REQUESTS=10000 made-up requests against a running server; SEED=… repeats a run, CASE=… one request of it
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

# A report by any process, runners and killed daemons included, fails the run.
REPORTS := $(abspath $(BUILD))/reports
.PHONY: test-sanitized
test-sanitized: TESTS = tests/unit tests/api $(if $(findstring thread,$(SANITIZE)),tests/chaos)
test-sanitized: build $(UNIT)
	$(run-sanitized)

define run-sanitized
	rm -rf $(REPORTS) && mkdir -p $(REPORTS) && chmod 1777 $(REPORTS) # processes of another user write here, too
	ASAN_OPTIONS=detect_stack_use_after_return=1:log_path=$(REPORTS)/asan$(LINK_ORDER) UBSAN_OPTIONS=print_stacktrace=1:log_path=$(REPORTS)/ubsan \
	TSAN_OPTIONS=suppressions=$(abspath tests/tsan.supp):log_path=$(REPORTS)/tsan SANDBOX_TEST_DEADLINE=$${SANDBOX_TEST_DEADLINE:-20} $(PYTEST) $(TESTS)
	@# LeakSanitizer prints these lines about threads that end together with their process: no report.
	@find $(REPORTS) -type f -exec sed -i -E '/was not suspended\. False leaks are possible\.$$|Unable to get registers from thread [0-9]+\.$$/d' {} +
	@find $(REPORTS) -type f -empty -delete
	@if [ -n "$$(ls $(REPORTS))" ]; then cat $(REPORTS)/*; exit 1; fi
endef

# gcc's own execve writes the counters out and stops counting: wrong in a child that shares its parent's memory.
$(BUILD)/procd/runner/program.o: CFLAGS += $(if $(COVERAGE),-fno-builtin-execve)

# A library that tests of failing calls preload. Neither a sanitizer nor _FORTIFY_SOURCE may touch its wrappers.
$(BUILD)/tests/faults/fault.o: tests/faults/fault.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) -std=gnu17 -O2 -g $(WARNINGS) -U_FORTIFY_SOURCE -fPIC -fno-builtin -MMD -MP -c -o $@ $<
$(FAULT): $(BUILD)/tests/faults/fault.o
	$(call say,LD)
	$(Q)$(CC) -shared -Wl,-z,now -o $@ $^ -ldl

$(BUILD)/bench/%.o: CPPFLAGS += $(FCGI_CFLAGS)
$(BUILD)/bench/%: $(BUILD)/bench/%.o $(BUILD)/libunit.a
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(FCGI_LIBS)

## bench: the table of docs/benchmarks.md; BASE=commit puts a build of that commit beside it, PEER='host:port:proxyport:secret' another server; ROWS='list run' are some rows
bench: test-deps
	@tools/install-packages $(BENCH_PACKAGES)
	@$(MAKE) --no-print-directory build $(BENCH)
	SANDBOX_BIN=$(abspath $(BIN)) BENCH_BIN=$(abspath $(BUILD))/bench $(PYTHON) bench/run.py $(ROWS)

C_FILES = $(shell find api bench common fcgi-app guard identity launcher procd screen terminal tests -name '*.[ch]')
## format: clang-format on every C file
format:
	clang-format -i $(C_FILES)

## lint: install what is missing; clang-format, clang-tidy, gcc's analyzer, mandoc and shellcheck report nothing
lint: test-deps
	@tools/install-packages $(LINT_PACKAGES)
	clang-format --dry-run -Werror $(C_FILES)
	clang-tidy --quiet $(filter %.c,$(C_FILES)) -- -std=gnu17 $(CPPFLAGS) $(FCGI_CFLAGS) $(MD_CFLAGS)
	@$(MAKE) --no-print-directory analyze
	mandoc -T lint -W warning docs/man/*
	shellcheck -x $(shell grep -rIlE '^#!/bin/(ba)?sh|^#!/usr/bin/env bash|^# shellcheck shell=' debian nginx/service tools .ci tests findings)

## analyze: gcc's static analyzer reports nothing
# Not run on tests: they leave memory to the end of the program.
analyze:
	printf '%s\n' $(filter-out tests/%,$(filter %.c,$(C_FILES))) | \
	    xargs -P "$$(nproc)" -I{} gcc -std=gnu17 $(CPPFLAGS) $(FCGI_CFLAGS) $(MD_CFLAGS) -O2 -Werror -fanalyzer -c -o /dev/null {}

# The objects of each program, for tools/shared-names and tools/circles.
.PHONY: objects-fcgi-app objects-procd objects-terminal objects-guard objects-render-screen objects-nginx-sandbox
objects-fcgi-app: ; @echo $(FCGI_APP:$(BUILD)/%=%) $(COMMON:$(BUILD)/%=%)
objects-procd: ; @echo $(PROCD:$(BUILD)/%=%) $(COMMON:$(BUILD)/%=%)
objects-terminal: ; @echo $(TERMINAL:$(BUILD)/%=%) $(COMMON:$(BUILD)/%=%)
objects-guard: ; @echo $(GUARD:$(BUILD)/%=%) $(COMMON:$(BUILD)/%=%)
objects-render-screen: ; @echo $(SCREEN:$(BUILD)/%=%) $(COMMON:$(BUILD)/%=%)
objects-nginx-sandbox: ; @echo $(LAUNCHER:$(BUILD)/%=%) $(COMMON:$(BUILD)/%=%)

## lines: count the code lines of the product's C by folder; name the longest file and function
lines:
	@tools/lines

## test-docker: API tests against containers of the image; SKIPPED where no engine can start
test-docker:
	tests/docker/run

## test-deploy: kubectl, the Kubernetes API's models, docker and nginx accept the files of deploy/
test-deploy: test-deps
	@tools/install-packages $(DEPLOY_PACKAGES)
	@command -v kubectl >/dev/null || tools/install-packages kubernetes-client
	@$(MAKE) --no-print-directory build
	@# -rs: the last lines name the tests that were skipped.
	$(PYTEST) -rs tests/deploy tests/api/test_gateway.py

## test-swarm: the Swarm stack on an engine of its own; SKIPPED where none can start
test-swarm:
	tests/deploy/swarm

## test-vm: the tests of cgroups in a virtual machine with a kernel of its own; TESTS='…' sets other pytest arguments
test-vm: test-deps
	@tools/install-packages $(VM_PACKAGES)
	@$(MAKE) --no-print-directory build
	BUILD=$(BUILD) tests/vm/run $(TESTS)

## test-deb: the Debian package from install to purge in a machine with systemd; SUITE=trixie instead of bookworm, VM=1 with a kernel of its own
test-deb: build-deps
	@tools/install-packages $(DEB_PACKAGES) $(DEB_TEST_PACKAGES) $(if $(VM),$(VM_PACKAGES))
	BUILD=$(BUILD) tests/deb/run
