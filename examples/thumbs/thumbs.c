/* SPDX-License-Identifier: MIT */

/* thumbs: a folder of pictures becomes a folder of thumbnails.
 *
 *     thumbs --chaos 20 /usr/share/icons /tmp/thumbnails
 *
 * You will see a bar grow while about every third run kills its worker: because
 * the picture it got is a damaged copy, or for no reason at all. Each dead
 * worker is started again by the pool, each picture that went down with one is
 * sent again by this program, and at the end nothing is missing. The last line
 * is for machines:
 *
 *     11400 done, 0 lost, 5690 worker deaths, 0 quarantined, 4.55 seconds
 *
 * Then try the same with --bare: plain threads, nobody watching.
 *
 * Where to read: farm.c is the pool; work.c is what a worker does; ledger.c
 * knows what became of each picture; workbench.h says why nothing leaks. */

#include <vivero/error.h>
#include <vivero/time.h>

#include "farm.h"
#include "plain.h"
#include "progress.h"
#include "walk.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum exit_status { STATUS_ALL_DONE, STATUS_NOT_ALL, STATUS_USAGE };
enum mode { MODE_FARM, MODE_BARE, MODE_SERIAL };

static const char usage[] =
    "usage: thumbs [options] INPUT_FOLDER OUTPUT_FOLDER\n"
    "\n"
    "Makes a thumbnail of every PNG and JPEG in INPUT_FOLDER and below.\n"
    "\n"
    "  --size PIXELS    thumbnails fit into a square of that size (128)\n"
    "  --workers N      threads (one per CPU)\n"
    "  --chaos PERCENT  damage that many copies, kill that many workers (0)\n"
    "  --seed N         of the chaos (1)\n"
    "  --bare           use plain threads without supervision\n"
    "  --serial         use no threads at all\n"
    "  --delay MS       take so much longer over each picture (0)\n"
    "  --quiet          show no progress\n"
    "  --verbose        show what the library logs, and the pool at the end\n"
    "  --help           show this\n"
    "\n"
    "Exit status: 0 all are done; 1 some were lost, quarantined or could not\n"
    "be read; 2 the options or the folders are not usable.\n";

/* ---- Options ------------------------------------------------------------ */

enum option_id {
    OPTION_SIZE = 1,
    OPTION_WORKERS,
    OPTION_CHAOS,
    OPTION_SEED,
    OPTION_BARE,
    OPTION_SERIAL,
    OPTION_DELAY,
    OPTION_QUIET,
    OPTION_VERBOSE,
    OPTION_HELP
};

static const struct option options[] = {
    {"size", required_argument, NULL, OPTION_SIZE},
    {"workers", required_argument, NULL, OPTION_WORKERS},
    {"chaos", required_argument, NULL, OPTION_CHAOS},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"bare", no_argument, NULL, OPTION_BARE},
    {"serial", no_argument, NULL, OPTION_SERIAL},
    {"delay", required_argument, NULL, OPTION_DELAY},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"verbose", no_argument, NULL, OPTION_VERBOSE},
    {"help", no_argument, NULL, OPTION_HELP},
    {0}};

static _Noreturn void refuse(const char *what, const char *why)
{
    fprintf(stderr, "thumbs: %s%s%s\n", what, *why == '\0' ? "" : ": ", why);
    exit(STATUS_USAGE);
}

static uint32_t number(const char *option, uint32_t least, uint32_t most)
{
    char *end = NULL;
    char why[64];

    errno = 0;
    const long long value = strtoll(optarg, &end, 10);
    if (errno != 0 || end == optarg || *end != '\0' || value < least ||
        value > most) {
        snprintf(why, sizeof(why), "wants a number from %lu to %lu",
                 (unsigned long)least, (unsigned long)most);
        refuse(option, why);
    }
    return (uint32_t)value;
}

static void take_option(int id, struct work *work, enum mode *mode)
{
    switch (id) {
    case OPTION_SIZE:
        work->size = number("--size", 1, 4096);
        break;
    case OPTION_WORKERS:
        work->workers = number("--workers", 1, 1024);
        break;
    case OPTION_CHAOS:
        work->chaos = number("--chaos", 0, 100);
        break;
    case OPTION_SEED:
        work->seed = number("--seed", 0, UINT32_MAX);
        break;
    case OPTION_BARE:
        *mode = MODE_BARE;
        break;
    case OPTION_SERIAL:
        *mode = MODE_SERIAL;
        break;
    case OPTION_DELAY:
        work->delay_ms = number("--delay", 0, 1000);
        break;
    case OPTION_QUIET:
        work->quiet = true;
        break;
    case OPTION_VERBOSE:
        work->verbose = true;
        break;
    case OPTION_HELP:
        fputs(usage, stdout);
        exit(STATUS_ALL_DONE);
    default: /* getopt_long() has said what is wrong */
        fputs("Try 'thumbs --help'.\n", stderr);
        exit(STATUS_USAGE);
    }
}

static enum mode take_options(int argc, char **argv, struct work *work)
{
    enum mode mode = MODE_FARM;

    for (;;) {
        const int id = getopt_long(argc, argv, "", options, NULL);

        if (id < 0) {
            break;
        }
        take_option(id, work, &mode);
    }
    if (argc - optind != 2) {
        fputs(usage, stderr);
        exit(STATUS_USAGE);
    }
    work->input = argv[optind];
    work->output = argv[optind + 1];
    return mode;
}

/* ---- Folders ------------------------------------------------------------ */

/* Is it possible to write there? To try is the only sure way to know. */
static void check_output(const char *folder)
{
    char path[4096];

    if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
        refuse(folder, strerror(errno));
    }
    const int length =
        snprintf(path, sizeof(path), "%s/.thumbs.%ld", folder, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof(path)) {
        refuse(folder, strerror(ENAMETOOLONG));
    }
    const int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0) {
        refuse(folder, strerror(errno));
    }
    close(file);
    unlink(path);
}

static void find_pictures(const struct work *work, struct walk *walk)
{
    const int error = walk_find(walk, work->input, work->output);

    if (error != 0) {
        walk_fini(walk);
        refuse(work->input, strerror(error));
    }
    if (walk->count == 0) {
        walk_fini(walk);
        refuse(work->input, "there is no PNG or JPEG in it");
    }
    if (!work->quiet && walk->passed_over > 0) {
        fprintf(stderr, "thumbs: %zu files are not named like pictures\n",
                walk->passed_over);
    }
}

/* ---- The end ------------------------------------------------------------ */

static void list_failures(const struct ledger *ledger)
{
    for (size_t i = 0; i < ledger->tally.total; i++) {
        const struct job *job = &ledger->job[i];

        if (job->state == JOB_QUARANTINED) {
            printf("quarantined: %s: %s (killed %u workers)\n", job->name,
                   job->why, job->kills);
        } else if (job->state == JOB_UNREADABLE) {
            printf("failed: %s: %s\n", job->name, strerror(job->error));
        }
    }
}

/* Returns the exit status. */
static int report(struct ledger *ledger, int64_t elapsed_ns)
{
    const struct tally tally = ledger_look(ledger);
    const size_t lost =
        tally.total - tally.done - tally.quarantined - tally.unreadable;

    if (tally.stopped) {
        printf("stopped: %zu of %zu pictures are left\n", lost, tally.total);
    }
    printf("%zu done, %zu lost, %zu worker deaths, %zu quarantined, "
           "%.2f seconds\n",
           tally.done, lost, tally.deaths, tally.quarantined,
           (double)elapsed_ns / 1e9);
    return tally.done == tally.total ? STATUS_ALL_DONE : STATUS_NOT_ALL;
}

/* Returns 0, a negative code of vivero, or a positive errno. */
static int run(enum mode mode, const struct work *work)
{
    switch (mode) {
    case MODE_FARM:
        return farm_run(work);
    case MODE_BARE:
        return plain_run_bare(work);
    case MODE_SERIAL:
        return plain_run_serial(work);
    }
    return EINVAL;
}

int main(int argc, char **argv)
{
    struct ledger ledger;
    struct walk walk;
    struct work work = {.size = 128, .seed = 1, .ledger = &ledger};
    const enum mode mode = take_options(argc, argv, &work);

    find_pictures(&work, &walk);
    check_output(work.output);
    if (ledger_init(&ledger, walk.name, walk.count) != 0) {
        refuse("out of memory", "");
    }
    progress_block_signals();

    const int64_t began_ns = vivero_now();
    const int error = run(mode, &work);
    if (error != 0 && error != VIVERO_E_TIMED_OUT) {
        refuse("cannot start the work",
               error < 0 ? vivero_strerror(error) : strerror(error));
    }
    list_failures(&ledger);
    const int status = report(&ledger, vivero_now() - began_ns);
    if (error == VIVERO_E_TIMED_OUT) {
        fflush(stdout);
        _Exit(status); /* a worker still runs, and uses what is freed below */
    }
    ledger_fini(&ledger);
    walk_fini(&walk);
    return status;
}
