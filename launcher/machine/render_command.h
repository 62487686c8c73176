/*
 * `nginx-sandbox render`: writes what the nginx of a machine includes for its sandboxes.
 */
#pragma once

/*
 * Writes ETC/nginx. The caller holds installation_lock() of `etc`, of which `directory` is a
 * descriptor. 0, or -1 after one line to standard error; then the files stay as they were.
 */
int render_installation(int directory, const char *etc, const char *state);
