/*
 * The error codes: the member "error_code" of every JSON error, for programs to go by. The text
 * beside it is for people. fcgi-app and the launcher (for nginx's own errors) make them from this
 * list, one entry a line; docs/api.md has it as a table.
 */
#pragma once

/* clang-format off */
/* ERROR(code, when) */
#define API_ERRORS(ERROR) \
    ERROR(invalid_json, "the body is no JSON object in UTF-8") \
    ERROR(invalid_request, "a member, parameter or header is missing, wrong, or contradicts another") \
    ERROR(unauthorized, "the token is missing or wrong") \
    ERROR(expired, "the link or ticket was valid once") \
    ERROR(forbidden, "web pages of this origin may not do it, or clients may not reach this port") \
    ERROR(not_found, "there is no such endpoint, file or process") \
    ERROR(method_not_allowed, "the endpoint does not take this method; Allow names those it takes") \
    ERROR(unsupported, "this server cannot do it: a content coding, a limit, a kind of file") \
    ERROR(exists, "there is something of this name already") \
    ERROR(in_use, "a port is bound already, or a file is in use") \
    ERROR(not_a_directory, "a part of the path is no directory") \
    ERROR(is_a_directory, "the path is a directory") \
    ERROR(not_empty, "the directory is not empty") \
    ERROR(invalid_path, "the path is too long, or its links lead round in a circle") \
    ERROR(permission_denied, "the user of the commands may not do it") \
    ERROR(read_only, "the file system is read-only") \
    ERROR(no_space, "the disk is full, or a quota or limit of files is reached") \
    ERROR(io_error, "the system refused it for another reason, which the text names") \
    ERROR(precondition_failed, "the file is not in the state that the request names") \
    ERROR(edit_mismatch, "the text to replace does not occur as often as the edit says") \
    ERROR(running, "the process is running") \
    ERROR(not_running, "the process has ended") \
    ERROR(no_stdin, "the process has no open standard input") \
    ERROR(too_large, "the body, a member or the request's head is too large") \
    ERROR(too_many, "as many as may be at once are there, or too many failed tokens; repeat it later") \
    ERROR(timeout, "the request came too slowly") \
    ERROR(may_have_run, "the request was lost on its way; what it asked for may have been done") \
    ERROR(unavailable, "nothing was done; repeat the request after Retry-After") \
    ERROR(stopping, "the server is stopping") \
    ERROR(not_listening, "nothing listens on the port") \
    ERROR(bad_answer, "the application behind the port gave no answer, or none that is HTTP") \
    ERROR(cannot_start, "the command could not be started, and not for a reason of the request's") \
    ERROR(internal, "the server failed")
/* clang-format on */

#define API_ERROR_NUMBER(code, when) ERROR_##code,
enum api_error { API_ERRORS(API_ERROR_NUMBER) API_ERROR_COUNT };
#undef API_ERROR_NUMBER

/* The code as it stands in an answer. */
const char *api_error_code(enum api_error error);

/* The error for an errno of the file system. */
enum api_error api_error_of_errno(int number);
