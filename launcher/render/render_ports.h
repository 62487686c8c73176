/*
 * What nginx knows of the ports of sandboxes: which one a request is for, by its path or its host,
 * and whether it may be reached (nginx/snippets/ports.conf).
 */
#pragma once

#include <stdio.h>

#include "launcher/render/rendering.h"
#include "launcher/render/words.h"

/* Prints generated/ports.conf: the maps from a request to its port. Returns 0. */
int ports_print(const struct rendering *rendering, FILE *out);

/* Adds @PORT_NAMES@, the names of the server whose hosts stand for ports, and the words of
 * snippets/ports.conf. */
void ports_add_words(const struct rendering *rendering, struct words *words);

/* Prints the names of sandboxes that a host may have beside its port, as a map to $nginx_sandbox:
 * nothing where there is one sandbox. */
void ports_print_names(const struct rendering *rendering, FILE *out);
