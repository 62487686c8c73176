/*
 * `nginx-sandbox render`: what an nginx that is there already includes, for the sandboxes of the
 * machine.
 */
#ifndef LAUNCHER_MACHINE_RENDER_COMMAND_H
#define LAUNCHER_MACHINE_RENDER_COMMAND_H

/* The arguments from the word `render` on. The exit status; whatever is wrong is one line on
 * standard error, and then the files stay as they were. */
int render_command(int argc, char **argv);

/*
 * The same for who holds installation_lock() of `etc`, which `directory` is. 0, or -1 after one
 * line to standard error. It empties the environment.
 */
int render_installation(int directory, const char *etc, const char *state);

#endif
