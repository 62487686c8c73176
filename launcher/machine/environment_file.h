/*
 * A file of settings, KEY=value, in the form of systemd's EnvironmentFile as far as a value is on
 * one line and nothing is escaped.
 */
#pragma once

struct variables;

/*
 * Appends the settings of the file to the variables, so that those of an earlier file count. The
 * first file that is read is the one that messages name. 0, also if there is no such file, or -1
 * after one line to standard error.
 */
int environment_file_read(struct variables *variables, const char *path);
