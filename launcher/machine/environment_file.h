/*
 * A file of settings: KEY=value, in the form of systemd's EnvironmentFile as far as one line holds
 * a value and nothing is escaped.
 */
#ifndef LAUNCHER_MACHINE_ENVIRONMENT_FILE_H
#define LAUNCHER_MACHINE_ENVIRONMENT_FILE_H

/*
 * Puts the settings of the file into the environment, where those that are there already stay. 1,
 * 0 if there is no such file, or -1 after one line to standard error. Not thread-safe (setenv).
 */
int environment_file_read(const char *path);

#endif
