/* SPDX-License-Identifier: MIT */
/* Synchronous and asynchronous work for two workers. You will see:
 *
 *   [ok: 1, ok: 2, ok: 3]
 *   {:ok, 0}
 *   [:ok, :ok, :ok]
 *   6
 *
 * The first line asks for payload + n and stores nothing, the second shows that
 * nothing was stored. Then three additions are sent without waiting for them,
 * more than there are workers: they queue. When all is at rest, the sum over the
 * workers is 6, whoever did what; one that did nothing counts 0. */
#define VIVERO_SHORT_NAMES
#include <vivero/vivero.h>

#include <stdio.h>

VIVERO_POOL_TYPE(adder, int);

defsynch(adder, int, plus, (int, n))
{
    *reply = *adder_payload(self) + n;
    return VIVERO_OK;
}

defsynch(adder, int, value)
{
    *reply = *adder_payload(self);
    return VIVERO_OK;
}

defasynch(adder, add, (int, n))
{
    *adder_payload(self) += n;
    return VIVERO_OK;
}

/* How Elixir shows a result: `ok` for 0. */
static const char *status(int error)
{
    return error == VIVERO_OK ? "ok" : vivero_error_name(error);
}

static void synchronous(struct adder *pool)
{
    int value = -1;
    int error;

    for (int n = 1; n <= 3; n++) {
        error = adder_plus(pool, n, &value);
        printf("%s%s: %d%s", n == 1 ? "[" : "", status(error), value,
               n < 3 ? ", " : "]\n");
    }
    error = adder_value(pool, &value);
    printf("{:%s, %d}\n", status(error), value);
}

static int sum_over_workers(struct adder *pool)
{
    uint32_t workers = vivero_pool_size(adder_pool(pool));
    int sum = 0;

    for (uint32_t id = 1; id <= workers; id++) {
        int value = 0;

        if (adder_value_with(pool, VIVERO_SEND(.worker = id), &value) ==
            VIVERO_OK) {
            sum += value;
        }
    }
    return sum;
}

static void asynchronous(struct adder *pool)
{
    for (int n = 1; n <= 3; n++) {
        printf("%s:%s%s", n == 1 ? "[" : "", status(adder_add(pool, n)),
               n < 3 ? ", " : "]\n");
    }
    if (vivero_pool_wait_idle(adder_pool(pool), VIVERO_SECONDS(5)) ==
        VIVERO_OK) {
        printf("%d\n", sum_over_workers(pool));
    }
}

int main(void)
{
    struct adder pool;
    int error =
        adder_open(VIVERO_POOL_OPTIONS(.name = "adder", .workers = 2), &pool);

    if (error != VIVERO_OK) {
        fprintf(stderr, "open: %s\n", vivero_strerror(error));
        return 1;
    }
    synchronous(&pool);
    asynchronous(&pool);
    return adder_close(&pool) == VIVERO_OK ? 0 : 1;
}
