/*
 * The headers that every answer begins with. Thread-safe.
 */
#pragma once

/* Bytes of the longest type of content, and room for these headers. */
#define CONTENT_TYPE_MOST 110
#define ANSWER_BEGIN_SIZE (CONTENT_TYPE_MOST + 90)

/* Renders the type of the content, unless it is NULL, and the status. Returns the end of the text;
 * NULL if the type is too long. */
char *answer_begin_render(char begin[ANSWER_BEGIN_SIZE], int status, const char *content_type);
