/* SPDX-License-Identifier: MIT */
#include <vivero/log.h>

#include "base/log.h"
#include "tests/lib/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

/* ------------------------------------------------------------------------ */
/* Sink and level                                                           */
/* ------------------------------------------------------------------------ */

struct received {
    int count;
    enum vivero_log_level level;
    char component[16];
    char object[16];
    char message[1024];
    char first_field[32];
    size_t field_count;
};

static void receive(const struct vivero_log_event *event, void *ctx)
{
    struct received *received = ctx;

    received->count++;
    received->level = event->level;
    received->field_count = event->field_count;
    snprintf(received->component, sizeof(received->component), "%s",
             event->component);
    snprintf(received->object, sizeof(received->object), "%s", event->object);
    snprintf(received->message, sizeof(received->message), "%s",
             event->message);
    if (event->field_count > 0) {
        snprintf(received->first_field, sizeof(received->first_field), "%s=%s",
                 event->fields[0].name, event->fields[0].value);
    }
}

static void without_a_sink_nothing_is_wanted(void)
{
    CU_ASSERT_FALSE(vv_log_wants(VIVERO_LOG_ERROR));
    vv_log(VIVERO_LOG_ERROR, "pool", "thumbs", NULL, 0, "lost");
}

static void a_sink_gets_the_whole_event(void)
{
    const struct vivero_log_field fields[] = {{"code", "13"}, {"text", "x"}};
    struct received received = {0};

    vivero_log_set_sink(VIVERO_LOG_INFO, receive, &received);
    vv_log(VIVERO_LOG_WARNING, "worker", "thumbs/3", fields, 2, "failed %s",
           "twice");

    CU_ASSERT_EQUAL(received.count, 1);
    CU_ASSERT_EQUAL(received.level, VIVERO_LOG_WARNING);
    CU_ASSERT_STRING_EQUAL(received.component, "worker");
    CU_ASSERT_STRING_EQUAL(received.object, "thumbs/3");
    CU_ASSERT_STRING_EQUAL(received.message, "failed twice");
    CU_ASSERT_EQUAL(received.field_count, 2);
    CU_ASSERT_STRING_EQUAL(received.first_field, "code=13");
}

static void a_level_lets_the_graver_ones_pass(void)
{
    struct received received = {0};

    vivero_log_set_sink(VIVERO_LOG_WARNING, receive, &received);
    vv_log(VIVERO_LOG_ERROR, "pool", "p", NULL, 0, "1");
    vv_log(VIVERO_LOG_WARNING, "pool", "p", NULL, 0, "2");
    vv_log(VIVERO_LOG_INFO, "pool", "p", NULL, 0, "3");
    vv_log(VIVERO_LOG_DEBUG, "pool", "p", NULL, 0, "4");

    CU_ASSERT_EQUAL(received.count, 2);
    CU_ASSERT_STRING_EQUAL(received.message, "2");
    CU_ASSERT_TRUE(vv_log_wants(VIVERO_LOG_WARNING));
    CU_ASSERT_FALSE(vv_log_wants(VIVERO_LOG_INFO));
}

static void no_sink_is_nobody_whatever_the_level(void)
{
    struct received received = {0};

    vivero_log_set_sink(VIVERO_LOG_DEBUG, receive, &received);
    vivero_log_set_sink(VIVERO_LOG_DEBUG, NULL, &received);
    vv_log(VIVERO_LOG_ERROR, "pool", "p", NULL, 0, "lost");

    CU_ASSERT_FALSE(vv_log_wants(VIVERO_LOG_ERROR));
    CU_ASSERT_EQUAL(received.count, 0);
}

static void an_endless_message_is_cut(void)
{
    struct received received = {0};

    vivero_log_set_sink(VIVERO_LOG_DEBUG, receive, &received);
    vv_log(VIVERO_LOG_ERROR, "pool", "p", NULL, 0, "%2000d", 1);

    CU_ASSERT_EQUAL(received.count, 1);
    CU_ASSERT_TRUE(strlen(received.message) > 100);
}

static void spoil_errno(const struct vivero_log_event *event, void *ctx)
{
    (void)event;
    (void)ctx;
    errno = EIO;
}

static void logging_leaves_errno_alone(void)
{
    vivero_log_set_sink(VIVERO_LOG_DEBUG, spoil_errno, NULL);
    errno = ENOENT;
    vv_log(VIVERO_LOG_ERROR, "pool", "p", NULL, 0, "lost");

    CU_ASSERT_EQUAL(errno, ENOENT);
}

/* Two sinks, each of which only knows its own ctx. */
static int wrong_ctx; /* main thread only: it is the one that logs */
static char ctx_of_one;
static char ctx_of_other;
static _Atomic bool stop;

static void one_sink(const struct vivero_log_event *event, void *ctx)
{
    (void)event;
    wrong_ctx += ctx != &ctx_of_one;
}

static void other_sink(const struct vivero_log_event *event, void *ctx)
{
    (void)event;
    wrong_ctx += ctx != &ctx_of_other;
}

static void *exchange_sinks(void *ctx)
{
    (void)ctx;
    /* relaxed: a flag, nothing behind it. */
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        vivero_log_set_sink(VIVERO_LOG_DEBUG, one_sink, &ctx_of_one);
        vivero_log_set_sink(VIVERO_LOG_DEBUG, other_sink, &ctx_of_other);
    }
    return NULL;
}

static void no_sink_ever_gets_the_ctx_of_another(void)
{
    pthread_t threads[2];

    for (size_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL_FATAL(
            pthread_create(&threads[i], NULL, exchange_sinks, NULL), 0);
    }
    for (int i = 0; i < 20000; i++) {
        vv_log(VIVERO_LOG_ERROR, "pool", "p", NULL, 0, "lost");
    }
    /* relaxed: a flag, nothing behind it. */
    atomic_store_explicit(&stop, true, memory_order_relaxed);
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }

    CU_ASSERT_EQUAL(wrong_ctx, 0);
}

static void every_level_has_a_name(void)
{
    CU_ASSERT_STRING_EQUAL(vivero_log_level_name(VIVERO_LOG_ERROR), "error");
    CU_ASSERT_STRING_EQUAL(vivero_log_level_name(VIVERO_LOG_WARNING),
                           "warning");
    CU_ASSERT_STRING_EQUAL(vivero_log_level_name(VIVERO_LOG_INFO), "info");
    CU_ASSERT_STRING_EQUAL(vivero_log_level_name(VIVERO_LOG_DEBUG), "debug");
}

/* ------------------------------------------------------------------------ */
/* Lines                                                                    */
/* ------------------------------------------------------------------------ */

static const struct vivero_log_field plain[] = {{"restarts", "2"},
                                                {"code", "-5"}};

static const struct vivero_log_event warning = {.level = VIVERO_LOG_WARNING,
                                                .component = "worker",
                                                .object = "thumbs/3",
                                                .message =
                                                    "failed and is restarted",
                                                .fields = plain,
                                                .field_count = 2};

/* What a sink writes to standard error for an event. */
static const char *line_of(vivero_log_fn *sink,
                           const struct vivero_log_event *event)
{
    static char line[4096];
    const int saved = dup(STDERR_FILENO);
    int ends[2];
    ssize_t got;

    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) {
        return "no pipe";
    }
    dup2(ends[1], STDERR_FILENO);
    sink(event, NULL);
    dup2(saved, STDERR_FILENO);
    got = read(ends[0], line, sizeof(line) - 1);
    line[got > 0 ? got : 0] = '\0';
    close(saved);
    close(ends[0]);
    close(ends[1]);
    return line;
}

static void stderr_gets_one_line(void)
{
    CU_ASSERT_STRING_EQUAL(line_of(vivero_log_to_stderr, &warning),
                           "vivero: warning: worker thumbs/3: failed and is "
                           "restarted restarts=2 code=-5\n");
}

static void a_line_without_object_and_fields_is_short(void)
{
    const struct vivero_log_event event = {
        .level = VIVERO_LOG_ERROR, .component = "os", .message = "no memory"};

    CU_ASSERT_STRING_EQUAL(line_of(vivero_log_to_stderr, &event),
                           "vivero: error: os: no memory\n");
}

static void odd_values_are_quoted(void)
{
    const struct vivero_log_field fields[] = {{"empty", ""},
                                              {"blank", "a b"},
                                              {"quote", "a\"b\\"},
                                              {"lines", "a\nb"}};
    const struct vivero_log_event event = {.level = VIVERO_LOG_INFO,
                                           .component = "pool",
                                           .object = "p",
                                           .message = "opened",
                                           .fields = fields,
                                           .field_count = 4};

    CU_ASSERT_STRING_EQUAL(line_of(vivero_log_to_stderr, &event),
                           "vivero: info: pool p: opened empty=\"\" "
                           "blank=\"a b\" quote=\"a\\\"b\\\\\" "
                           "lines=\"a\\nb\"\n");
}

static void a_line_is_one_line_whatever_is_in_it(void)
{
    const struct vivero_log_event event = {.level = VIVERO_LOG_DEBUG,
                                           .component = "pool",
                                           .object = "a\nb",
                                           .message = "x\r\n\x1b[1my"};

    CU_ASSERT_STRING_EQUAL(line_of(vivero_log_to_stderr, &event),
                           "vivero: debug: pool a b: x   [1my\n");
}

static void an_endless_line_is_cut_and_still_ends(void)
{
    char message[3000];
    const struct vivero_log_event event = {.level = VIVERO_LOG_DEBUG,
                                           .component = "pool",
                                           .object = "p",
                                           .message = message};
    const char *line;

    memset(message, 'x', sizeof(message));
    message[sizeof(message) - 1] = '\0';
    line = line_of(vivero_log_to_stderr, &event);

    CU_ASSERT_TRUE(strlen(line) > 500);
    CU_ASSERT_TRUE(strlen(line) < sizeof(message));
    CU_ASSERT_PTR_EQUAL(strchr(line, '\n'), line + strlen(line) - 1);
}

/* syslog(3) itself shows what it sends, after its own prefix. */
static void syslog_gets_the_same_line(void)
{
    const char *line;

    openlog("nursery", LOG_PERROR, LOG_USER);
    line = line_of(vivero_log_to_syslog, &warning);
    closelog();

    CU_ASSERT_PTR_NOT_NULL(
        strstr(line, "nursery: vivero: warning: worker thumbs/3: failed and is "
                     "restarted restarts=2 code=-5"));
}

/* ------------------------------------------------------------------------ */
/* The journal                                                              */
/* ------------------------------------------------------------------------ */

static char folder[] = "/tmp/vivero-journal-XXXXXX";
static char journal_path[sizeof(folder) + 16];
static char datagram[8192];

static int open_journal(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, journal_path, sizeof(journal_path));
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The datagram a journal gets for an event; its size, negative: none. */
static ssize_t datagram_of(const struct vivero_log_event *event)
{
    const int fd = open_journal();
    ssize_t size;

    vv_log_journal_path = journal_path;
    vivero_log_to_journal(event, NULL);
    size = recv(fd, datagram, sizeof(datagram), MSG_DONTWAIT);
    close(fd);
    unlink(journal_path);
    return size;
}

static void the_journal_gets_a_field_per_field(void)
{
    static const char expected[] = "PRIORITY=4\n"
                                   "MESSAGE=failed and is restarted\n"
                                   "VIVERO_COMPONENT=worker\n"
                                   "VIVERO_OBJECT=thumbs/3\n"
                                   "VIVERO_RESTARTS=2\n"
                                   "VIVERO_CODE=-5\n";

    const ssize_t size = datagram_of(&warning);

    CU_ASSERT_EQUAL(size, sizeof(expected) - 1);
    CU_ASSERT_NSTRING_EQUAL(datagram, expected, sizeof(expected) - 1);
}

static void the_journal_gets_values_of_many_lines_by_size(void)
{
    static const char expected[] = "PRIORITY=3\n"
                                   "MESSAGE=lost\n"
                                   "VIVERO_COMPONENT=pool\n"
                                   "VIVERO_THE_STACK\n"
                                   "\5\0\0\0\0\0\0\0"
                                   "a\nb\nc\n";
    const struct vivero_log_field fields[] = {{"the-stack", "a\nb\nc"}};
    const struct vivero_log_event event = {.level = VIVERO_LOG_ERROR,
                                           .component = "pool",
                                           .message = "lost",
                                           .fields = fields,
                                           .field_count = 1};

    const ssize_t size = datagram_of(&event);

    CU_ASSERT_EQUAL(size, sizeof(expected) - 1);
    CU_ASSERT_EQUAL(memcmp(datagram, expected, sizeof(expected) - 1), 0);
}

static void a_field_too_large_for_the_journal_is_left_out(void)
{
    static const char expected[] = "PRIORITY=3\n"
                                   "MESSAGE=lost\n"
                                   "VIVERO_COMPONENT=pool\n"
                                   "VIVERO_CODE=7\n";
    char large[5000];
    const struct vivero_log_field fields[] = {{"text", large}, {"code", "7"}};
    const struct vivero_log_event event = {.level = VIVERO_LOG_ERROR,
                                           .component = "pool",
                                           .message = "lost",
                                           .fields = fields,
                                           .field_count = 2};

    memset(large, 'x', sizeof(large));
    large[sizeof(large) - 1] = '\0';

    CU_ASSERT_EQUAL(datagram_of(&event), sizeof(expected) - 1);
    CU_ASSERT_NSTRING_EQUAL(datagram, expected, sizeof(expected) - 1);
}

static void without_a_journal_syslog_gets_the_line(void)
{
    const char *line;

    vv_log_journal_path = journal_path;
    openlog("nursery", LOG_PERROR, LOG_USER);
    line = line_of(vivero_log_to_journal, &warning);
    closelog();

    CU_ASSERT_PTR_NOT_NULL(
        strstr(line, "nursery: vivero: warning: worker thumbs/3: failed"));
}

static void an_impossible_path_is_no_journal(void)
{
    char path[300];
    const char *line;

    memset(path, '/', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    vv_log_journal_path = path;
    openlog("nursery", LOG_PERROR, LOG_USER);
    line = line_of(vivero_log_to_journal, &warning);
    closelog();

    CU_ASSERT_PTR_NOT_NULL(strstr(line, "nursery: vivero: warning"));
    vv_log_journal_path = journal_path;
}

static void make_folder(void)
{
    memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    snprintf(journal_path, sizeof(journal_path), "%s/socket", folder);
}

static void restore(void)
{
    vivero_log_set_sink(VIVERO_LOG_ERROR, NULL, NULL);
    rmdir(folder);
}

SUITE_MAIN(
    "base_log", make_folder, restore, TEST(without_a_sink_nothing_is_wanted),
    TEST(a_sink_gets_the_whole_event), TEST(a_level_lets_the_graver_ones_pass),
    TEST(no_sink_is_nobody_whatever_the_level), TEST(an_endless_message_is_cut),
    TEST(logging_leaves_errno_alone),
    TEST(no_sink_ever_gets_the_ctx_of_another), TEST(every_level_has_a_name),
    TEST(stderr_gets_one_line), TEST(a_line_without_object_and_fields_is_short),
    TEST(odd_values_are_quoted), TEST(a_line_is_one_line_whatever_is_in_it),
    TEST(an_endless_line_is_cut_and_still_ends),
    TEST(syslog_gets_the_same_line), TEST(the_journal_gets_a_field_per_field),
    TEST(the_journal_gets_values_of_many_lines_by_size),
    TEST(a_field_too_large_for_the_journal_is_left_out),
    TEST(without_a_journal_syslog_gets_the_line),
    TEST(an_impossible_path_is_no_journal))
