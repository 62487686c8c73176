#pragma once

#define SPACES " \t\r"

/* Cuts the spaces off both ends of the text, in place. Returns its new beginning. */
char *trim(char *text);
