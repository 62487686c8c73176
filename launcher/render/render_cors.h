#pragma once

#include <stdio.h>

#include "launcher/render/rendering.h"

/* Prints the maps of the header Origin, for generated/cors.conf. Returns 0. */
int cors_print(const struct rendering *rendering, FILE *out);
