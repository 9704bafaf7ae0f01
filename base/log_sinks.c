/* SPDX-License-Identifier: MIT */
/* log sinks: three ready places for events.
 *
 * Model.    An event becomes one line, for stderr and syslog, or one datagram,
 *           for the journal. Both are built on the stack and leave in a single
 *           system call, so that two threads never mix their lines.
 * Journal.  The native protocol: "NAME=value\n" per field, or, for a value with
 *           a newline in it, "NAME\n", its size as 64 little-endian bits, the
 *           value, "\n". Written here because libsystemd would bring half a
 *           dozen libraries into every host for one sendto().
 * Failure.  What does not fit is cut (a line) or left out whole (a journal
 *           field). A failed write is nobody's business. */
#include "base/log.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#define LINE_MAX_SIZE 1024
#define DATAGRAM_MAX_SIZE 2048
#define JOURNAL_NAME_MAX 64

const char *vv_log_journal_path = "/run/systemd/journal/socket";

/* ------------------------------------------------------------------------ */
/* One line                                                                 */
/* ------------------------------------------------------------------------ */

struct line {
    size_t size;
    char text[LINE_MAX_SIZE]; /* ends in NUL; one byte is kept for '\n' */
};

static void put_char(struct line *line, char c)
{
    if (line->size < sizeof(line->text) - 2) {
        line->text[line->size++] = c;
        line->text[line->size] = '\0';
    }
}

static bool is_control(char c)
{
    return (unsigned char)c < ' ' || c == 0x7f;
}

/* A control character would make two lines of one, or colour a terminal. */
static void put_printable(struct line *line, char c)
{
    if (is_control(c)) {
        c = ' ';
    }
    put_char(line, c);
}

static void put_text(struct line *line, const char *text)
{
    for (; *text != '\0'; text++) {
        put_printable(line, *text);
    }
}

static bool needs_quotes(const char *value)
{
    if (*value == '\0') {
        return true;
    }
    for (; *value != '\0'; value++) {
        if (is_control(*value) || strchr(" \"=\\", *value) != NULL) {
            return true;
        }
    }
    return false;
}

static void put_quoted(struct line *line, const char *value)
{
    put_char(line, '"');
    for (; *value != '\0'; value++) {
        if (*value == '"' || *value == '\\') {
            put_char(line, '\\');
        }
        if (*value == '\n') {
            put_text(line, "\\n");
        } else {
            put_printable(line, *value);
        }
    }
    put_char(line, '"');
}

static void put_field(struct line *line, const struct vivero_log_field *field)
{
    put_char(line, ' ');
    put_text(line, field->name);
    put_char(line, '=');
    if (needs_quotes(field->value)) {
        put_quoted(line, field->value);
    } else {
        put_text(line, field->value);
    }
}

static void format_line(struct line *line, const struct vivero_log_event *event)
{
    line->size = 0;
    line->text[0] = '\0';
    put_text(line, "vivero: ");
    put_text(line, vivero_log_level_name(event->level));
    put_text(line, ": ");
    put_text(line, event->component);
    if (event->object != NULL) {
        put_char(line, ' ');
        put_text(line, event->object);
    }
    put_text(line, ": ");
    put_text(line, event->message);
    for (size_t i = 0; i < event->field_count; i++) {
        put_field(line, &event->fields[i]);
    }
}

void vivero_log_to_stderr(const struct vivero_log_event *event, void *ctx)
{
    struct line line;

    (void)ctx;
    format_line(&line, event);
    line.text[line.size++] = '\n';
    while (write(STDERR_FILENO, line.text, line.size) < 0 && errno == EINTR) {
    }
}

static int syslog_priority(enum vivero_log_level level)
{
    switch (level) {
    case VIVERO_LOG_ERROR:
        return LOG_ERR;
    case VIVERO_LOG_WARNING:
        return LOG_WARNING;
    case VIVERO_LOG_INFO:
        return LOG_INFO;
    case VIVERO_LOG_DEBUG:
        return LOG_DEBUG;
    }
    return LOG_NOTICE;
}

void vivero_log_to_syslog(const struct vivero_log_event *event, void *ctx)
{
    struct line line;

    (void)ctx;
    format_line(&line, event);
    syslog(syslog_priority(event->level), "%s", line.text);
}

/* ------------------------------------------------------------------------ */
/* One datagram                                                             */
/* ------------------------------------------------------------------------ */

struct datagram {
    size_t size;
    char bytes[DATAGRAM_MAX_SIZE];
};

static bool put_bytes(struct datagram *datagram, const void *bytes, size_t size)
{
    if (size > sizeof(datagram->bytes) - datagram->size) {
        return false;
    }
    memcpy(datagram->bytes + datagram->size, bytes, size);
    datagram->size += size;
    return true;
}

static bool put_sized(struct datagram *datagram, const char *value)
{
    const size_t size = strlen(value);
    unsigned char header[9] = {'\n'};

    for (size_t i = 0; i < 8; i++) {
        header[i + 1] = (unsigned char)((uint64_t)size >> (8 * i));
    }
    return put_bytes(datagram, header, sizeof(header)) &&
           put_bytes(datagram, value, size) && put_bytes(datagram, "\n", 1);
}

static void put_journal_field(struct datagram *datagram, const char *name,
                              const char *value)
{
    const size_t before = datagram->size;
    bool fits = put_bytes(datagram, name, strlen(name));

    if (strchr(value, '\n') != NULL) {
        fits = fits && put_sized(datagram, value);
    } else {
        fits = fits && put_bytes(datagram, "=", 1) &&
               put_bytes(datagram, value, strlen(value)) &&
               put_bytes(datagram, "\n", 1);
    }
    if (!fits) {
        datagram->size = before;
    }
}

/* The journal takes capital letters, digits and underscores only; the prefix
 * keeps our fields apart from its own. */
static void put_own_field(struct datagram *datagram, const char *name,
                          const char *value)
{
    char own[JOURNAL_NAME_MAX + 1] = "VIVERO_";
    size_t size = strlen(own);

    for (; *name != '\0' && size < JOURNAL_NAME_MAX; name++) {
        char c = '_';

        if (*name >= 'a' && *name <= 'z') {
            c = (char)(*name - 'a' + 'A');
        } else if ((*name >= 'A' && *name <= 'Z') ||
                   (*name >= '0' && *name <= '9')) {
            c = *name;
        }
        own[size++] = c;
    }
    own[size] = '\0';
    put_journal_field(datagram, own, value);
}

static void format_datagram(struct datagram *datagram,
                            const struct vivero_log_event *event)
{
    const char priority[] = {(char)('0' + syslog_priority(event->level)), '\0'};

    datagram->size = 0;
    put_journal_field(datagram, "PRIORITY", priority);
    put_journal_field(datagram, "MESSAGE", event->message);
    put_own_field(datagram, "COMPONENT", event->component);
    if (event->object != NULL) {
        put_own_field(datagram, "OBJECT", event->object);
    }
    for (size_t i = 0; i < event->field_count; i++) {
        put_own_field(datagram, event->fields[i].name, event->fields[i].value);
    }
}

/* A socket per event: events are rare, and a descriptor that is kept would
 * outlive the last object and be shared with forked children. */
static bool send_to_journal(const struct datagram *datagram)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t path_size = strlen(vv_log_journal_path) + 1;
    ssize_t sent;
    int fd;

    if (path_size > sizeof(address.sun_path)) {
        return false;
    }
    memcpy(address.sun_path, vv_log_journal_path, path_size);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    do {
        sent = sendto(fd, datagram->bytes, datagram->size, MSG_NOSIGNAL,
                      (const struct sockaddr *)&address, sizeof(address));
    } while (sent < 0 && errno == EINTR);
    (void)close(fd);
    return sent >= 0;
}

void vivero_log_to_journal(const struct vivero_log_event *event, void *ctx)
{
    struct datagram datagram;

    format_datagram(&datagram, event);
    if (!send_to_journal(&datagram)) {
        vivero_log_to_syslog(event, ctx);
    }
}
