#include "fcgi-app/ports/port_text.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "common/json_text.h"
#include "common/rfc3339.h"

/* A member whose value is a text, or null. Where it ends. */
static char *text_member(char *out, const char *name, const char *text)
{
    out = stpcpy(stpcpy(stpcpy(out, ",\""), name), "\":");
    if (text == NULL) {
        return stpcpy(out, "null");
    }
    size_t consumed;
    *out++ = '"';
    out += json_escape(out, text, strlen(text), true, &consumed);
    return stpcpy(out, "\"");
}

size_t port_text(const struct port_entry *entry, char text[PORT_TEXT_SIZE])
{
    const uint64_t second = 1000000000;
    char address[INET6_ADDRSTRLEN] = "";
    char since[RFC3339_SIZE];
    (void)inet_ntop(entry->socket.family, entry->socket.address, address, sizeof(address));
    char *out = text;
    out += snprintf(out, PORT_TEXT_SIZE, "{\"port\":%u,\"address\":\"%s\",\"loopback\":%s",
                    entry->socket.port, address,
                    listening_is_loopback(&entry->socket) ? "true" : "false");
    if (entry->pid == 0) {
        out = stpcpy(out, ",\"pid\":null");
    } else {
        out += snprintf(out, 32, ",\"pid\":%d", (int)entry->pid);
    }
    out = text_member(out, "command", entry->pid == 0 ? NULL : entry->program);
    out = text_member(out, "id", *entry->job_id == '\0' ? NULL : entry->job_id);
    out = text_member(
        out, "since_at",
        rfc3339_format((int64_t)(entry->since / second), (uint32_t)(entry->since % second), since));
    out = stpcpy(out, entry->is_shared ? ",\"shared\":true}" : ",\"shared\":false}");
    return (size_t)(out - text);
}
