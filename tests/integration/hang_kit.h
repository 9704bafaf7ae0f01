/* SPDX-License-Identifier: MIT */
#ifndef TESTS_INTEGRATION_HANG_KIT_H
#define TESTS_INTEGRATION_HANG_KIT_H

/* Pools that replace a handler which does not come back. */

#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

#define DEADLINE VIVERO_MILLISECONDS(40)

static struct vivero_pool *pool;
static struct gate gate = GATE_SHUT;
static struct journal journal = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void set_up(void)
{
    gate_shut(&gate);
    journal_clear(&journal);
    pool = NULL;
}

static bool no_zombies(void *ctx)
{
    (void)ctx;
    return vivero_abandoned_threads() == 0;
}

static void tear_down(void)
{
    gate_open(&gate);
    (void)eventually(no_zombies, NULL, CREW_PATIENCE);
}

static void open_replacing(uint32_t workers)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = workers, .workers_max = 8,
                                         .deadline_ns = DEADLINE,
                                         .on_hang = VIVERO_HANG_REPLACE,
                                         .restarts_max = 100));
}

static uint32_t zombies_of(struct vivero_pool *of)
{
    return crew_numbers(of).abandoned;
}

#endif
