/*
 * Follows n_tty as far as it matters for the length of a line. Where the two may differ (an erased
 * character of several bytes, an erased word) the line is taken for longer than it is.
 */
#include "procd/runner/terminal_line.h"

#include <unistd.h>

static bool is_character(const struct termios *mode, int which, unsigned char byte)
{
    return mode->c_cc[which] == byte && byte != _POSIX_VDISABLE;
}

static bool flushes_input(const struct termios *mode, unsigned char byte)
{
    return (mode->c_lflag & ISIG) != 0 && (mode->c_lflag & NOFLSH) == 0 &&
           (is_character(mode, VINTR, byte) || is_character(mode, VQUIT, byte) ||
            is_character(mode, VSUSP, byte));
}

static bool ends_line(const struct termios *mode, unsigned char byte)
{
    return byte == '\n' || is_character(mode, VEOF, byte) || is_character(mode, VEOL, byte) ||
           ((mode->c_lflag & IEXTEN) != 0 && is_character(mode, VEOL2, byte));
}

/* The byte as the input flags make it. */
static unsigned char received(const struct termios *mode, unsigned char byte)
{
    if (byte == '\r' && (mode->c_iflag & ICRNL) != 0) {
        return '\n';
    }
    return byte == '\n' && (mode->c_iflag & INLCR) != 0 ? '\r' : byte;
}

static void take_byte(struct terminal_line *line, const struct termios *mode, unsigned char raw)
{
    unsigned char byte = received(mode, raw);
    bool extends = (mode->c_lflag & IEXTEN) != 0;
    if (line->is_literal) {
        line->is_literal = false;
        line->length++;
    } else if (extends && is_character(mode, VLNEXT, byte)) {
        line->is_literal = true;
    } else if (flushes_input(mode, byte) || ends_line(mode, byte) ||
               is_character(mode, VKILL, byte)) {
        line->length = 0;
    } else if (is_character(mode, VERASE, byte)) {
        line->length -= line->length > 0;
    } else {
        line->length++;
    }
}

bool terminal_line_fits(const struct terminal_line *line, const struct termios *mode,
                        const char *data, size_t length)
{
    struct terminal_line now = *line;
    bool fits = true;
    for (size_t i = 0; i < length && fits && (mode->c_lflag & ICANON) != 0; i++) {
        take_byte(&now, mode, (unsigned char)data[i]);
        fits = now.length <= TERMINAL_LINE_MAX;
    }
    return fits;
}

void terminal_line_take(struct terminal_line *line, const struct termios *mode, const char *data,
                        size_t length)
{
    if ((mode->c_lflag & ICANON) == 0) {
        *line = (struct terminal_line){0};
        return;
    }
    for (size_t i = 0; i < length; i++) {
        take_byte(line, mode, (unsigned char)data[i]);
    }
}
