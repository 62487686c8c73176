#include "fcgi-app/http/spools.h"

static int directory = -1;

void spools_init(int directory_fd)
{
    directory = directory_fd;
}

int spools_directory(void)
{
    return directory;
}
