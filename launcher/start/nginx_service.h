/*
 * The service that runs our own nginx on listening sockets that the launcher has opened and the
 * supervisor keeps: while nginx is away its clients wait in the backlog, and none is refused. It
 * starts nginx again as soon as it has died, since s6-supervise would wait for a second. When nginx
 * is to stop it shuts the sockets down, since other processes hold them and clients would wait for
 * ever.
 */
#pragma once

/*
 * The arguments: the word `nginx`, -r and the run directory. The working directory is that of the
 * service, and the variable NGINX names the sockets as nginx reads it: "7;8;". Returns the exit
 * status when nginx has been stopped, or after one line to standard error.
 *
 * SIGTERM, SIGINT and SIGQUIT stop nginx, SIGHUP makes it reload, SIGUSR1 makes it open its logs
 * again.
 */
int nginx_service(int argc, char **argv);
