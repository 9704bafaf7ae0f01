/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_SUITE_H
#define TESTS_LIB_SUITE_H

/* One program, one suite: the last thing in a test file is
 *
 *     SUITE_MAIN("mailbox", set_up, tear_down,
 *                TEST(take_returns_messages_in_order),
 *                TEST(put_reports_full_instead_of_waiting))
 *
 * set_up and tear_down run before and after every test; NULL where there is
 * nothing to do. With arguments the program runs only the tests whose names
 * contain one of them.
 *
 * CUnit has no locks: assert on the main thread only, on what the other
 * threads have left in a struct, after they were joined. */

#include <CUnit/Basic.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUITE_TESTS_MAX 256

#define TEST(function_) {#function_, function_}

#define SUITE_MAIN(name_, set_up_, tear_down_, ...)                           \
    int main(int argc, char **argv)                                           \
    {                                                                         \
        CU_TestInfo all[] = {__VA_ARGS__, CU_TEST_INFO_NULL};                 \
        return suite_run(name_, set_up_, tear_down_, all, argc, argv);        \
    }

static inline bool suite_wants(const char *test, int argc, char **argv)
{
    bool wanted = argc < 2;

    for (int i = 1; i < argc; i++) {
        wanted = wanted || strstr(test, argv[i]) != NULL;
    }
    return wanted;
}

static inline int suite_run(const char *name, CU_SetUpFunc set_up,
                            CU_TearDownFunc tear_down, const CU_TestInfo *all,
                            int argc, char **argv)
{
    static CU_TestInfo chosen[SUITE_TESTS_MAX + 1];
    size_t count = 0;

    for (; all->pName != NULL; all++) {
        if (suite_wants(all->pName, argc, argv)) {
            if (count == SUITE_TESTS_MAX) {
                fprintf(stderr, "%s: more tests than SUITE_TESTS_MAX\n", name);
                return EXIT_FAILURE;
            }
            chosen[count++] = *all;
        }
    }

    CU_SuiteInfo suites[] = {{name, NULL, NULL, set_up, tear_down, chosen},
                             CU_SUITE_INFO_NULL};

    /* A crash must not swallow the name of the test that crashed. */
    setvbuf(stdout, NULL, _IONBF, 0);
    if (count == 0 || CU_initialize_registry() != CUE_SUCCESS ||
        CU_register_suites(suites) != CUE_SUCCESS) {
        fprintf(stderr, "%s: no tests to run\n", name);
        return EXIT_FAILURE;
    }
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();

    unsigned run = CU_get_number_of_tests_run();
    unsigned failed = CU_get_number_of_tests_failed();
    unsigned broken = CU_get_number_of_failures();

    CU_cleanup_registry();
    /* tools/count-tests reads this line. */
    printf("\n%s: %u passed, %u failed\n", name, run - failed, failed);
    return run == count && failed == 0 && broken == 0 ? EXIT_SUCCESS
                                                      : EXIT_FAILURE;
}

#endif
