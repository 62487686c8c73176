/*
 * The web pages that may show a shared port in a frame: origins, as a browser compares them.
 */
#pragma once

#include "fcgi-app/json/json_scan.h"
#include "fcgi-app/ports/shares.h"

/*
 * Reads the origins of a list in JSON (of length 0: none) into a text with one space between two.
 * NULL, or what is wrong (static): then the text is of no use.
 */
const char *embed_origins_read(struct json_span list, char text[static SHARE_ORIGINS_MOST + 1]);
