/* SPDX-License-Identifier: MIT */
#ifndef TESTS_INTEGRATION_SHARED_CARRIERS_H
#define TESTS_INTEGRATION_SHARED_CARRIERS_H

/* Two carriers that may become eight, and workers that share them. */

#include <vivero/vivero.h>

#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

static struct witness witness = WITNESS;
static struct gate gate = GATE_SHUT;
static struct vivero_carriers *carriers;

static struct vivero_carriers *open_carriers(uint32_t threads,
                                             uint32_t threads_max)
{
    struct vivero_carriers *opened = NULL;
    int error = vivero_carriers_open(
        VIVERO_CARRIERS_OPTIONS(.name = "horses", .threads = threads,
                                .threads_max = threads_max),
        &opened);

    CU_ASSERT_EQUAL_FATAL(error, VIVERO_OK);
    return opened;
}

static void set_up(void)
{
    witness_clear(&witness);
    gate_shut(&gate);
    carriers = open_carriers(2, 8);
    CU_ASSERT(solo_attach());
}

static void tear_down(void)
{
    gate_open(&gate);
    vivero_carriers_close(carriers);
    CU_ASSERT(solo_hears_nothing());
    solo_detach();
}

static struct vivero_ref start(void)
{
    return solo_start(SOLO_OPTIONS(.ctx = &witness, .carriers = carriers));
}

static bool answers(struct vivero_ref ref)
{
    return vivero_worker_call(ref, &crew_nothing, NULL, NULL, NULL) ==
           VIVERO_OK;
}

#endif
