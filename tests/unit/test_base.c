/* SPDX-License-Identifier: MIT */
#include <vivero/error.h>
#include <vivero/exit.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/options.h"
#include "tests/lib/suite.h"

#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ------------------------------------------------------------------------ */
/* Errors                                                                   */
/* ------------------------------------------------------------------------ */

static const int errors[] = {VIVERO_OK,
#define ERROR_OF(name_, value_, text_) VIVERO_E_##name_,
                             VIVERO_ERRORS(ERROR_OF)
#undef ERROR_OF
};

#define ERROR_COUNT (sizeof(errors) / sizeof(errors[0]))

static void every_error_has_a_number_of_its_own(void)
{
    for (size_t i = 0; i < ERROR_COUNT; i++) {
        for (size_t j = 0; j < i; j++) {
            CU_ASSERT_NOT_EQUAL(errors[i], errors[j]);
        }
    }
}

static void every_error_is_negative(void)
{
    for (size_t i = 1; i < ERROR_COUNT; i++) {
        CU_ASSERT_TRUE(errors[i] < 0);
    }
}

static void every_error_has_a_text_of_its_own(void)
{
    for (size_t i = 0; i < ERROR_COUNT; i++) {
        CU_ASSERT_TRUE(strlen(vivero_strerror(errors[i])) > 0);
        for (size_t j = 0; j < i; j++) {
            CU_ASSERT_STRING_NOT_EQUAL(vivero_strerror(errors[i]),
                                       vivero_strerror(errors[j]));
        }
    }
}

static void every_error_has_a_name_of_its_own(void)
{
    for (size_t i = 0; i < ERROR_COUNT; i++) {
        CU_ASSERT_TRUE(strlen(vivero_error_name(errors[i])) > 0);
        for (size_t j = 0; j < i; j++) {
            CU_ASSERT_STRING_NOT_EQUAL(vivero_error_name(errors[i]),
                                       vivero_error_name(errors[j]));
        }
    }
}

static void a_name_is_the_code_without_its_prefix(void)
{
    CU_ASSERT_STRING_EQUAL(vivero_error_name(VIVERO_E_TIMED_OUT), "TIMED_OUT");
    CU_ASSERT_STRING_EQUAL(vivero_error_name(VIVERO_E_IO), "IO");
}

static void counts_are_ok(void)
{
    CU_ASSERT_STRING_EQUAL(vivero_strerror(0), "ok");
    CU_ASSERT_STRING_EQUAL(vivero_strerror(17), "ok");
    CU_ASSERT_STRING_EQUAL(vivero_error_name(0), "OK");
    CU_ASSERT_STRING_EQUAL(vivero_error_name(17), "OK");
}

static void unlisted_codes_belong_to_the_application(void)
{
    CU_ASSERT_STRING_EQUAL(vivero_strerror(-1000), "error of the application");
    CU_ASSERT_STRING_EQUAL(vivero_error_name(-1000), "APPLICATION");
    CU_ASSERT_STRING_EQUAL(vivero_error_name(INT32_MIN), "APPLICATION");
}

static void every_exit_kind_has_a_word_of_its_own(void)
{
    for (int i = VIVERO_EXIT_NONE; i <= VIVERO_EXIT_RESTART_LIMIT; i++) {
        const char *word = vivero_exit_kind_name((enum vivero_exit_kind)i);

        CU_ASSERT_STRING_NOT_EQUAL(word, "unknown");
        for (int j = VIVERO_EXIT_NONE; j < i; j++) {
            CU_ASSERT_STRING_NOT_EQUAL(
                word, vivero_exit_kind_name((enum vivero_exit_kind)j));
        }
    }
    CU_ASSERT_STRING_EQUAL(vivero_exit_kind_name(VIVERO_EXIT_RESTART_LIMIT),
                           "restart_limit");
}

static void the_version_is_the_headers(void)
{
    char expected[32];

    snprintf(expected, sizeof(expected), "%d.%d.%d", VIVERO_VERSION_MAJOR,
             VIVERO_VERSION_MINOR, VIVERO_VERSION_PATCH);

    CU_ASSERT_STRING_EQUAL(vivero_version(), expected);
}

/* ------------------------------------------------------------------------ */
/* Misuse                                                                   */
/* ------------------------------------------------------------------------ */

struct caught {
    jmp_buf back;
    char sentence[1024];
};

static void catch_misuse(const char *sentence, void *ctx)
{
    struct caught *caught = ctx;

    snprintf(caught->sentence, sizeof(caught->sentence), "%s", sentence);
    longjmp(caught->back, 1);
}

static void restore_misuse_hook(void)
{
    vivero_set_misuse_hook(NULL, NULL);
}

static void a_failed_check_calls_the_hook_with_the_sentence(void)
{
    struct caught caught = {.sentence = ""};

    vivero_set_misuse_hook(catch_misuse, &caught);
    if (setjmp(caught.back) == 0) {
        VV_CHECK(1 + 1 == 3, "pool %s: sums are %d", "thumbs", 2);
        CU_FAIL("the check let it pass");
    }

    CU_ASSERT_STRING_EQUAL(caught.sentence, "pool thumbs: sums are 2");
}

static void a_check_that_holds_is_silent(void)
{
    struct caught caught = {.sentence = "nothing"};

    vivero_set_misuse_hook(catch_misuse, &caught);
    if (setjmp(caught.back) == 0) {
        VV_CHECK(1 + 1 == 2, "sums");
    }

    CU_ASSERT_STRING_EQUAL(caught.sentence, "nothing");
}

static void an_endless_sentence_is_cut(void)
{
    struct caught caught = {.sentence = ""};

    vivero_set_misuse_hook(catch_misuse, &caught);
    if (setjmp(caught.back) == 0) {
        vv_misuse("%2000d", 1);
    }

    CU_ASSERT_TRUE(strlen(caught.sentence) > 100);
    CU_ASSERT_TRUE(strlen(caught.sentence) < 1000);
}

static void return_from_misuse(const char *sentence, void *ctx)
{
    (void)sentence;
    (void)ctx;
}

/* Runs body in a child; its standard error goes to text. The child's status. */
static int status_of_child(void (*body)(void), char *text, size_t size)
{
    int ends[2];
    int status = 0;
    size_t used = 0;
    ssize_t got = 1;
    pid_t child;

    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        const struct rlimit no_core = {0, 0};

        setrlimit(RLIMIT_CORE, &no_core);
        dup2(ends[1], STDERR_FILENO);
        body();
        _exit(0);
    }
    close(ends[1]);
    while (got > 0 && used < size - 1) {
        got = read(ends[0], text + used, size - 1 - used);
        used += got > 0 ? (size_t)got : 0;
    }
    text[used] = '\0';
    close(ends[0]);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    return status;
}

static void misuse_by_default(void)
{
    vv_misuse("pool %s: closed twice", "thumbs");
}

static void misuse_with_a_hook_that_returns(void)
{
    vivero_set_misuse_hook(return_from_misuse, NULL);
    vv_misuse("whatever");
}

static void by_default_the_sentence_is_printed_and_the_program_stops(void)
{
    char text[256];

    const int status = status_of_child(misuse_by_default, text, sizeof(text));

    CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    CU_ASSERT_STRING_EQUAL(text, "vivero: pool thumbs: closed twice\n");
}

static void the_program_stops_when_the_hook_returns(void)
{
    char text[256];

    const int status =
        status_of_child(misuse_with_a_hook_that_returns, text, sizeof(text));

    CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    CU_ASSERT_STRING_EQUAL(text, "");
}

/* ------------------------------------------------------------------------ */
/* Options                                                                  */
/* ------------------------------------------------------------------------ */

struct options_then {
    size_t size;
    uint64_t depth;
};

struct options_now {
    size_t size;
    uint64_t depth;
    uint64_t workers;
};
VV_NO_TAIL_PADDING(struct options_now, workers);

struct options_later {
    size_t size;
    uint64_t depth;
    uint64_t workers;
    uint64_t flavour;
};

static void no_options_are_all_defaults(void)
{
    struct options_now to = {1, 2, 3};

    const int error = vv_options_copy(&to, sizeof(to), NULL);

    CU_ASSERT_EQUAL(error, VIVERO_OK);
    CU_ASSERT_EQUAL(to.size, sizeof(to));
    CU_ASSERT_EQUAL(to.depth, 0);
    CU_ASSERT_EQUAL(to.workers, 0);
}

static void options_of_the_same_age_are_copied(void)
{
    const struct options_now from = {sizeof(from), 7, 8};
    struct options_now to = {1, 2, 3};

    const int error = vv_options_copy(&to, sizeof(to), &from);

    CU_ASSERT_EQUAL(error, VIVERO_OK);
    CU_ASSERT_EQUAL(to.size, sizeof(to));
    CU_ASSERT_EQUAL(to.depth, 7);
    CU_ASSERT_EQUAL(to.workers, 8);
}

static void an_older_caller_gets_defaults_for_what_is_new(void)
{
    const struct options_then from = {sizeof(from), 7};
    struct options_now to = {1, 2, 3};

    const int error = vv_options_copy(&to, sizeof(to), &from);

    CU_ASSERT_EQUAL(error, VIVERO_OK);
    CU_ASSERT_EQUAL(to.size, sizeof(to));
    CU_ASSERT_EQUAL(to.depth, 7);
    CU_ASSERT_EQUAL(to.workers, 0);
}

static void a_newer_caller_is_served_if_he_asks_for_nothing_new(void)
{
    const struct options_later from = {sizeof(from), 7, 8, 0};
    struct options_now to = {1, 2, 3};

    const int error = vv_options_copy(&to, sizeof(to), &from);

    CU_ASSERT_EQUAL(error, VIVERO_OK);
    CU_ASSERT_EQUAL(to.size, sizeof(to));
    CU_ASSERT_EQUAL(to.workers, 8);
}

static void a_newer_caller_who_asks_for_something_new_is_invalid(void)
{
    const struct options_later from = {sizeof(from), 7, 8, 1};
    struct options_now to;

    const int error = vv_options_copy(&to, sizeof(to), &from);

    CU_ASSERT_EQUAL(error, VIVERO_E_INVALID);
}

static void options_without_a_size_are_invalid(void)
{
    const struct options_now forgotten = {0, 7, 8};
    const struct options_now tiny = {sizeof(size_t) - 1, 7, 8};
    struct options_now to;

    CU_ASSERT_EQUAL(vv_options_copy(&to, sizeof(to), &forgotten),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vv_options_copy(&to, sizeof(to), &tiny), VIVERO_E_INVALID);
}

/* ------------------------------------------------------------------------ */
/* Hash                                                                     */
/* ------------------------------------------------------------------------ */

#define HASHES 100000

static uint64_t hash_of(uint64_t number)
{
    return vv_hash_bytes(&number, sizeof(number), 0);
}

static void a_hash_depends_on_bytes_size_and_seed(void)
{
    CU_ASSERT_EQUAL(vv_hash_bytes("abcdefghijk", 11, 1),
                    vv_hash_bytes("abcdefghijk", 11, 1));
    CU_ASSERT_NOT_EQUAL(vv_hash_bytes("abcdefghijk", 11, 1),
                        vv_hash_bytes("abcdefghijl", 11, 1));
    CU_ASSERT_NOT_EQUAL(vv_hash_bytes("abcdefghijk", 11, 1),
                        vv_hash_bytes("abcdefghijk", 11, 2));
    CU_ASSERT_NOT_EQUAL(vv_hash_bytes("a\0", 1, 1), vv_hash_bytes("a\0", 2, 1));
    CU_ASSERT_NOT_EQUAL(vv_hash_bytes(NULL, 0, 1), vv_hash_bytes("\0", 1, 1));
}

static void a_hash_does_not_depend_on_where_the_bytes_are(void)
{
    const char text[] = "-abcdefghijklmnop abcdefghijklmnop";

    CU_ASSERT_EQUAL(vv_hash_bytes(text + 1, 16, 3),
                    vv_hash_bytes(text + 18, 16, 3));
}

static void one_bit_of_the_key_changes_half_of_the_hash(void)
{
    uint64_t changed = 0;

    for (uint64_t i = 0; i < 1000; i++) {
        changed += (uint64_t)__builtin_popcountll(
            hash_of(i) ^ hash_of(i ^ UINT64_C(1) << (i % 64)));
    }

    CU_ASSERT_TRUE(changed > 31 * 1000 && changed < 33 * 1000);
}

static void jump_spreads_hashes_evenly(void)
{
    uint32_t per_bucket[10] = {0};

    for (uint64_t i = 0; i < HASHES; i++) {
        per_bucket[vv_hash_jump(hash_of(i), 10)]++;
    }

    for (size_t i = 0; i < 10; i++) {
        CU_ASSERT_TRUE(per_bucket[i] > HASHES / 10 - HASHES / 200);
        CU_ASSERT_TRUE(per_bucket[i] < HASHES / 10 + HASHES / 200);
    }
}

static void one_bucket_takes_all(void)
{
    for (uint64_t i = 0; i < 1000; i++) {
        CU_ASSERT_EQUAL(vv_hash_jump(hash_of(i), 1), 0);
    }
}

static void a_new_bucket_takes_its_share_and_nothing_else_moves(void)
{
    uint32_t moved = 0;
    uint32_t moved_elsewhere = 0;

    for (uint64_t i = 0; i < HASHES; i++) {
        const uint32_t before = vv_hash_jump(hash_of(i), 9);
        const uint32_t after = vv_hash_jump(hash_of(i), 10);

        moved += before != after;
        moved_elsewhere += before != after && after != 9;
    }

    CU_ASSERT_EQUAL(moved_elsewhere, 0);
    CU_ASSERT_TRUE(moved > HASHES / 10 - HASHES / 200);
    CU_ASSERT_TRUE(moved < HASHES / 10 + HASHES / 200);
}

static void a_seed_gives_the_known_sequence(void)
{
    uint64_t state = 0;

    /* The published first numbers of splitmix64. */
    CU_ASSERT_EQUAL(vv_random_next(&state), UINT64_C(0xe220a8397b1dcdaf));
    CU_ASSERT_EQUAL(vv_random_next(&state), UINT64_C(0x6e789e6aa1b965f4));
    CU_ASSERT_EQUAL(vv_random_next(&state), UINT64_C(0x06c45d188009454f));
}

SUITE_MAIN("base", NULL, restore_misuse_hook,
           TEST(every_error_has_a_number_of_its_own),
           TEST(every_error_is_negative),
           TEST(every_error_has_a_text_of_its_own),
           TEST(every_error_has_a_name_of_its_own),
           TEST(a_name_is_the_code_without_its_prefix), TEST(counts_are_ok),
           TEST(unlisted_codes_belong_to_the_application),
           TEST(every_exit_kind_has_a_word_of_its_own),
           TEST(the_version_is_the_headers),
           TEST(a_failed_check_calls_the_hook_with_the_sentence),
           TEST(a_check_that_holds_is_silent), TEST(an_endless_sentence_is_cut),
           TEST(by_default_the_sentence_is_printed_and_the_program_stops),
           TEST(the_program_stops_when_the_hook_returns),
           TEST(no_options_are_all_defaults),
           TEST(options_of_the_same_age_are_copied),
           TEST(an_older_caller_gets_defaults_for_what_is_new),
           TEST(a_newer_caller_is_served_if_he_asks_for_nothing_new),
           TEST(a_newer_caller_who_asks_for_something_new_is_invalid),
           TEST(options_without_a_size_are_invalid),
           TEST(a_hash_depends_on_bytes_size_and_seed),
           TEST(a_hash_does_not_depend_on_where_the_bytes_are),
           TEST(one_bit_of_the_key_changes_half_of_the_hash),
           TEST(jump_spreads_hashes_evenly), TEST(one_bucket_takes_all),
           TEST(a_new_bucket_takes_its_share_and_nothing_else_moves),
           TEST(a_seed_gives_the_known_sequence))
