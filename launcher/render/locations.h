/*
 * The locations of the API, from the list of endpoints (api/endpoints.h).
 */
#pragma once

#include "launcher/render/rendering.h"
#include "launcher/render/words.h"

/* Writes the locations below each prefix, generated/locations.conf. 0, or -1 after one line. */
int locations_generate(const struct rendering *rendering);

/* Adds @ENDPOINTS@, the names of all endpoints of the API as alternatives of a regular expression,
 * and @READS@, those of endpoints that change nothing. */
void locations_add_words(struct words *words);
