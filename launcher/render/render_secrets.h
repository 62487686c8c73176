/*
 * What nginx knows of tokens: the digests that it compares with, and what it does with a request
 * that has none of them.
 */
#pragma once

#include "launcher/render/rendering.h"
#include "launcher/render/words.h"

/* Whether nginx needs its njs module for http: for several secrets of a sandbox, or none yet. */
bool render_needs_http_js(const struct rendering *rendering);

/* Adds @REFUSE@, how a location refuses a request without a token, and @CLAIM@, the locations that
 * give a sandbox of a pool to its first token. */
void render_secret_words(const struct rendering *rendering, struct words *words);

/* Writes generated/secrets.conf and generated/token.conf. 0, or -1 after one line. */
int render_secrets(const struct rendering *rendering);
