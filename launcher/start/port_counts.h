/*
 * The files whose sizes say how often ports were used (nginx/snippets/counts.conf): nginx appends a
 * byte for each use, which nobody reads.
 */
#pragma once

/* Gives the space of such files back to the disk once they have some. Their sizes stay. `run` is
 * the run directory. Where the file system cannot do that they grow. */
void port_counts_trim(const char *run);
