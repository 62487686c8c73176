#include "fcgi-app/endpoints.h"

#define ROW(name, path, methods, trait, effect) &name##_endpoint,
const struct endpoint *const endpoints[API_COUNT] = {API_ENDPOINTS(ROW)};
