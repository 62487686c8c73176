#include "fcgi-app/files/file_turn.h"

#define TURNS 64 /* shared by all files */

pthread_mutex_t *file_turn(const char *path)
{
    static pthread_mutex_t locks[TURNS] = {[0 ... TURNS - 1] = PTHREAD_MUTEX_INITIALIZER};
    unsigned hash = 0;
    for (; *path != '\0'; path++) {
        hash = hash * 31 + (unsigned char)*path;
    }
    return &locks[hash % TURNS];
}
