/*
 * How much of a viewer's input goes to the terminal at once. A message goes in pieces that end
 * where a line does, as far as one can: where a line is refused, what was typed before is whole
 * lines.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct viewer;

/* The length of the next piece; 0: it has to wait for more of the message. */
size_t viewer_piece(const struct viewer *viewer);

/* A piece was refused as a line that is too long. Whether the rest of a line that was typed in part
 * is to be typed before the message is refused: viewer_piece() is that. */
bool viewer_must_end_line(struct viewer *viewer);
