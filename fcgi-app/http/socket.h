/*
 * Endpoints that are WebSockets. nginx passes these on to the terminal daemon; what comes here is
 * none, or has claimed the sandbox (nginx/snippets/claim.conf).
 */
#pragma once

struct request;

/* Answers such a request: by the location of nginx that goes on with a WebSocket, or with 426. */
void socket_answer(struct request *request, const char *location);
