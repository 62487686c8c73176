/*
 * Plans for the failure of calls. A program that has fault.c in it, linked or preloaded, asks its
 * plan at every allocation and system call whether this one fails.
 *
 * A test of one program arms the plan of its own process. A test of a server lets LD_PRELOAD name
 * libfault.so and FAULT_PLANS a file of struct fault_plan, one for each kind of process in the
 * order of enum fault_role; it maps the file, too, and may arm and disarm at any time.
 * tests/faults/plan.py is the same structure in Python.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum fault_role { FAULT_FCGI_APP, FAULT_PROCD, FAULT_RUNNER, FAULT_GUARD, FAULT_ROLES };

enum fault_mode {
    FAULT_OFF,
    FAULT_FAIL,      /* the calls number `at` to `at` + `count` - 1 fail, each in its own way */
    FAULT_INTERRUPT, /* every `at`-th of the program's own calls that may: EINTR */
    FAULT_SHORTEN,   /* every `at`-th read(2) or write(2) of several bytes moves half of them */
};

enum fault_kind {
    FAULT_NEVER = 0,
    FAULT_MEMORY = 1,  /* allocations */
    FAULT_CALL = 2,    /* system calls */
    FAULT_LIBFCGI = 4, /* allocations of libfcgi, which aborts the program when one fails */
    FAULT_ANY = FAULT_MEMORY | FAULT_CALL,
};

struct fault_plan {
    _Atomic uint32_t mode; /* written last, since it arms */
    uint32_t kinds;        /* a set of enum fault_kind; others are neither counted nor fail */
    uint32_t at, count;    /* calls are counted from 1 */
    _Atomic uint32_t calls;
    _Atomic uint32_t fired;
    uint64_t caller; /* of the last call that failed: its offset in the program, or 0 (a library) */
    char name[32];   /* of that call */
    char only[32];   /* a call's name: no others are counted or fail; "" for all */
    uint8_t rest[32]; /* a plan is 128 bytes */
};

/* The plan of this process when fault.c is linked into it. Not thread-safe. */
void fault_arm(enum fault_kind kinds, uint32_t at, uint32_t count);

/* Ends the plan. Whether it made a call fail, the name of which is *name then. */
bool fault_disarm(const char **name);
