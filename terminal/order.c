#include "terminal/order.h"

#include <string.h>

cJSON *order_parse(const char *text, size_t length)
{
    cJSON *order = cJSON_ParseWithLengthOpts(text, length, NULL, false);
    if (!cJSON_IsObject(order)) {
        cJSON_Delete(order);
        return NULL;
    }
    return order;
}

void order_freep(cJSON **order)
{
    cJSON_Delete(*order);
}

bool order_is(const cJSON *order, const char *type)
{
    const char *given = order == NULL
                            ? NULL
                            : cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(order, "type"));
    return given != NULL && strcmp(given, type) == 0;
}

const char *order_text(const cJSON *order, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(order, name));
}

long order_number(const cJSON *order, const char *name, long most)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(order, name);
    double number = cJSON_IsNumber(item) ? item->valuedouble : -1;
    return number >= 0 && number <= (double)most && number == (double)(long)number ? (long)number
                                                                                   : -1;
}
