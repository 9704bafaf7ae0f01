/* SPDX-License-Identifier: MIT */
/* A pool whose worker owns a number, and stumbles. You will see:
 *
 *   ok 1
 *   ok 3
 *   ok 6
 *   pool counter: 1 worker, 4 accepted, 3 handled, 1 failed, 0 queued,
 *   0 rejected, 1 restart
 *     worker 1: idle, 3 handled, 1 failed, 0 queued, 1 restart, last exit failed
 *     13 "bad luck"
 *
 * (each of the last two on one line). The first message makes the worker fail;
 * the ones behind it wait in its mailbox and are served by its successor. */
#define VIVERO_SHORT_NAMES
#include <vivero/vivero.h>

#include <stdio.h>

VIVERO_POOL_TYPE(counter, long); /* pools whose workers each own a long */

defsynch(counter, long, add, (long, n)) /* int counter_add(pool, n, &reply) */
{
    long *total = counter_payload(self);

    *total += n;
    *reply = *total;
    return VIVERO_OK;
}

defasynch(counter, stumble) /* int counter_stumble(pool) */
{
    return vivero_fail(self, 13, "bad luck"); /* this worker ends, the keeper
                                                 replants it */
}

int main(void)
{
    struct counter pool;
    long total = 0;
    int error = counter_open(
        VIVERO_POOL_OPTIONS(.name = "counter", .workers = 1), &pool);

    if (error != VIVERO_OK) {
        fprintf(stderr, "open: %s\n", vivero_strerror(error));
        return 1;
    }
    counter_stumble(&pool);
    for (long n = 1; n <= 3; n++) {
        error = counter_add(&pool, n, &total);
        printf("%s %ld\n", vivero_strerror(error), total);
    }
    vivero_pool_print(counter_pool(&pool), stdout); /* workers, restarts */
    return counter_close(&pool) == VIVERO_OK ? 0 : 1;
}
