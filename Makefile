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
# Threads count lines together, so the counters are atomic.
COUNT     := $(if $(COVERAGE),--coverage -fprofile-update=atomic)

override CPPFLAGS += -D_GNU_SOURCE -I.
override CFLAGS   += -std=gnu17 $(OPTIMISE) $(WARNINGS) $(HARDENING) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all) $(COUNT) -pthread
override LDFLAGS  += -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed -pthread $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(COUNT)

PKG_CONFIG  ?= pkg-config
FCGI_CFLAGS  = $(shell $(PKG_CONFIG) --cflags fcgi libcjson libmd libpcre2-8)
VTERM_CFLAGS = $(shell $(PKG_CONFIG) --cflags vterm)
VTERM_LIBS   = $(shell $(PKG_CONFIG) --libs vterm)
FCGI_LIBS    = $(shell $(PKG_CONFIG) --libs fcgi libcjson libmd libpcre2-8)
MD_CFLAGS    = $(shell $(PKG_CONFIG) --cflags libmd)
MD_LIBS      = $(shell $(PKG_CONFIG) --libs libmd)

VERSION := $(shell sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)

# The build prints one line a file, such as `CC fcgi-app/main.o`. V=1 shows the commands instead.
Q   := $(if $(V),,@)
say  = $(if $(V),,@echo $(1) $(@:$(BUILD)/%=%))

objects = $(patsubst %.c,$(BUILD)/%.o,$(1))

COMMON   := $(call objects,$(wildcard common/*.c))
PROCD    := $(call objects,$(filter-out procd/wire/client%,$(wildcard procd/*.c procd/*/*.c)))
# What other programs link of procd: the protocol and its client. fcgi-app also reads the logs of jobs.
CLIENT   := $(call objects,$(wildcard procd/wire/*.c))
FCGI_APP := $(call objects,$(wildcard api/*.c identity/*.c fcgi-app/*.c fcgi-app/*/*.c) $(patsubst %,procd/log/%.c,byte_cursor event_id event_text job_position job_segment settled_file terminal_size)) $(CLIENT)
GUARD    := $(call objects,$(wildcard guard/*.c)) $(CLIENT)
# It becomes the same user as fcgi-app.
TERMINAL := $(call objects,$(wildcard api/*.c terminal/*.c terminal/*/*.c identity/*.c) procd/jobs/job_record.c \
    $(patsubst %,procd/log/%.c,byte_cursor job_position job_segment settled_file terminal_size)) $(CLIENT)
LAUNCHER := $(sort $(call objects,$(wildcard api/*.c launcher/*.c launcher/*/*.c procd/cgroup/*.c) $(addprefix procd/,process/process_hold.c process/process_table.c process/reap.c process/runners.c process/tree_kill.c runner/environment.c)) $(CLIENT))
SCREEN   := $(call objects,$(wildcard screen/*.c))
PROGRAMS := $(addprefix $(BIN)/,fcgi-app procd terminal guard render-screen nginx-sandbox)

# Programs outside bin/ look for nginx's configuration in ../share, as installed ones do.
TREE_LINK := $(if $(filter-out bin,$(BIN)),$(BIN)/../share/nginx-sandbox/nginx)

.PHONY: all build run install uninstall clean help
.DELETE_ON_ERROR:
.SECONDARY:

all: build

## build: bin/fcgi-app, bin/procd, bin/terminal, bin/guard, bin/render-screen and bin/nginx-sandbox (the default); V=1 shows the commands, SANITIZE=address,undefined builds another set
build: $(PROGRAMS) $(TREE_LINK)

## run: install what is missing, build, and run the server in the foreground (SANDBOX_SECRET, PORT, PROXY_PORT)
# The launcher replaces the shell and drops make's variables; the kernel sends it SIGTERM when make is killed.
run: deps
	@$(MAKE) --no-print-directory build
	@exec setpriv --pdeathsig TERM $(BIN)/nginx-sandbox --generate-secret

$(BIN)/fcgi-app: $(FCGI_APP)
$(BIN)/procd: $(PROCD)
$(BIN)/guard: $(GUARD)
$(BIN)/terminal: $(TERMINAL)
$(BIN)/render-screen: $(SCREEN)
$(BIN)/nginx-sandbox: $(LAUNCHER)
$(BIN)/fcgi-app: LIBS = $(FCGI_LIBS)
$(BIN)/nginx-sandbox: LIBS = $(MD_LIBS)
$(BIN)/terminal: LIBS = $(shell $(PKG_CONFIG) --libs libcjson libmd)
$(BIN)/render-screen: LIBS = $(VTERM_LIBS)
$(PROGRAMS): $(COMMON)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BIN)/../share/nginx-sandbox/nginx:
	@mkdir -p $(@D)
	$(Q)ln -sfn $(CURDIR)/nginx $@

$(BUILD)/fcgi-app/%.o: CPPFLAGS += $(FCGI_CFLAGS)
$(BUILD)/launcher/%.o: CPPFLAGS += $(MD_CFLAGS)
$(BUILD)/screen/%.o: CPPFLAGS += $(VTERM_CFLAGS)
$(BUILD)/terminal/%.o: CPPFLAGS += $(FCGI_CFLAGS)
$(BUILD)/launcher/main.o: CPPFLAGS += -DNGINX_SANDBOX_VERSION='"$(VERSION)"'
$(BUILD)/launcher/main.o: debian/changelog
$(BUILD)/%.o: %.c | build-deps
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

## install: to $(DESTDIR)$(PREFIX): bin/nginx-sandbox, libexec/nginx-sandbox/, share/nginx-sandbox/ (with a unit for systemd), share/man/
MAN := $(DESTDIR)$(PREFIX)/share/man
SHARE := $(DESTDIR)$(PREFIX)/share/nginx-sandbox/nginx
UNIT_FILE := $(PREFIX)/share/nginx-sandbox/systemd/nginx-sandbox.service
install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/nginx-sandbox $(SHARE)
	install -m 755 $(BIN)/nginx-sandbox $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(BIN)/fcgi-app $(BIN)/procd $(BIN)/terminal $(BIN)/guard $(BIN)/render-screen $(DESTDIR)$(PREFIX)/libexec/nginx-sandbox/
	install -m 644 nginx/nginx.conf nginx/*.js nginx/metrics.txt nginx/logrotate $(SHARE)/
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

include packages.mk tests/tests.mk

## help: this list
help:
	@sed -n 's/^## \([a-z-]*\): /\1|/p' Makefile packages.mk tests/tests.mk | awk -F'|' '{ printf "  %-14s %s\n", $$1, $$2 }'

-include $(shell find $(BUILD) \( -path $(BUILD)/deb -o -path $(BUILD)/base \) -prune -o -type f -name '*.d' -print 2>/dev/null)
