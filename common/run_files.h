/*
 * Names in the run directory that more than one program uses.
 */
#pragma once

#define RUN_FCGI_APP_SOCKET "fcgi-app.sock" /* where fcgi-app listens */
#define RUN_PROCD_SOCKET    "procd.sock"    /* where procd listens */
#define RUN_TERMINAL_SOCKET "terminal.sock" /* where terminal listens */
#define RUN_CLAIM_SOCKET    "claim.sock"    /* where nginx asks for a claim, in pool mode */
#define RUN_CLAIMED         "claimed"     /* the digest of the claim, for nginx (nginx/token.js) */
#define RUN_STATE           "state"       /* the directory of procd's records */
#define RUN_SPOOL           "spool"       /* the directory of fcgi-app's temporary files */
#define RUN_PORT            "port"        /* the directory of the bound port (nginx/proxy.js) */
#define RUN_UPLOADS         "uploads"     /* the directory of fcgi-app's records of uploads */
#define RUN_CWD             "cwd"         /* a link to the directory in which commands start */
#define RUN_ENVIRONMENT     "environment" /* settings that a start has found, for systemd's units */

#define RUN_JOB_CHANGES "job-changes" /* how often jobs have changed (procd/wire/job_changes.h) */

#define RUN_RUNS "runs" /* the foreground commands (fcgi-app/commands/run_table.h) */

#define RUN_LOG_DROPS "log-drops" /* how many lines of the log were dropped (log_drops.h) */

#define RUN_STOPPING "stopping" /* the link that says when a stop kills (stop_deadline.h) */

/* In the directory of uploads: a link that says that all of the server stops. */
#define RUN_UPLOADS_STOP "stop"

/* The value of nginx's variable NGINX: the numbers of its listening sockets. */
#define RUN_NGINX_SOCKETS "nginx/sockets"

/* The first of these; the others follow it. Each service inherits all of them from the supervisor,
 * which keeps them open. A daemon closes all that it has inherited above standard error. */
#define RUN_FD_NGINX 8

/* The link that names the pid of a running service, as the run scripts leave it; printf(3) with the
 * run directory and the service. */
#define RUN_LEADER_FORMAT "%s/service/%s/leader"

/* The file to which a run script appends one byte whenever its service starts; printf(3) as above.
 */
#define RUN_STARTS_FORMAT "%s/service/%s/starts"
