/* SPDX-License-Identifier: MIT */

/* The public headers as C++17 sees them: every macro form is used once. */

#define VIVERO_SHORT_NAMES
#include <vivero/vivero.h>

#include "tests/lib/suite.h"

#include <atomic>
#include <string>

struct point {
    int x;
    int y;
};

VIVERO_POOL_TYPE(plotter, point);
VIVERO_POOL_TYPE(scalar, double);

declsynch(plotter, int, distance, (int, x), (int, y));
declasynch(plotter, shift, (int, dx));

defsynch(plotter, int, distance, (int, x), (int, y))
{
    point *at = plotter_payload(self);

    at->x += x;
    at->y += y;
    *reply = at->x + at->y;
    return VIVERO_OK;
}

defsynch(plotter, uint32_t, whoami)
{
    *reply = plotter_state(self).id;
    return VIVERO_OK;
}

static std::atomic<int> shifted;

defasynch(plotter, shift, (int, dx))
{
    shifted += dx;
    return VIVERO_OK;
}

VIVERO_DEFSYNCH_STRUCT(plotter, point, mirror, point)
{
    reply->x = in->y;
    reply->y = in->x;
    return VIVERO_OK;
}

VIVERO_DEFASYNCH_STRUCT(plotter, jump, point)
{
    shifted += in->x + in->y;
    return VIVERO_OK;
}

VIVERO_DEFSYNCH(scalar, double, scale, (double, by))
{
    *reply = (*scalar_payload(self) + 2.0) * by;
    return VIVERO_OK;
}

VIVERO_DEFSYNCH(scalar, int, stumble)
{
    return vivero_fail(self, 3, "in C++");
}

static plotter plotters;

static void set_up()
{
    vivero_pool_options options;

    vivero_pool_options_init(&options);
    options.name = "cxx";
    options.workers = 2;
    shifted = 0;
    CU_ASSERT_EQUAL_FATAL(plotter_open(&options, &plotters), VIVERO_OK);
}

static void tear_down()
{
    CU_ASSERT_EQUAL(plotter_close(&plotters), VIVERO_OK);
}

static void calls_with_a_list_of_arguments()
{
    int sum = 0;

    CU_ASSERT_EQUAL(plotter_distance(&plotters, 3, 4, &sum), VIVERO_OK);
    CU_ASSERT_EQUAL(sum, 7);
}

static void calls_a_worker_through_a_send_struct()
{
    vivero_send send;
    uint32_t id = 0;

    vivero_send_init(&send);
    send.worker = 2;
    CU_ASSERT_EQUAL(plotter_whoami_with(&plotters, &send, &id), VIVERO_OK);
    CU_ASSERT_EQUAL(id, 2u);
}

static void casts_and_waits()
{
    point by = {20, 3};

    CU_ASSERT_EQUAL(plotter_shift(&plotters, 100), VIVERO_OK);
    CU_ASSERT_EQUAL(plotter_jump(&plotters, &by), VIVERO_OK);
    CU_ASSERT_EQUAL(
        vivero_pool_wait_idle(plotter_pool(&plotters), VIVERO_SECONDS(20)),
        VIVERO_OK);
    CU_ASSERT_EQUAL(shifted, 123);
}

static void calls_with_a_struct()
{
    point in = {1, 2};
    point out = {0, 0};

    CU_ASSERT_EQUAL(plotter_mirror(&plotters, &in, &out), VIVERO_OK);
    CU_ASSERT_EQUAL(out.x, 2);
    CU_ASSERT_EQUAL(out.y, 1);
}

static void opens_a_second_kind_of_pool_and_sees_it_fail()
{
    scalar second;
    double product = 0;

    CU_ASSERT_EQUAL_FATAL(scalar_open(nullptr, &second), VIVERO_OK);
    CU_ASSERT_EQUAL(scalar_scale(&second, 4.0, &product), VIVERO_OK);
    CU_ASSERT_EQUAL(product, 8.0);
    CU_ASSERT_EQUAL(scalar_stumble(&second, nullptr), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->code, 3);
    CU_ASSERT(std::string(vivero_last_exit()->text) == "in C++");
    CU_ASSERT_EQUAL(scalar_close(&second), VIVERO_OK);
}

SUITE_MAIN("header_cxx", set_up, tear_down,
           TEST(calls_with_a_list_of_arguments),
           TEST(calls_a_worker_through_a_send_struct), TEST(casts_and_waits),
           TEST(calls_with_a_struct),
           TEST(opens_a_second_kind_of_pool_and_sees_it_fail))
