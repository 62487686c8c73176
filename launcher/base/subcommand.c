#include "launcher/base/subcommand.h"

#include <getopt.h>
#include <string.h>

int subcommand_places(int count, char **arguments, const char *known,
                      struct subcommand_places *places)
{
    static const struct option options[] = {
        {"etc", required_argument, NULL, 'e'}, {"state", required_argument, NULL, 's'}, {0}};
    *places = (struct subcommand_places){.etc = DEFAULT_ETC, .state = DEFAULT_STATE};
    for (int option; (option = getopt_long(count, arguments, "", options, NULL)) != -1;) {
        if (strchr(known, option) == NULL) {
            return 0;
        }
        *(option == 'e' ? &places->etc : &places->state) = optarg;
    }
    return optind;
}
