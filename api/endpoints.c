#include "api/endpoints.h"

#define ENTRY(name, path, methods, trait, effect) {path, methods, trait, effect},
const struct api_endpoint api_endpoints[API_COUNT] = {API_ENDPOINTS(ENTRY)};
