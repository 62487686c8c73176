/*
 * The locations of the API, from the list of endpoints (api/endpoints.h).
 */
#pragma once

#include <stdio.h>

#include "launcher/render/rendering.h"
#include "launcher/render/words.h"

/* Prints the locations below each prefix, for generated/locations.conf. Returns 0. */
int locations_print(const struct rendering *rendering, FILE *out);

/* Adds @ENDPOINTS@, the names of all endpoints of the API as alternatives of a regular expression,
 * @READS@, those of endpoints that change nothing, and @RAW@, those whose path goes on behind their
 * own. */
void locations_add_words(struct words *words);

/* Prints the map from a request's target to the path behind that of a RAW endpoint, as it was
 * written. */
void locations_print_raw_paths(const struct rendering *rendering, FILE *out);
