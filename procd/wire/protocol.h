/*
 * The protocol of procd, its clients and its runners.
 *
 * A conversation runs over a unix socket of type SOCK_SEQPACKET, one message a packet, in the byte
 * order of the machine (both ends are on it). A message is
 *
 *   magic    4 bytes  "pcd1"; the last character is the version
 *   type     2 bytes  enum message_type
 *   place    2 bytes  0: the fields follow
 *                     1: they are in a memory file, the packet's first descriptor
 *   length   8 bytes  of all fields
 *   fields   each     tag 2 bytes (enum field_tag), zero 2 bytes, length 4 bytes, value,
 *                     zeros up to a multiple of 8
 *
 * A number is 8 bytes. A text ends with a NUL that is counted and has no other. A reader skips
 * fields of a tag that it does not know. Fields above MESSAGE_INLINE_MAX bytes travel in a sealed
 * memory file (memfd_create(2)), so that no socket's buffer bounds a message. Other descriptors
 * follow in the order that is named here.
 *
 * Client to procd, over the path procd listens on, with the answers. procd says DONE when it has
 * accepted a connection; until then no procd may be there. In brackets: what may be missing.
 *
 *   PING      DONE [runner_failures]
 *   RUN       (cmd, or argument.. and no cmd; [request_id] [cwd] env.. [timeout_ms grace_ms]
 *             [memory_max] [pids_max] [cpu_max] [merge_stderr] [ordered] [hangup_grace_ms]
 * [beneath]) The answer comes over the lease, the message's first descriptor. A second one is the
 *             command's standard input.
 *   START     (the same without hangup_grace_ms, and [stdin] [wait_tree] [partial_ms] [cols rows])
 *             STARTED id pid started_at, or FAILED stage error, or TOO_MANY. With cols and rows the
 *             command gets a terminal of that size.
 *   LIST      ([age_key] [left])
 *             JOBS with the fields of each job that was started later, and `more` when they do not
 *             all fit one message. Of each: id (the first) pid status started_at age_key cwd
 *             command [first_offset first_line next_offset next_line lines_dropped]; of one with a
 *             terminal [cols rows first_offset next_offset]; of one that has ended also ended_at
 * code signal reason cpu_user_ms cpu_system_ms max_rss_kb, and with `left` (left_pid left_name)..
 *   GET       (id) JOBS with that one, or NOT_FOUND
 *   WAIT      (id) the same, once it has ended
 *   KILL      (id [signal] [grace_ms] [left])
 *             DONE, or NOT_FOUND, or NOT_RUNNING status
 *   DELETE    (id) DONE, or NOT_FOUND, or NOT_RUNNING status (running: not done)
 *   WRITE     (id data [eof])
 *             WROTE written, or NO_STDIN, or LINE_TOO_LONG, or NOT_FOUND, or NOT_RUNNING status
 *   RESIZE    (id cols rows)
 *             WROTE written (0), or NO_STDIN (it has no terminal), or NOT_FOUND, or NOT_RUNNING
 *             status
 *   ATTACH    (id) DONE with the descriptor of the directory and a socket that is connected to the
 *             job's runner; or NOT_RUNNING status with that of the directory alone; or NOT_FOUND
 *   OPEN      (id) DONE with the descriptor of the directory, or NOT_FOUND
 *   STATUS    STATUS uptime_ms running runners idle runner_failures disk_free disk_total, and of
 *             each daemon id (its name) starts [pid descriptors threads rss_kb]; less what is
 *             unknown
 *   SOCKETS   (inode..) SOCKETS, and of each that a process of a command has open: inode pid
 *             left_name (its program) [id] (of its job)
 *
 * Runner to client, over the lease. This is a socket pair; the client ends the tree by closing it,
 * or its sending side, before EXIT: by SIGKILL, or first by SIGTERM where there is hangup_grace_ms.
 *
 *   BEGIN     The runner has the command that procd handed over; without this message the command
 *             has never run.
 *   STARTED   (pid) with the read end of stdout; if there are two, that of stderr; if their order
 *             matters, what watches both (pipe_order.h). Or FAILED stage error.
 *   EXIT      (code signal reason left_children duration_ms cpu_user_ms cpu_system_ms max_rss_kb)
 *
 * Client to runner, over the lease, before closing it (but for a KILL with a signal):
 *
 *   RUN       as above, with no descriptor but the standard input. The client's next command, after
 *             an EXIT without left_children. A command that the runner has read has begun; the
 *             client sees whether it has (SIOCOUTQ, unix(7)), and ECONNRESET if it never does.
 *   KILL      (grace_ms) Send SIGTERM to the tree, and kill it when that time is over. Or (signal),
 *             SIGKILL: kill the tree; the client goes on, and reads the output and the EXIT.
 *
 * procd to runner, over the runner's control socket:
 *
 *   RUN       as the client sent it
 *   JOB       (id started_at age_key) with the locked directory of a background job. The client's
 *             START comes next, as the client sent it.
 *
 * and back:
 *
 *   IDLE      ready for the next command
 *   STARTED   (pid) the answer to JOB; or FAILED stage error
 *
 * A runner that is left with a job or with children closes the socket.
 *
 * procd, or a client that has it of procd (ATTACH), to the runner of a background job, over
 * runner.sock in the job's directory:
 *
 *   KILL      ([signal] [grace_ms]) Without a signal: kill the tree. With one: send it to the
 *             process group (of a terminal the one in the foreground), and with grace_ms kill the
 *             tree when that time is over.
 *   WRITE     (data [eof] serial) the client's, with a number of the sender's. With eof the input
 * is closed behind it; a terminal gets its end-of-file character. RESIZE    (cols rows [set_by]
 * serial) the terminal's size; set_by is any number of the sender's
 *
 * and back:
 *
 *   WROTE     (serial written) the answer to that WRITE or, with written 0, to that RESIZE; or
 *             NO_STDIN serial; or LINE_TOO_LONG serial: the terminal is in canonical mode and would
 *             cut a line, so nothing was written
 *   ROOM      A terminal that has not taken all of a WRITE of this sender takes more now.
 *   ENDED     (status code signal reason ended_at ended_boot_ns cpu_user_ms cpu_system_ms
 *             max_rss_kb [runner_pid runner_started])
 *             once, when the job has ended and its log is whole
 *
 * The files of a background job are messages in this form, too (and so carry the version):
 *
 *   record    RECORD id pid started_at age_key cwd command [request_id] [cols rows]
 *   exit      EXITED, the fields of ENDED
 *   position  POSITION first_offset first_line next_offset next_line lines_dropped
 *   size      SIZE cols rows set_by
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MESSAGE_INLINE_MAX      ((size_t)32768)
#define MESSAGE_DESCRIPTORS_MAX 4

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
    MESSAGE_GET,
    MESSAGE_WAIT,
    MESSAGE_DELETE,
    MESSAGE_WRITE,
    MESSAGE_WROTE,
    MESSAGE_NO_STDIN,
    MESSAGE_POSITION,
    MESSAGE_TOO_MANY,
    MESSAGE_STATUS,
    MESSAGE_SOCKETS,
    MESSAGE_SIZE,
    MESSAGE_RESIZE,
    MESSAGE_ATTACH,
    MESSAGE_ROOM,
    MESSAGE_LINE_TOO_LONG,
};

/*
 * Tags are for ever: what the record of an older version or a runner from before an upgrade says
 * keeps its meaning. New ones go to the end of their kind.
 */
enum field_tag {
    /* texts: 1 to 5 */
    FIELD_CMD = 1,
    FIELD_CWD,
    FIELD_ENV,     /* "NAME=value", once for each */
    FIELD_ID,      /* a UUID */
    FIELD_COMMAND, /* cmd, or the arguments, as shown in lists */

    /* numbers: 6 to 63 */
    FIELD_PID,
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
    FIELD_REASON = 20,  /* enum end_reason. 19 had a meaning once */
    FIELD_TIMEOUT_MS,   /* 0 or absent: none */
    FIELD_GRACE_MS,     /* between SIGTERM and SIGKILL */
    FIELD_STDIN,        /* 1: the job's standard input stays open for WRITE */
    FIELD_EOF,          /* 1: no more input comes */
    FIELD_WRITTEN,      /* bytes of input that were taken */
    FIELD_FIRST_OFFSET, /* of the log: where the oldest line begins, and its number */
    FIELD_FIRST_LINE,
    FIELD_NEXT_OFFSET, /* where the next event will begin, and its number */
    FIELD_NEXT_LINE,
    FIELD_LINES_DROPPED, /* by retention and by full disks */
    FIELD_SERIAL,        /* of a WRITE, and of its answer */
    FIELD_MORE,          /* 1: there are more jobs than these */
    FIELD_MEMORY_MAX,    /* of a command with its children, bytes; 0 or absent: the operator's */
    FIELD_PIDS_MAX,
    FIELD_CPU_MAX, /* percent of one CPU */
    FIELD_UPTIME_MS,
    FIELD_RUNNING, /* jobs, those included that are being started */
    FIELD_RUNNERS, /* that live, those included that wait: */
    FIELD_IDLE,
    FIELD_DISK_FREE, /* bytes of the state directory's file system that we may still use, and all */
    FIELD_DISK_TOTAL,
    FIELD_STARTS, /* of a daemon, the first included */
    FIELD_DESCRIPTORS,
    FIELD_THREADS,
    FIELD_RSS_KB,          /* resident now */
    FIELD_MERGE_STDERR,    /* 1: stderr goes where stdout goes */
    FIELD_ORDERED,         /* 1: the order between stdout and stderr matters */
    FIELD_HANGUP_GRACE_MS, /* between SIGTERM and SIGKILL when the client hangs up; 0: none */
    FIELD_AGE_KEY,         /* of a job: ns since the boot at its start, no two the same */
    FIELD_ENDED_BOOT_NS,   /* when a job ended: ns since the boot */
    FIELD_WAIT_TREE,       /* 1: the job ends when its whole tree has */
    FIELD_LEFT,            /* 1: what the job has left running, too */
    FIELD_LEFT_PID,        /* a process of that; its FIELD_LEFT_NAME comes next */
    FIELD_RUNNER_PID,      /* of a job that has ended and has left something running */
    FIELD_RUNNER_STARTED,  /* clock ticks since the boot, which make sure that it is the same */
    FIELD_RUNNER_FAILURES, /* runners that died before they could take a command, in a row */
    FIELD_BENEATH,         /* 1: writes only beneath the cwd, where the kernel enforces that */
    FIELD_INODE,           /* of a socket */
    FIELD_COLS,            /* of a terminal */
    FIELD_ROWS,
    FIELD_SET_BY,     /* who has set the size: a number of theirs */
    FIELD_PARTIAL_MS, /* after so long an unfinished line is logged as far as it has come */
    FIELD_NUMBER_END,

    /* more texts: 64 to 95 */
    FIELD_REQUEST_ID = 64, /* for logs: of the request that a command came with */
    FIELD_LEFT_NAME,       /* of a process, as in /proc/<pid>/comm */
    FIELD_ARGUMENT,        /* a program or its argument, once for each: there is no cmd then */
    FIELD_TEXT_END,

    /* bytes: 96 to 127 */
    FIELD_DATA = 96,
    FIELD_BYTES_END,
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
void message_add_bytes(struct message *message, enum field_tag tag, const void *data,
                       size_t length);

/* Whether the message has no fields. */
bool message_is_plain(const struct message *message);

/*
 * Sends the message with `count` descriptors (borrowed, at most MESSAGE_DESCRIPTORS_MAX - 1). Never
 * raises SIGPIPE. 0, or -1 with errno (EAGAIN on a non-blocking socket that is full).
 */
int message_send(int socket, struct message *message, const int *descriptors, size_t count);

/* A message of `type` without fields. */
int message_send_plain(int socket, enum message_type type);

/* Writes the message over the beginning of a file by one pwrite(2), fields in line whatever their
 * size. 0, or -1 with errno. */
int message_overwrite_file(int fd, struct message *message);

/* Makes the message the content of the file `name`, which is made if need be. What is there is
 * written over and then cut: a full disk would not give the room back. Its descriptor (for writing,
 * the caller's), or -1 with errno. */
int message_save(int directory, const char *name, struct message *message);

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

/* The room for any packet, and for one with an id and a few numbers. */
#define MESSAGE_PACKET_MAX   (MESSAGE_INLINE_MAX + 16)
#define MESSAGE_PACKET_SMALL ((size_t)512)

/*
 * Receives one message into `buffer` of `size` bytes, which must outlive `incoming`. 1; 0 when the
 * other side has closed; -1 with errno: ECONNRESET when it has closed and left something of ours
 * unread, EAGAIN when there is none yet, or (with MSG_DONTWAIT) no memory to take it; EBADMSG for
 * what is no message or a larger one, EPROTONOSUPPORT for one of another version. On 1 the caller
 * releases `incoming` with incoming_clear. `flags` as for recvmsg(2).
 */
int message_receive(int socket, char *buffer, size_t size, struct incoming *incoming, int flags);

/* Takes a message out of data[0..length), as message_save left it. 0, or -1 with errno:
 * EPROTONOSUPPORT for one of another version, otherwise EBADMSG. */
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
    const char *text;  /* NULL if the value is no text */
    int64_t number;    /* 0 if the value is no number */
    const char *bytes; /* NULL if the value is no bytes; then `length` of them */
    size_t length;
    size_t next; /* where the next field begins */
};

/* Steps through the fields of an opened message: start with a zeroed *field; false at the end. */
bool message_next(const struct incoming *incoming, struct field *field);

/* The first field of this tag: its text or NULL; its number or `fallback`. */
const char *message_text(const struct incoming *incoming, enum field_tag tag);
int64_t message_number(const struct incoming *incoming, enum field_tag tag, int64_t fallback);

/*
 * Steps through the groups of fields of an opened message that begin with a field of this tag, such
 * as one job's: start with a zeroed *group, which is then read like an opened message (and borrows
 * from this one); false at the end.
 */
bool message_next_group(const struct incoming *incoming, enum field_tag first,
                        struct incoming *group);

/* The bytes of the first field of this tag and their number, or NULL. */
const char *message_bytes(const struct incoming *incoming, enum field_tag tag, size_t *length);
