/*
 * The spool: in memory, across the border to its file, its cap, a full disk, and an empty directory
 * throughout.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/spool.h"
#include "tests/unit/no_tmpfile.h"

static char directory[] = "/tmp/test_spool.XXXXXX";
static int directory_fd;

static int make_directory(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL) {
        return -1;
    }
    directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return directory_fd < 0;
}

/* rmdir succeeds only if no spool left a name behind. */
static int remove_directory(void **state)
{
    (void)state;
    close(directory_fd);
    return rmdir(directory);
}

static char byte_at(uint64_t offset)
{
    return (char)(offset * 31 + offset / 251);
}

static void append(struct spool *spool, size_t length)
{
    cleanup_free char *data = malloc(length + 1);
    assert_non_null(data);
    for (size_t i = 0; i < length; i++) {
        data[i] = byte_at(spool_size(spool) + i);
    }
    assert_int_equal(spool_write(spool, data, length), 0);
}

static void assert_whole(struct spool *spool, uint64_t size)
{
    assert_int_equal(spool_size(spool), size);
    char piece[77];
    for (uint64_t at = 0; at < size;) {
        ssize_t count = spool_read(spool, at, piece, sizeof(piece));
        assert_int_equal(count, size - at < sizeof(piece) ? size - at : sizeof(piece));
        for (ssize_t i = 0; i < count; i++) {
            assert_int_equal(piece[i], byte_at(at + (uint64_t)i));
        }
        at += (uint64_t)count;
    }
    assert_int_equal(spool_read(spool, size, piece, sizeof(piece)), 0);
}

static void assert_view(struct spool *spool, uint64_t size)
{
    const char *view = spool_view(spool);
    assert_non_null(view);
    for (uint64_t i = 0; i < size; i++) {
        assert_int_equal(view[i], byte_at(i));
    }
}

static void keeps_every_byte(void **state)
{
    (void)state;
    static const size_t pieces[] = {0, 1, 99, 100, 101, 300, 7, 5000, 60, 60};
    for (size_t first = 0; first < sizeof(pieces) / sizeof(pieces[0]); first++) {
        cleanup_(spool_freep) struct spool *spool = spool_new(directory_fd, 100);
        assert_non_null(spool);
        assert_view(spool, 0);
        uint64_t size = 0;
        for (size_t i = first; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
            append(spool, pieces[i]);
            size += pieces[i];
            assert_whole(spool, size);
            if (i % 2 == 0) {
                assert_view(spool, size);
                assert_whole(spool, size);
            }
        }
        spool_reset(spool);
        assert_int_equal(spool_size(spool), 0);
        append(spool, 250);
        assert_whole(spool, 250);
        assert_view(spool, 250);
    }
}

static void keeps_every_byte_without_tmpfile(void **state)
{
    static const int refusals[] = {EOPNOTSUPP, EINVAL, EISDIR, ENOENT};
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        no_tmpfile = refusals[i];
        keeps_every_byte(state);
    }
    no_tmpfile = 0;
}

static void needs_no_directory_within_memory(void **state)
{
    (void)state;
    cleanup_(spool_freep) struct spool *spool = spool_new(-1, 4096);
    append(spool, 4000);
    append(spool, 96);
    assert_view(spool, 4096);
    assert_int_equal(spool_write(spool, "x", 1), -1);
    assert_int_equal(errno, EBADF);
    assert_whole(spool, 4096);
}

static void gives_its_newest_bytes_back(void **state)
{
    (void)state;
    cleanup_(spool_freep) struct spool *spool = spool_new(directory_fd, 100);
    append(spool, 90);
    assert_int_equal(spool_shorten(spool, 91), -1);
    assert_int_equal(spool_shorten(spool, 50), 0);
    assert_whole(spool, 50);
    append(spool, 150);
    assert_int_equal(spool_shorten(spool, 49), -1); /* they are in the file */
    assert_whole(spool, 200);
}

/* RLIMIT_FSIZE stands for a full disk: a write is cut short first, then fails. */
static void survives_a_failing_file(void **state)
{
    (void)state;
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    cleanup_(spool_freep) struct spool *spool = spool_new(directory_fd, 100);
    append(spool, 1000);
    append(spool, 50);
    struct rlimit small = {.rlim_cur = 1500, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    static const char zeros[3000];
    assert_int_equal(spool_write(spool, zeros, sizeof(zeros)), -1);
    int number = errno;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(number, EFBIG); /* what the kernel says of this limit */
    assert_whole(spool, 1050);
    append(spool, 400);
    assert_whole(spool, 1450);
    assert_view(spool, 1450);
}

/* Another process reads it from the beginning, however much of it is in memory, and the spool may
 * go. */
static void gives_a_reader(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 99, 100, 101, 5000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct spool *spool = spool_new(directory_fd, i % 2 == 0 ? 0 : 100);
        append(spool, sizes[i] / 2);
        append(spool, sizes[i] - sizes[i] / 2);
        int reader = spool_open_reader(spool);
        assert_true(reader >= 0);
        spool_free(spool);
        char data[6000];
        assert_int_equal(io_read_full(reader, data, sizeof(data)), sizes[i]);
        for (size_t at = 0; at < sizes[i]; at++) {
            assert_int_equal(data[at], byte_at(at));
        }
        assert_int_equal(write(reader, "x", 1), -1);
        close(reader);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_every_byte),
        cmocka_unit_test(keeps_every_byte_without_tmpfile),
        cmocka_unit_test(needs_no_directory_within_memory),
        cmocka_unit_test(gives_a_reader),
        cmocka_unit_test(gives_its_newest_bytes_back),
        cmocka_unit_test(survives_a_failing_file),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
