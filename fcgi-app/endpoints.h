/*
 * The table of endpoints: what main.c serves, by path and method. Each entry is defined in the file
 * of its family, next to its handler.
 */
#ifndef FCGI_APP_ENDPOINTS_H
#define FCGI_APP_ENDPOINTS_H

struct request;

enum method { METHOD_GET, METHOD_POST };

/* Whether a request changes anything. One that only reads may be sent again when its answer was
 * lost. */
enum effect { READS, CHANGES };

struct endpoint {
    const char *path;
    enum method method; /* GET answers HEAD too; OPTIONS is answered for all; the rest is 405 */
    void (*handle)(struct request *request);
    enum effect effect;
};

extern const struct endpoint health_endpoint;
extern const struct endpoint run_endpoint;
extern const struct endpoint run_streaming_endpoint;
extern const struct endpoint write_file_endpoint;
extern const struct endpoint read_file_endpoint;
extern const struct endpoint delete_file_endpoint;
extern const struct endpoint delete_dir_endpoint;
extern const struct endpoint make_dir_endpoint;
extern const struct endpoint list_dir_endpoint;
extern const struct endpoint stat_file_endpoint;
extern const struct endpoint bind_port_endpoint;
extern const struct endpoint unbind_port_endpoint;
extern const struct endpoint port_status_endpoint;
extern const struct endpoint start_process_endpoint;
extern const struct endpoint list_processes_endpoint;
extern const struct endpoint get_process_endpoint;
extern const struct endpoint wait_process_endpoint;
extern const struct endpoint write_stdin_endpoint;
extern const struct endpoint kill_process_endpoint;
extern const struct endpoint delete_process_endpoint;
extern const struct endpoint process_logs_streaming_endpoint;
extern const struct endpoint metrics_endpoint;

/* The rows of the table. */
#define ENDPOINT_COUNT 22

/* The number of the row with this path, ENDPOINT_COUNT if there is none. */
unsigned endpoint_number(const char *path);

/* The path of a row. */
const char *endpoint_path(unsigned number);

/* What requests for a path do; READS where there is no such row. */
enum effect endpoint_effect(const char *path);

/* Answers the request from the table, with 404 and 405 where it has no row. */
void endpoint_dispatch(struct request *request);

#endif
