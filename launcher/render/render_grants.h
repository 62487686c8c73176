#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "launcher/render/rendering.h"

/* Whether one of the sandboxes makes links, for which nginx needs njs. */
bool render_has_grants(const struct rendering *rendering);

/* Prints generated/grants.conf: the keys of grants, and the variables of nginx/grant.js. 0, or -1
 * after one line. */
int grants_print(const struct rendering *rendering, FILE *out);

/* Prints generated/shares.js: where nginx/share.js finds the shares of each sandbox, and whether
 * some may be everybody's. Returns 0. */
int shares_print(const struct rendering *rendering, FILE *out);
