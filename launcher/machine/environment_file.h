/*
 * A file of settings, KEY=value, in the form of systemd's EnvironmentFile as far as a value is on
 * one line and nothing is escaped.
 */
#pragma once

struct variables;

/*
 * Reads the settings of the file into the variables, which are empty before; messages will name the
 * file. 0, also if there is no such file, or -1 after one line to standard error.
 */
int environment_file_read(struct variables *variables, const char *path);
