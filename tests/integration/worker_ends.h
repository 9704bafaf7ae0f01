/* SPDX-License-Identifier: MIT */
#ifndef TESTS_INTEGRATION_WORKER_ENDS_H
#define TESTS_INTEGRATION_WORKER_ENDS_H

/* Workers that write down how they end. */

#include <vivero/vivero.h>

#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

static struct witness witness = WITNESS;
static struct gate gate = GATE_SHUT;

static void set_up(void)
{
    witness_clear(&witness);
    gate_shut(&gate);
    CU_ASSERT(solo_attach());
}

static void tear_down(void)
{
    gate_open(&gate);
    CU_ASSERT(solo_hears_nothing());
    solo_detach();
}

static struct vivero_ref start(bool traps)
{
    return solo_start(SOLO_OPTIONS(.ctx = &witness, .trap_exits = traps));
}

/* It has ended, destroyed, and terminate was called so often. */
static struct vivero_exit ended(struct vivero_ref ref, uint32_t terminates)
{
    CU_ASSERT(solo_await_end(ref));
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_TERMINATE), terminates);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_DESTROY), 1);

    struct vivero_exit exit = witness_sight(&witness, SAW_TERMINATE, 0).exit;

    witness_clear(&witness);
    return exit;
}

#endif
