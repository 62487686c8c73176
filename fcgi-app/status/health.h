#pragma once

/* Remembers the directory of the jobs' records and logs (borrowed descriptor), and the run
 * directory (borrowed), whose file systems are looked at. Call once, before threads. */
void health_init(int state_directory, const char *run_directory);
