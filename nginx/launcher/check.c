#include "nginx/launcher/subcommand.h"
int check_main(int count, char **arguments)
{
    (void)count;
    (void)arguments;
    return 0;
}
