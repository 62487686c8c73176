/*
 * The language of procd, its clients and its runners.
 *
 * Every conversation runs over a unix socket of type SOCK_SEQPACKET, one message a packet, in the
 * byte order of the machine (both ends are on it). A message is
 *
 *   magic    4 bytes  "pcd1"; the last character is the version
 *   type     2 bytes  enum message_type
 *   place    2 bytes  0: the fields follow
 *                     1: they are in a memory file, the packet's first descriptor
 *   length   8 bytes  of all fields
 *   fields   each     tag 2 bytes (enum field_tag), zero 2 bytes, length 4 bytes, value,
 *                     zeros up to a multiple of 8
 *
 * A number is 8 bytes; a text ends with a NUL that is counted and has no other. Fields of a tag
 * that the reader does not know are skipped. Fields above MESSAGE_INLINE_MAX bytes travel in a
 * sealed memory file (memfd_create(2)), so that no message is bounded by a socket's buffer. Other
 * descriptors follow in the order that is named here.
 *
 * client to procd, over the path procd listens on, with the answers. procd says DONE when it has
 * accepted a connection; what is sent before may wait for a procd that is yet to come.
 *   PING                        DONE
 *   RUN cmd [cwd] env..         none: it comes over the lease, the message's descriptor
 *   START cmd [cwd] env..       STARTED id pid started_at, or FAILED stage error
 *   LIST                        JOBS with the fields of each job, of which id is the first:
 *                               id pid status started_at ended_at code signal command
 *   KILL id                     DONE, or NOT_FOUND, or NOT_RUNNING status
 *   OPEN id                     DONE with the descriptor of the directory, or NOT_FOUND
 *
 * runner to client, over the lease (a socket pair; closing it before EXIT kills the tree):
 *   BEGIN                       the runner has the command; without it it has never run
 *   STARTED pid                 with the read ends of stdout and stderr; or FAILED stage error
 *   EXIT code signal left_children duration_ms cpu_user_ms cpu_system_ms max_rss_kb
 *
 * procd to runner, over the runner's control socket:
 *   RUN                         as the client sent it
 *   JOB id started_at           with the locked directory of a background job; the client's START,
 *                               as the client sent it, comes next
 * runner to procd, over the same:
 *   IDLE                        ready for the next command
 *   STARTED pid                 the answer to JOB; or FAILED stage error
 * A runner that is left with a job or with children closes the socket.
 *
 * procd to the runner of a background job, over runner.sock in the job's directory:
 *   KILL                        kill the tree
 * and back, once, when the job has ended and its log is whole:
 *   ENDED status code signal ended_at
 *
 * The files `record` and `exit` of a background job are messages RECORD (id pid started_at cmd) and
 * EXITED (status code signal ended_at cpu_user_ms cpu_system_ms max_rss_kb lost) in this form.
 */
#ifndef PROCD_PROTOCOL_H
#define PROCD_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MESSAGE_INLINE_MAX      ((size_t)32768)
#define MESSAGE_DESCRIPTORS_MAX 3

/* Where procd listens, in the run directory; where it keeps its jobs. */
#define PROCD_STATE_NAME "state"
#define PROCD_JOBS_NAME  "jobs" /* in state */

enum message_type {
    MESSAGE_PING = 1,
    MESSAGE_RUN,
    MESSAGE_START,
    MESSAGE_LIST,
    MESSAGE_KILL,
    MESSAGE_OPEN,
    MESSAGE_DONE,
    MESSAGE_NOT_FOUND,
    MESSAGE_NOT_RUNNING,
    MESSAGE_STARTED,
    MESSAGE_FAILED,
    MESSAGE_JOBS,
    MESSAGE_BEGIN,
    MESSAGE_EXIT,
    MESSAGE_IDLE,
    MESSAGE_JOB,
    MESSAGE_ENDED,
    MESSAGE_RECORD,
    MESSAGE_EXITED,
};

enum field_tag {
    FIELD_CMD = 1,       /* text */
    FIELD_CWD,           /* text */
    FIELD_ENV,           /* text "NAME=value", once for each */
    FIELD_ID,            /* text, a UUID */
    FIELD_COMMAND,       /* text: cmd as it is shown in lists */
    FIELD_PID,           /* numbers from here on */
    FIELD_STATUS,        /* enum job_status */
    FIELD_STAGE,         /* enum spawn_stage */
    FIELD_ERROR,         /* errno */
    FIELD_CODE,          /* exit code, -1 after a signal */
    FIELD_SIGNAL,        /* 0 if none */
    FIELD_STARTED_AT,    /* ns since the epoch */
    FIELD_ENDED_AT,      /* ns since the epoch */
    FIELD_LEFT_CHILDREN, /* 0 or 1 */
    FIELD_DURATION_MS,
    FIELD_CPU_USER_MS,
    FIELD_CPU_SYSTEM_MS,
    FIELD_MAX_RSS_KB,
    FIELD_LOST, /* 1: the runner died, the ending is not known */
};

/* ---- writing ---- */

/*
 * A message being written. Failure to get memory is remembered and reported when it is sent. Owned
 * by one thread; release with message_clear.
 */
struct message {
    char *data; /* `small`, or allocated */
    size_t length;
    size_t capacity;
    bool failed;
    char small[512];
};

void message_init(struct message *message, enum message_type type);
void message_clear(struct message *message);
#define cleanup_message cleanup_(message_clear)

void message_add_text(struct message *message, enum field_tag tag, const char *text);
void message_add_number(struct message *message, enum field_tag tag, int64_t number);

/*
 * Sends the message with `count` descriptors (borrowed, at most MESSAGE_DESCRIPTORS_MAX - 1). Never
 * raises SIGPIPE. 0, or -1 with errno (EAGAIN on a non-blocking socket that is full).
 */
int message_send(int socket, struct message *message, const int *descriptors, size_t count);

/* A message of `type` without fields. */
int message_send_plain(int socket, enum message_type type);

/* Writes the message to a file, fields in line whatever their size. 0, or -1 with errno. */
int message_write_file(int fd, struct message *message);

/* ---- reading ---- */

/*
 * A message as it came. `packet` and `descriptors` allow it to be passed on as it is; `fields`
 * points into the packet or into a mapping of the memory file.
 */
struct incoming {
    enum message_type type;
    const char *fields; /* NULL until message_open */
    size_t fields_length;
    const char *packet; /* borrowed from the caller's buffer */
    size_t packet_length;
    bool in_file;
    void *mapping; /* NULL if there is none */
    int descriptors[MESSAGE_DESCRIPTORS_MAX];
    size_t descriptor_count;
};

/* What any packet, and what one with a few numbers and an id, can need. */
#define MESSAGE_PACKET_MAX   (MESSAGE_INLINE_MAX + 16)
#define MESSAGE_PACKET_SMALL ((size_t)512)

/*
 * Receives one message into `buffer` of `size` bytes, which must outlive `incoming`. 1; 0 when the
 * other side has closed; -1 with errno: EAGAIN, EBADMSG for what is no message or a larger one. On
 * 1 the caller releases `incoming` with incoming_clear. `flags` as for recvmsg(2).
 */
int message_receive(int socket, char *buffer, size_t size, struct incoming *incoming, int flags);

/* Takes a message out of data[0..length), as message_write_file left it. 0, or -1. */
int message_parse(const char *data, size_t length, struct incoming *incoming);

/* Closes the descriptors that are left and unmaps. Fine on a zeroed one. */
void incoming_clear(struct incoming *incoming);
#define cleanup_incoming cleanup_(incoming_clear)

/* Makes the fields readable and checks that every one is whole. 0, or -1 with errno (EBADMSG). */
int message_open(struct incoming *incoming);

/* Passes the packet on as it came, with `count` of its descriptors. 0, or -1 with errno. */
int message_forward(int socket, const struct incoming *incoming);

/* Gives the descriptor at `index`, not counting the memory file, to the caller; -1 if there is
 * none. */
int message_take_descriptor(struct incoming *incoming, size_t index);

struct field {
    enum field_tag tag;
    const char *text; /* NULL if the value is no text */
    int64_t number;   /* 0 if the value is no number */
    size_t next;      /* where the next field begins */
};

/* Steps through the fields of an opened message: start with a zeroed *field; false at the end. */
bool message_next(const struct incoming *incoming, struct field *field);

/* The first field of this tag: its text or NULL; its number or `fallback`. */
const char *message_text(const struct incoming *incoming, enum field_tag tag);
int64_t message_number(const struct incoming *incoming, enum field_tag tag, int64_t fallback);

#endif
