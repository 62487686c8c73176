/*
 * The service that gives a sandbox of a pool to the first token (claim.h). nginx asks it by
 * auth_request, over SCGI, until the sandbox is claimed. Before its first answer after the claim it
 * puts RUN/claimed (run_files.h) in place, which only root and the workers of nginx may read. They
 * read it for each request from then on (nginx/token.js):
 *
 *     SALT SHA256 GRANT_KEY
 *
 * So a claim takes no reload of nginx, and a request that is too late, or without a token, never
 * reaches fcgi-app.
 */
#pragma once

/* The arguments: the word `claim`, -r and the run directory. Its listening socket is standard
 * input. Ends by a signal, or with an exit status after one line to standard error. */
int claim_service(int argc, char **argv);
