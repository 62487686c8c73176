#include "launcher/machine/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

unsigned problem_count;

void problem_print(const char *before, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fputs(before, stdout);
    (void)vprintf(format, arguments);
    (void)putchar('\n');
    va_end(arguments);
}

bool machine_has_systemd(void)
{
    return access("/run/systemd/system", F_OK) == 0;
}

const char *nginx_reload_command(void)
{
    return machine_has_systemd() ? "systemctl reload nginx" : "nginx -s reload";
}
