/*
 * The list of endpoints: the one place that names every path. fcgi-app makes its table and the
 * labels of its metrics from it, the launcher the locations of nginx, and tests read it, one entry
 * a line. What an endpoint is about and what it takes stands in its row, beside its handler in
 * fcgi-app.
 */
#pragma once

/* The methods of an endpoint, a set of bits. GET includes HEAD. OPTIONS is answered everywhere. */
enum endpoint_method {
    ENDPOINT_GET = 1,
    ENDPOINT_POST = 2,
    ENDPOINT_PUT = 4,
    ENDPOINT_DELETE = 8,
    ENDPOINT_PATCH = 16,
    ENDPOINT_HEAD = 32, /* without GET */
};

/* How an endpoint behaves between client and handler. */
enum endpoint_trait {
    /* GET needs no token, and a request takes no place from the others. */
    OPEN,
    /* The same, on a listener for metrics of its own: no part of the API that clients see. */
    METRICS,
    /* It is soon done. It is done even if the client has left. */
    SHORT,
    /* It needs no place of a long-running request, but its answer may have any size: it ends when
     * the client leaves. */
    LARGE,
    /* A long-running request: it ends when the client leaves. */
    LASTS,
    /* A long-running request whose answer is a stream of events. */
    STREAMS,
    /* A long-running request that looks at a tree of files, or at much of a file: it ends when the
     * client leaves, and counts as a transfer. */
    WALKS,
    /* A long-running request about a file, whose bytes are passed on as they are, without JSON
     * around them. The path of the file follows the endpoint's: all paths below it are its, too. */
    RAW,
    /* A WebSocket, which the terminal daemon serves. fcgi-app answers what is none. All paths below
     * the endpoint's are its, too. */
    SOCKET,
};

/* Whether a request changes anything. If it only reads, it may be sent again when its answer was
 * lost. */
enum effect { READS, CHANGES };

/* clang-format off */
/* ENDPOINT(name, path, set of methods, trait, effect). Requests are looked up in this order. */
#define API_ENDPOINTS(ENDPOINT) \
    ENDPOINT(run, "/run", ENDPOINT_POST, LASTS, CHANGES) \
    ENDPOINT(run_streaming, "/run_streaming", ENDPOINT_POST, STREAMS, CHANGES) \
    ENDPOINT(list_runs, "/list_runs", ENDPOINT_GET, SHORT, READS) \
    ENDPOINT(kill_run, "/kill_run", ENDPOINT_POST, SHORT, CHANGES) \
    ENDPOINT(list_processes, "/list_processes", ENDPOINT_GET, SHORT, READS) \
    ENDPOINT(read_file, "/read_file", ENDPOINT_POST, LARGE, READS) \
    ENDPOINT(write_file, "/write_file", ENDPOINT_POST, SHORT, CHANGES) \
    ENDPOINT(edit_file, "/edit_file", ENDPOINT_POST, SHORT, CHANGES) \
    ENDPOINT(files, "/files", ENDPOINT_GET | ENDPOINT_PUT | ENDPOINT_DELETE, RAW, CHANGES) \
    ENDPOINT(share_file, "/share_file", ENDPOINT_POST, SHORT, READS) \
    ENDPOINT(uploads, "/uploads", ENDPOINT_POST | ENDPOINT_HEAD | ENDPOINT_PATCH | ENDPOINT_DELETE, RAW, CHANGES) \
    ENDPOINT(list_dir, "/list_dir", ENDPOINT_POST, SHORT, READS) \
    ENDPOINT(stat_file, "/stat_file", ENDPOINT_POST, SHORT, READS) \
    ENDPOINT(find_files, "/find_files", ENDPOINT_POST, WALKS, READS) \
    ENDPOINT(search_files, "/search_files", ENDPOINT_POST, WALKS, READS) \
    ENDPOINT(file_changes_streaming, "/file_changes_streaming", ENDPOINT_GET, STREAMS, READS) \
    ENDPOINT(make_dir, "/make_dir", ENDPOINT_POST, SHORT, CHANGES) \
    ENDPOINT(read_files, "/read_files", ENDPOINT_POST, LARGE, READS) \
    ENDPOINT(write_files, "/write_files", ENDPOINT_POST, SHORT, CHANGES) \
    ENDPOINT(move_file, "/move_file", ENDPOINT_POST, WALKS, CHANGES) \
    ENDPOINT(copy_file, "/copy_file", ENDPOINT_POST, WALKS, CHANGES) \
    ENDPOINT(set_mode, "/set_mode", ENDPOINT_POST, WALKS, CHANGES) \
    ENDPOINT(delete_file, "/delete_file", ENDPOINT_POST, SHORT, CHANGES) \
    ENDPOINT(delete_dir, "/delete_dir", ENDPOINT_POST, SHORT, CHANGES) \
    ENDPOINT(start_process, "/start_process", ENDPOINT_POST, SHORT, CHANGES) \
    ENDPOINT(kill_process, "/kill_process", ENDPOINT_POST, SHORT, CHANGES) \
    ENDPOINT(process_logs_streaming, "/process_logs_streaming", ENDPOINT_GET, STREAMS, READS) \
    ENDPOINT(get_process, "/get_process", ENDPOINT_GET, SHORT, READS) \
    ENDPOINT(wait_process, "/wait_process", ENDPOINT_POST, LASTS, READS) \
    ENDPOINT(write_stdin, "/write_stdin", ENDPOINT_POST, SHORT, CHANGES) \
    ENDPOINT(read_output, "/read_output", ENDPOINT_POST, LASTS, CHANGES) \
    ENDPOINT(resize_terminal, "/resize_terminal", ENDPOINT_POST, SHORT, CHANGES) \
    ENDPOINT(read_screen, "/read_screen", ENDPOINT_GET, LASTS, READS) \
    ENDPOINT(delete_process, "/delete_process", ENDPOINT_POST, SHORT, CHANGES) \
    ENDPOINT(bind_port, "/bind_port", ENDPOINT_POST, SHORT, CHANGES) \
    ENDPOINT(unbind_port, "/unbind_port", ENDPOINT_POST, SHORT, CHANGES) \
    ENDPOINT(port_status, "/port_status", ENDPOINT_GET, SHORT, READS) \
    ENDPOINT(list_ports, "/list_ports", ENDPOINT_GET, SHORT, READS) \
    ENDPOINT(ports_streaming, "/ports_streaming", ENDPOINT_GET, STREAMS, READS) \
    ENDPOINT(wait_port, "/wait_port", ENDPOINT_POST, LASTS, READS) \
    ENDPOINT(share_port, "/share_port", ENDPOINT_POST, SHORT, CHANGES) \
    ENDPOINT(unshare_port, "/unshare_port", ENDPOINT_POST, SHORT, CHANGES) \
    ENDPOINT(create_ticket, "/create_ticket", ENDPOINT_POST, SHORT, READS) \
    ENDPOINT(attach, "/attach", ENDPOINT_GET, SOCKET, READS) \
    ENDPOINT(tcp, "/tcp", ENDPOINT_GET, SOCKET, READS) \
    ENDPOINT(health, "/health", ENDPOINT_GET, OPEN, READS) \
    ENDPOINT(metrics, "/metrics", ENDPOINT_GET, METRICS, READS)
/* clang-format on */

/* The number of each entry, API_run and so on, and how many there are. */
#define API_NUMBER(name, path, methods, trait, effect) API_##name,
enum api_number { API_ENDPOINTS(API_NUMBER) API_COUNT };
#undef API_NUMBER

struct api_endpoint {
    const char *path;
    unsigned methods; /* enum endpoint_method */
    enum endpoint_trait trait;
    enum effect effect;
};

/* The entries by their numbers. */
extern const struct api_endpoint api_endpoints[API_COUNT];
