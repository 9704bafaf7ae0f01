/* SPDX-License-Identifier: MIT */
#include "tests/lib/crew.h"

#include <vivero/error.h>

#include "tests/lib/eventually.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Gates -------------------------------------------------------------- */

void gate_shut(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->is_open = false;
    gate->arrived = 0;
    gate->passed = 0;
    pthread_mutex_unlock(&gate->lock);
}

void gate_open(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->is_open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

void gate_pass(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->arrived++;
    while (!gate->is_open) {
        pthread_cond_wait(&gate->changed, &gate->lock);
    }
    gate->passed++;
    pthread_mutex_unlock(&gate->lock);
}

uint32_t gate_passed(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    uint32_t passed = gate->passed;
    pthread_mutex_unlock(&gate->lock);
    return passed;
}

struct gate_wish {
    struct gate *gate;
    uint32_t arrived;
};

static bool gate_has(void *ctx)
{
    struct gate_wish *wish = ctx;

    pthread_mutex_lock(&wish->gate->lock);
    bool has = wish->gate->arrived >= wish->arrived;
    pthread_mutex_unlock(&wish->gate->lock);
    return has;
}

bool gate_await(struct gate *gate, uint32_t arrived)
{
    struct gate_wish wish = {gate, arrived};

    return eventually(gate_has, &wish, CREW_PATIENCE);
}

/* ---- Journals ------------------------------------------------------------ */

void journal_clear(struct journal *journal)
{
    pthread_mutex_lock(&journal->lock);
    journal->count = 0;
    pthread_mutex_unlock(&journal->lock);
}

void journal_write(struct journal *journal, int value, uint32_t worker)
{
    pthread_mutex_lock(&journal->lock);
    if (journal->count < JOURNAL_MAX) {
        journal->entry[journal->count].value = value;
        journal->entry[journal->count].worker = worker;
    }
    journal->count++;
    pthread_mutex_unlock(&journal->lock);
}

uint32_t journal_count(struct journal *journal)
{
    pthread_mutex_lock(&journal->lock);
    uint32_t count = journal->count;
    pthread_mutex_unlock(&journal->lock);
    return count;
}

struct journal_wish {
    struct journal *journal;
    uint32_t count;
};

static bool journal_has(void *ctx)
{
    struct journal_wish *wish = ctx;

    return journal_count(wish->journal) >= wish->count;
}

bool journal_await(struct journal *journal, uint32_t count)
{
    struct journal_wish wish = {journal, count};

    return eventually(journal_has, &wish, CREW_PATIENCE);
}

bool journal_is(struct journal *journal, const int *values, uint32_t count)
{
    pthread_mutex_lock(&journal->lock);
    bool same = journal->count == count;
    for (uint32_t i = 0; same && i < count; i++) {
        same = journal->entry[i].value == values[i];
    }
    pthread_mutex_unlock(&journal->lock);
    return same;
}

/* ---- Operations -----------------------------------------------------------
 */

static int hold(struct vivero_self *self, const void *in, void *out)
{
    const struct hold_in *hold = in;

    (void)self;
    (void)out;
    gate_pass(hold->gate);
    return VIVERO_OK;
}

static int note(struct vivero_self *self, const void *in, void *out)
{
    const struct note_in *note = in;

    (void)out;
    journal_write(note->journal, note->value, vivero_id(self));
    return VIVERO_OK;
}

static int echo(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    if (out != NULL) {
        memcpy(out, in, sizeof(int));
    }
    return VIVERO_OK;
}

static int answer(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)out;
    return *(const int *)in;
}

static int fail(struct vivero_self *self, const void *in, void *out)
{
    const struct fail_in *fail = in;

    (void)out;
    return vivero_fail(self, fail->code, fail->text);
}

static int leave(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    pthread_exit(NULL);
}

static int whoami(struct vivero_self *self, const void *in, void *out)
{
    uint32_t id = vivero_id(self);

    (void)in;
    if (out != NULL) {
        memcpy(out, &id, sizeof id);
    }
    return VIVERO_OK;
}

static int nothing(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return VIVERO_OK;
}

const struct vivero_operation crew_hold = {
    .name = "hold", .run = hold, .in_size = sizeof(struct hold_in)};
const struct vivero_operation crew_note = {
    .name = "note", .run = note, .in_size = sizeof(struct note_in)};
const struct vivero_operation crew_echo = {.name = "echo",
                                           .run = echo,
                                           .in_size = sizeof(int),
                                           .out_size = sizeof(int)};
const struct vivero_operation crew_answer = {
    .name = "answer", .run = answer, .in_size = sizeof(int)};
const struct vivero_operation crew_fail = {
    .name = "fail", .run = fail, .in_size = sizeof(struct fail_in)};
const struct vivero_operation crew_leave = {.name = "leave", .run = leave};
const struct vivero_operation crew_whoami = {
    .name = "whoami", .run = whoami, .out_size = sizeof(uint32_t)};
const struct vivero_operation crew_nothing = {.name = "nothing",
                                              .run = nothing};

/* ---- Pools -----------------------------------------------------------------
 */

struct vivero_pool *crew_open(const struct vivero_pool_options *options)
{
    struct vivero_pool *pool = NULL;
    int error = vivero_pool_open(options, &pool);

    if (error != VIVERO_OK) {
        fprintf(stderr, "crew_open: %s\n", vivero_strerror(error));
        return NULL;
    }
    return pool;
}

bool crew_hold_worker(struct vivero_pool *pool, uint32_t worker,
                      struct gate *gate)
{
    struct hold_in in = {gate};

    gate_shut(gate);
    return vivero_pool_cast(pool, &crew_hold, &in,
                            VIVERO_SEND(.worker = worker)) == VIVERO_OK &&
           gate_await(gate, 1);
}

bool crew_hold_all(struct vivero_pool *pool, struct gate *gate)
{
    struct hold_in in = {gate};
    uint32_t size = vivero_pool_size(pool);

    gate_shut(gate);
    return vivero_pool_broadcast(pool, &crew_hold, &in) == (int)size &&
           gate_await(gate, size);
}

struct vivero_pool_snapshot crew_numbers(struct vivero_pool *pool)
{
    const struct vivero_pool_snapshot *snapshot;
    struct vivero_pool_snapshot copy = {0};

    if (vivero_pool_snapshot(pool, &snapshot) == VIVERO_OK) {
        copy = *snapshot;
        copy.name = NULL;
        copy.worker = NULL;
        vivero_pool_snapshot_free(snapshot);
    }
    return copy;
}

struct vivero_worker_snapshot crew_worker(struct vivero_pool *pool,
                                          uint32_t worker)
{
    const struct vivero_pool_snapshot *snapshot;
    struct vivero_worker_snapshot copy = {0};

    if (vivero_pool_snapshot(pool, &snapshot) != VIVERO_OK) {
        return copy;
    }
    for (uint32_t i = 0; i < snapshot->worker_count; i++) {
        if (snapshot->worker[i].id == worker) {
            copy = snapshot->worker[i];
        }
    }
    copy.operation = NULL;
    copy.payload = NULL;
    vivero_pool_snapshot_free(snapshot);
    return copy;
}

struct pool_wish {
    struct vivero_pool *pool;
    uint64_t number;
};

static bool pool_has_queued(void *ctx)
{
    struct pool_wish *wish = ctx;

    return crew_numbers(wish->pool).queued == wish->number;
}

bool crew_await_queued(struct vivero_pool *pool, uint64_t queued)
{
    struct pool_wish wish = {pool, queued};

    return eventually(pool_has_queued, &wish, CREW_PATIENCE);
}

static bool pool_has_restarted(void *ctx)
{
    struct pool_wish *wish = ctx;
    const struct vivero_pool_snapshot *snapshot;
    bool settled;

    if (vivero_pool_snapshot(wish->pool, &snapshot) != VIVERO_OK) {
        return false;
    }
    settled = snapshot->restarts == wish->number;
    for (uint32_t i = 0; i < snapshot->worker_count; i++) {
        settled = settled && (snapshot->worker[i].state == VIVERO_WORKER_IDLE ||
                              snapshot->worker[i].state == VIVERO_WORKER_BUSY);
    }
    vivero_pool_snapshot_free(snapshot);
    return settled;
}

bool crew_await_restarts(struct vivero_pool *pool, uint64_t restarts)
{
    struct pool_wish wish = {pool, restarts};

    return eventually(pool_has_restarted, &wish, CREW_PATIENCE);
}

static bool pool_has_size(void *ctx)
{
    struct pool_wish *wish = ctx;

    return vivero_pool_size(wish->pool) == wish->number;
}

bool crew_await_size(struct vivero_pool *pool, uint32_t size)
{
    struct pool_wish wish = {pool, size};

    return eventually(pool_has_size, &wish, CREW_PATIENCE);
}

bool crew_is_conserved(struct vivero_pool *pool)
{
    int idle = vivero_pool_wait_idle(pool, CREW_PATIENCE);
    struct vivero_pool_snapshot n = crew_numbers(pool);
    uint64_t sum = n.handled + n.failed + n.expired + n.cancelled + n.dropped +
                   n.dead + n.queued + n.running;

    if (idle != VIVERO_OK || n.accepted != sum) {
        fprintf(stderr,
                "\nwait_idle %d; accepted %llu = handled %llu + failed %llu + "
                "expired %llu + cancelled %llu + dropped %llu + dead %llu + "
                "queued %llu + running %llu\n",
                idle, (unsigned long long)n.accepted,
                (unsigned long long)n.handled, (unsigned long long)n.failed,
                (unsigned long long)n.expired, (unsigned long long)n.cancelled,
                (unsigned long long)n.dropped, (unsigned long long)n.dead,
                (unsigned long long)n.queued, (unsigned long long)n.running);
        return false;
    }
    return true;
}

static bool time_has_passed(void *ctx)
{
    return vivero_now() > *(int64_t *)ctx;
}

struct vivero_future crew_call_echo(struct vivero_pool *pool, int value)
{
    struct vivero_future future = {0};
    int error = vivero_pool_call_async(pool, &crew_echo, &value, NULL, &future);

    if (error != VIVERO_OK) {
        fprintf(stderr, "crew_call_echo: %s\n", vivero_strerror(error));
    }
    return future;
}

int crew_value_of(struct vivero_future future, int64_t timeout_ns)
{
    int value = 0;
    int result = vivero_future_wait(future, &value, sizeof(value), timeout_ns);

    return result == VIVERO_OK ? value : result;
}

void crew_await_time(int64_t instant_ns)
{
    (void)eventually(time_has_passed, &instant_ns, VIVERO_FOREVER / 2);
}

/* ---- Threads that call ------------------------------------------------------
 */

static void *caller_run(void *arg)
{
    struct caller *caller = arg;
    int64_t began_ns = vivero_now();

    caller->result = vivero_pool_call(caller->pool, caller->operation,
                                      caller->in, caller->out, caller->send);
    caller->took_ns = vivero_now() - began_ns;
    caller->reason = *vivero_last_exit();
    return NULL;
}

void caller_start(struct caller *caller)
{
    int error = pthread_create(&caller->thread, NULL, caller_run, caller);

    if (error != 0) {
        fprintf(stderr, "caller_start: %s\n", strerror(error));
        abort();
    }
}

void caller_join(struct caller *caller)
{
    pthread_join(caller->thread, NULL);
}

/* ---- Memory
 * ------------------------------------------------------------------ */

/* Before each block stand its size and alignment, to see what release says. */
struct block_head {
    size_t size;
    size_t alignment;
};

static size_t head_room(size_t alignment)
{
    return alignment > sizeof(struct block_head) ? alignment
                                                 : sizeof(struct block_head);
}

static void *accountant_allocate(size_t size, size_t alignment, void *ctx)
{
    struct accountant *accountant = ctx;
    long long asked = atomic_fetch_add(&accountant->asked, 1) + 1;
    long long refuse = atomic_load(&accountant->refuse);
    size_t room = head_room(alignment);
    void *base = NULL;

    if (refuse != 0 && asked >= refuse) {
        return NULL;
    }
    if (posix_memalign(&base, room, room + size) != 0) {
        return NULL;
    }

    char *memory = (char *)base + room;
    struct block_head head = {size, alignment};

    memcpy(memory - sizeof head, &head, sizeof head);
    atomic_fetch_add(&accountant->bytes, (long long)size);
    atomic_fetch_add(&accountant->blocks, 1);
    return memory;
}

static void accountant_release(void *memory, size_t size, size_t alignment,
                               void *ctx)
{
    struct accountant *accountant = ctx;
    struct block_head head;

    memcpy(&head, (char *)memory - sizeof head, sizeof head);
    if (head.size != size || head.alignment != alignment) {
        atomic_fetch_add(&accountant->wrong, 1);
    }
    atomic_fetch_sub(&accountant->bytes, (long long)head.size);
    atomic_fetch_sub(&accountant->blocks, 1);
    free((char *)memory - head_room(head.alignment));
}

int accountant_install(struct accountant *accountant)
{
    struct vivero_allocator allocator = {accountant_allocate,
                                         accountant_release, accountant};

    atomic_store(&accountant->bytes, 0);
    atomic_store(&accountant->blocks, 0);
    atomic_store(&accountant->asked, 0);
    atomic_store(&accountant->refuse, 0);
    atomic_store(&accountant->wrong, 0);
    return vivero_set_allocator(&allocator);
}

int accountant_remove(void)
{
    return vivero_set_allocator(NULL);
}

/* ---- The process
 * --------------------------------------------------------------- */

static uint32_t count_entries(const char *path)
{
    DIR *folder = opendir(path);
    uint32_t count = 0;

    if (folder == NULL) {
        return 0;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    closedir(folder);
    return count;
}

static void *do_nothing(void *arg)
{
    return arg;
}

/* Some sanitizers make a thread of their own with the program's first. */
static void make_the_first_thread(void)
{
    pthread_t thread;

    if (CREW_SANITIZED &&
        pthread_create(&thread, NULL, do_nothing, NULL) == 0) {
        pthread_join(thread, NULL);
    }
}

uint32_t crew_threads(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_the_first_thread);
    return count_entries("/proc/self/task");
}

uint32_t crew_files(void)
{
    return count_entries("/proc/self/fd");
}

static bool threads_are_few(void *ctx)
{
    return crew_threads() <= *(uint32_t *)ctx;
}

bool crew_await_threads(uint32_t threads)
{
    return eventually(threads_are_few, &threads, CREW_PATIENCE);
}

static bool task_is_named(const char *task, const char *prefix)
{
    char path[300];
    char name[32] = "";

    snprintf(path, sizeof path, "/proc/self/task/%s/comm", task);

    FILE *file = fopen(path, "r");

    if (file == NULL) {
        return false;
    }
    bool named = fgets(name, sizeof name, file) != NULL &&
                 strncmp(name, prefix, strlen(prefix)) == 0;
    fclose(file);
    return named;
}

uint32_t crew_threads_named(const char *prefix)
{
    DIR *folder = opendir("/proc/self/task");
    uint32_t count = 0;

    if (folder == NULL) {
        return 0;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        count += task_is_named(entry->d_name, prefix);
    }
    closedir(folder);
    return count;
}

static void tell_and_leave(const char *sentence, void *ctx)
{
    int *pipe_end = ctx;
    ssize_t written = write(*pipe_end, sentence, strlen(sentence));

    (void)written;
    _exit(CREW_MISUSE);
}

static void read_sentence(int pipe_end, char *sentence)
{
    size_t length = 0;
    ssize_t got = 1;

    while (got > 0 && length < CREW_SENTENCE_MAX - 1) {
        got = read(pipe_end, sentence + length, CREW_SENTENCE_MAX - 1 - length);
        length += got > 0 ? (size_t)got : 0;
    }
    sentence[length] = '\0';
}

int crew_fork(int (*body)(void *ctx), void *ctx, char *sentence)
{
    char unwanted[CREW_SENTENCE_MAX];
    int ends[2];
    int status = 0;

    if (pipe(ends) != 0) {
        return CREW_BROKEN;
    }

    pid_t child = fork();

    if (child == 0) {
        close(ends[0]);
        vivero_set_misuse_hook(tell_and_leave, &ends[1]);
        _exit(body(ctx));
    }
    close(ends[1]);
    read_sentence(ends[0], sentence == NULL ? unwanted : sentence);
    close(ends[0]);
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return child > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : CREW_BROKEN;
}
