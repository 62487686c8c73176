/*
 * What nginx knows of tokens: the digests that it compares with, and what it does with a request
 * that has none of them.
 */
#pragma once

#include <stdio.h>

#include "launcher/render/rendering.h"
#include "launcher/render/words.h"

/* Whether nginx needs its njs module for http: for several secrets of a sandbox, or none yet. */
bool render_needs_http_js(const struct rendering *rendering);

/* Adds @REFUSE@, how a location refuses a request without a token, and @CLAIM@, the locations that
 * give a sandbox of a pool to its first token. */
void render_secret_words(const struct rendering *rendering, struct words *words);

/* Print generated/secrets.conf, the digests, and generated/token.conf, which is empty where njs
 * compares. Return 0. */
int secrets_print(const struct rendering *rendering, FILE *out);
int token_print(const struct rendering *rendering, FILE *out);
