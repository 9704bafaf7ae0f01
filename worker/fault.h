/* SPDX-License-Identifier: MIT */
#ifndef WORKER_FAULT_H
#define WORKER_FAULT_H

/* A memory error in a handler of a family that drains, or contains. */

#include "worker/worker.h"

/* What is posted when one has happened; bits of the word. */
#define VV_FAULT_SIGNAL UINT32_C(0xff) /* of a family that drains: which one */
#define VV_FAULT_CONTAIN                                                       \
    UINT32_C(0x100)                   /* some family is to look for its own */
#define VV_FAULT_QUIT UINT32_C(0x200) /* nobody will post any more */

int vv_worker_fault_install(void);
/* To be parked on: a fault is posted there. */
_Atomic uint32_t *vv_worker_fault_word(void);

/* ---- Draining ---- */

struct vivero_entity *vv_worker_fault_victim(void);
/* Its thread stands still for good: tell those who wait for it. */
void vv_worker_settle_fault(struct vivero_entity *worker,
                            const struct vivero_exit *exit);

/* ---- Containing: supervisor's thread ---- */

/* The signal with which its thread stands still; 0: it does not. */
int vv_worker_fault(const struct vivero_entity *worker);
/* As vv_worker_take_away(), of one whose thread stands still; exit: why. False:
 * it was taken before, or its owner gave it up, and the process is about to
 * die. */
bool vv_worker_take_fallen(struct vivero_entity *worker,
                           struct vivero_exit *exit);

#endif
