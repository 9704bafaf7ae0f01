/* SPDX-License-Identifier: MIT */
#include "os/cpu.h"
#include "tests/lib/suite.h"

#include <sys/stat.h>
#include <unistd.h>

static void there_is_a_cpu(void)
{
    CU_ASSERT_TRUE(vv_cpu_usable() >= 1);
    vv_cpu_relax();
    vv_cpu_yield();
}

static void a_quota_is_rounded_up(void)
{
    CU_ASSERT_EQUAL(vv_cpu_parse_quota("100000 100000"), 1);
    CU_ASSERT_EQUAL(vv_cpu_parse_quota("150000 100000\n"), 2);
    CU_ASSERT_EQUAL(vv_cpu_parse_quota("1 100000"), 1);
    CU_ASSERT_EQUAL(vv_cpu_parse_quota("800000 100000\n"), 8);
    CU_ASSERT_EQUAL(vv_cpu_parse_quota("9223372036854775807 1"), UINT32_MAX);
}

static void no_quota_is_zero(void)
{
    CU_ASSERT_EQUAL(vv_cpu_parse_quota("max 100000"), 0);
    CU_ASSERT_EQUAL(vv_cpu_parse_quota("max 100000\n"), 0);
    CU_ASSERT_EQUAL(vv_cpu_parse_quota("-1 100000"), 0);
}

static void a_quota_that_is_not_understood_is_zero(void)
{
    CU_ASSERT_EQUAL(vv_cpu_parse_quota(""), 0);
    CU_ASSERT_EQUAL(vv_cpu_parse_quota("\n"), 0);
    CU_ASSERT_EQUAL(vv_cpu_parse_quota("100000"), 0);
    CU_ASSERT_EQUAL(vv_cpu_parse_quota("100000 "), 0);
    CU_ASSERT_EQUAL(vv_cpu_parse_quota("100000 0"), 0);
    CU_ASSERT_EQUAL(vv_cpu_parse_quota("100000 -5"), 0);
    CU_ASSERT_EQUAL(vv_cpu_parse_quota("0 100000"), 0);
    CU_ASSERT_EQUAL(vv_cpu_parse_quota("100000 100000 7"), 0);
    CU_ASSERT_EQUAL(vv_cpu_parse_quota("1e5 1e5"), 0);
}

/* A tree of cgroups in a temporary folder. */
static char tree[] = "/tmp/vivero-cgroup-XXXXXX";

static void at(char *path, size_t size, const char *name)
{
    snprintf(path, size, "%s/%s", tree, name);
}

static void make_folder(const char *name)
{
    char path[256];

    at(path, sizeof(path), name);
    CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
}

static void make_file(const char *name, const char *text)
{
    char path[256];
    FILE *file;

    at(path, sizeof(path), name);
    file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(text, file);
    fclose(file);
}

static uint32_t quota_of(const char *cgroups)
{
    char path[256];

    make_file("self", cgroups);
    at(path, sizeof(path), "self");
    return vv_cpu_read_quota(path, tree);
}

static void begin_tree(void)
{
    memcpy(tree + sizeof(tree) - 7, "XXXXXX", 6);
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(tree));
}

static void end_tree(void)
{
    static const char *const names[] = {"self",
                                        "cpu.max",
                                        "a/b/cpu.max",
                                        "a/cpu.max",
                                        "a/b",
                                        "a",
                                        "unified/cpu.max",
                                        "unified",
                                        "cpu/a/cpu.cfs_quota_us",
                                        "cpu/a/cpu.cfs_period_us",
                                        "cpu/a",
                                        "cpu/cpu.cfs_quota_us",
                                        "cpu/cpu.cfs_period_us",
                                        "cpu"};
    char path[256];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        at(path, sizeof(path), names[i]);
        (void)remove(path);
    }
    CU_ASSERT_EQUAL(rmdir(tree), 0);
}

static void the_lowest_quota_of_all_groups_above_counts(void)
{
    make_folder("a");
    make_folder("a/b");
    make_file("a/b/cpu.max", "800000 100000\n");
    make_file("a/cpu.max", "300000 100000\n");

    CU_ASSERT_EQUAL(quota_of("0::/a/b\n"), 3);
    make_file("a/b/cpu.max", "200000 100000\n");
    CU_ASSERT_EQUAL(quota_of("0::/a/b\n"), 2);
    make_file("a/b/cpu.max", "max 100000\n");
    CU_ASSERT_EQUAL(quota_of("0::/a/b\n"), 3);
    make_file("a/cpu.max", "max 100000\n");
    CU_ASSERT_EQUAL(quota_of("0::/a/b\n"), 0);
}

/* In a container the path may be the host's. */
static void a_group_that_is_not_there_leaves_the_mount_point(void)
{
    make_file("cpu.max", "150000 100000\n");

    CU_ASSERT_EQUAL(quota_of("0::/system.slice/docker-12.scope\n"), 2);
    CU_ASSERT_EQUAL(quota_of("0::/\n"), 2);
}

static void version_1_counts_where_it_has_the_controller(void)
{
    make_file("cpu.max", "100000 100000\n");
    make_folder("cpu");
    make_folder("cpu/a");
    make_file("cpu/a/cpu.cfs_quota_us", "350000\n");
    make_file("cpu/a/cpu.cfs_period_us", "100000\n");
    make_file("cpu/cpu.cfs_quota_us", "-1\n");
    make_file("cpu/cpu.cfs_period_us", "100000\n");

    CU_ASSERT_EQUAL(quota_of("5:cpuset:/x\n4:cpu,cpuacct:/a\n0::/\n"), 4);
    CU_ASSERT_EQUAL(quota_of("4:cpuacct,cpu:/a\n"), 4);
    CU_ASSERT_EQUAL(quota_of("4:cpu:/\n"), 0);
    CU_ASSERT_EQUAL(quota_of("4:cpuset,cpuacct:/a\n0::/\n"), 1);
}

static void version_2_may_be_mounted_beside_version_1(void)
{
    make_folder("unified");
    make_file("unified/cpu.max", "500000 100000\n");

    CU_ASSERT_EQUAL(quota_of("7:memory:/m\n0::/\n"), 5);
}

static void no_cgroups_are_no_limit(void)
{
    CU_ASSERT_EQUAL(vv_cpu_read_quota("/nowhere/cgroup", tree), 0);
    CU_ASSERT_EQUAL(quota_of(""), 0);
    CU_ASSERT_EQUAL(quota_of("rubbish\n:\n"), 0);
    CU_ASSERT_EQUAL(quota_of("0::/a/b\n"), 0);
}

SUITE_MAIN("os_cpu", begin_tree, end_tree, TEST(there_is_a_cpu),
           TEST(a_quota_is_rounded_up), TEST(no_quota_is_zero),
           TEST(a_quota_that_is_not_understood_is_zero),
           TEST(the_lowest_quota_of_all_groups_above_counts),
           TEST(a_group_that_is_not_there_leaves_the_mount_point),
           TEST(version_1_counts_where_it_has_the_controller),
           TEST(version_2_may_be_mounted_beside_version_1),
           TEST(no_cgroups_are_no_limit))
