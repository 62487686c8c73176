/*
 * The service that runs our own nginx on listening sockets that it does not open itself: the
 * launcher has, and the supervisor keeps them, so that while nginx is away its clients wait in the
 * backlog and nobody is refused. It starts nginx again as soon as it has died, since s6-supervise
 * would wait for a second, and shuts the sockets down when nginx is to stop: whoever else holds
 * them open would leave clients waiting for an answer that never comes.
 */
#ifndef LAUNCHER_START_NGINX_SERVICE_H
#define LAUNCHER_START_NGINX_SERVICE_H

/*
 * The arguments from the word `nginx` on: -r and the run directory. The working directory is that
 * of the service, and the variable NGINX names the sockets as nginx reads it: "7;8;". Returns the
 * exit status when nginx has been stopped, or after one line to standard error.
 *
 * SIGTERM, SIGINT and SIGQUIT stop nginx, SIGHUP has it reload, SIGUSR1 open its logs again.
 */
int nginx_service(int argc, char **argv);

#endif
