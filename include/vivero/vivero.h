/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_VIVERO_H
#define VIVERO_VIVERO_H

/* Everything, for users. */
#include <vivero/api.h>
#include <vivero/child.h>
#include <vivero/entity.h>
#include <vivero/error.h>
#include <vivero/exit.h>
#include <vivero/fault.h>
#include <vivero/future.h>
#include <vivero/log.h>
#include <vivero/memory.h>
#include <vivero/operation.h>
#include <vivero/pool.h>
#include <vivero/pool_define.h>
#include <vivero/ref.h>
#include <vivero/send.h>
#include <vivero/supervisor.h>
#include <vivero/time.h>
#include <vivero/worker.h>
#include <vivero/worker_carriers.h>
#include <vivero/worker_defer.h>
#include <vivero/worker_define.h>
#include <vivero/worker_self.h>
#include <vivero/worker_spawn.h>

#endif
