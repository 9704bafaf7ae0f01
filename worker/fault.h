/* SPDX-License-Identifier: MIT */
#ifndef WORKER_FAULT_H
#define WORKER_FAULT_H

/* A memory error in a handler of a family that drains. */

#include "worker/worker.h"

int vv_worker_fault_install(void);
/* Becomes the signal when it has happened; to be parked on. */
_Atomic uint32_t *vv_worker_fault_word(void);
struct vivero_entity *vv_worker_fault_victim(void);
/* Its thread stands still for good: tell those who wait for it. */
void vv_worker_settle_fault(struct vivero_entity *worker,
                            const struct vivero_exit *exit);

#endif
