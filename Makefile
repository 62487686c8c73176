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

.PHONY: all build clean unit
all: build
build: $(BIN)/fcgi-app $(BIN)/procd $(BIN)/nginx-sandbox

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
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# A unit test links everything but the mains; the linker takes what it needs. Tests of endpoints bring a
# request.h of their own, which keeps libfcgi's out.
UNIT_OBJECTS := $(COMMON) $(filter-out $(BUILD)/procd/main.o,$(PROCD)) $(filter-out $(BUILD)/fcgi-app/main.o,$(FCGI_APP))
$(addprefix $(BUILD)/tests/unit/test_,json files port): $(BUILD)/tests/unit/fake_request.o
$(BUILD)/tests/unit/fake_request.o: CPPFLAGS += $(FCGI_CFLAGS)
$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libunit.a
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(BUILD)/libunit.a $(FCGI_LIBS) $(CMOCKA_LIBS)
$(BUILD)/libunit.a: $(UNIT_OBJECTS)
	rm -f $@ && $(AR) rcs $@ $(sort $^)

# One test: make unit UNIT=build/tests/unit/test_spool
unit: $(UNIT)
	@for test in $(UNIT); do $$test || exit 1; done

clean:
	rm -rf build bin

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
