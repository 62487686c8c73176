#include "terminal/scratch.h"

unsigned char scratch[SCRATCH_SIZE];
