#include "screen/screen.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <vterm.h>

#define TITLE_SIZE     1024
#define CHARACTER_MAX  4
#define CODE_POINT_MAX 0x10ffffU
#define REPLACEMENT    0xfffdU
#define SECOND_HALF    UINT32_MAX /* of a wide character, as libvterm has it */

struct screen {
    VTerm *terminal;
    VTermScreen *cells;
    int cols, rows;
    bool is_visible; /* the cursor */
    bool is_alternate;
    char title[TITLE_SIZE];
};

/* ---- what libvterm reports ---- */

static void take_title(struct screen *screen, const VTermValue *value)
{
#if VTERM_VERSION_MAJOR > 0 || VTERM_VERSION_MINOR > 1
    size_t used = value->string.initial ? 0 : strlen(screen->title);
    size_t room = TITLE_SIZE - 1 - used;
    size_t length = value->string.len < room ? value->string.len : room;
    memcpy(screen->title + used, value->string.str, length);
    screen->title[used + length] = '\0';
#else
    (void)snprintf(screen->title, TITLE_SIZE, "%s", value->string);
#endif
}

static int take_property(VTermProp property, VTermValue *value, void *user)
{
    struct screen *screen = user;
    if (property == VTERM_PROP_CURSORVISIBLE) {
        screen->is_visible = value->boolean != 0;
    } else if (property == VTERM_PROP_ALTSCREEN) {
        screen->is_alternate = value->boolean != 0;
    } else if (property == VTERM_PROP_TITLE) {
        take_title(screen, value);
    }
    return 1;
}

static void drop_answer(const char *bytes, size_t length, void *user)
{
    (void)bytes;
    (void)length;
    (void)user;
}

static const VTermScreenCallbacks callbacks = {.settermprop = take_property};

/* ---- a screen ---- */

struct screen *screen_new(int cols, int rows)
{
    struct screen *screen = calloc(1, sizeof(*screen));
    VTerm *terminal = screen == NULL ? NULL : vterm_new(rows, cols);
    if (terminal == NULL) {
        free(screen);
        return NULL;
    }
    *screen = (struct screen){.terminal = terminal,
                              .cells = vterm_obtain_screen(terminal),
                              .cols = cols,
                              .rows = rows,
                              .is_visible = true};
    vterm_set_utf8(terminal, 1);
    vterm_output_set_callback(terminal, drop_answer, NULL);
    vterm_screen_set_callbacks(screen->cells, &callbacks, screen);
    vterm_screen_enable_altscreen(screen->cells, 1);
    vterm_screen_reset(screen->cells, 1);
    return screen;
}

void screen_free(struct screen *screen)
{
    vterm_free(screen->terminal);
    free(screen);
}

void screen_print(struct screen *screen, const char *bytes, size_t length)
{
    (void)vterm_input_write(screen->terminal, bytes, length);
}

/* ---- text ---- */

/* Renders a character in UTF-8; U+FFFD for what is none. Its bytes. */
static size_t render_code_point(uint32_t value, char text[CHARACTER_MAX])
{
    if (value < 0x20 || value == 0x7f || value > CODE_POINT_MAX ||
        (value >= 0xd800 && value <= 0xdfff)) {
        value = REPLACEMENT;
    }
    if (value < 0x80) {
        text[0] = (char)value;
        return 1;
    }
    size_t length = value < 0x800 ? 2 : value < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length - 1; i > 0; i--, value >>= 6) {
        text[i] = (char)(0x80U | (value & 0x3fU));
    }
    text[0] = (char)(leads[length] | value);
    return length;
}

/* Writes a row. Spaces wait until something else follows them. */
static void write_row(const struct screen *screen, int row, FILE *out)
{
    int spaces = 0;
    for (int col = 0; col < screen->cols; col++) {
        VTermScreenCell cell;
        char text[CHARACTER_MAX];
        if (vterm_screen_get_cell(screen->cells, (VTermPos){row, col}, &cell) == 0 ||
            cell.chars[0] == SECOND_HALF) {
            continue;
        }
        if (cell.chars[0] == 0 || (cell.chars[0] == ' ' && cell.chars[1] == 0)) {
            spaces++;
            continue;
        }
        for (; spaces > 0; spaces--) {
            (void)fputc(' ', out);
        }
        for (int i = 0; i < VTERM_MAX_CHARS_PER_CELL && cell.chars[i] != 0; i++) {
            (void)fwrite(text, 1, render_code_point(cell.chars[i], text), out);
        }
    }
    (void)fputc('\n', out);
}

void screen_write(const struct screen *screen, FILE *out)
{
    VTermPos cursor;
    vterm_state_get_cursorpos(vterm_obtain_state(screen->terminal), &cursor);
    (void)fprintf(out, "%d %d %d %d\n", cursor.row, cursor.col, screen->is_visible,
                  screen->is_alternate);
    for (const char *at = screen->title; *at != '\0'; at++) {
        (void)fputc((unsigned char)*at < ' ' ? ' ' : *at, out);
    }
    (void)fputc('\n', out);
    for (int row = 0; row < screen->rows; row++) {
        write_row(screen, row, out);
    }
}
