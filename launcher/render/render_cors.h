#pragma once

#include "launcher/render/rendering.h"

/* Writes the maps of the header Origin, generated/cors.conf. 0, or -1 after one line. */
int render_cors(const struct rendering *rendering);
