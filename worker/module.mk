# worker, layer 4: the life of a worker and the thread that carries it

modules += worker/libworker.la
worker_libs = worker/libworker.la $(entity_libs)
worker_libworker_la_SOURCES = \
	%D%/worker_private.h \
	%D%/carrier.c \
	%D%/commit.c \
	%D%/defer.c \
	%D%/fault.c %D%/fault.h \
	%D%/fence.c \
	%D%/owner.c \
	%D%/handler.c \
	%D%/retry.c \
	%D%/ticket.h \
	%D%/watchdog.c %D%/watchdog.h \
	%D%/carriers_private.h \
	%D%/carriers.c \
	%D%/carriers_threads.c \
	%D%/dictionary.c \
	%D%/single_private.h \
	%D%/single.c \
	%D%/single_call.c \
	%D%/single_child.c \
	%D%/single_control.c \
	%D%/single_start.c \
	%D%/single_step.c \
	%D%/single_watch.c \
	%D%/spawn.c \
	%D%/worker.c %D%/worker.h

viveroinclude_HEADERS += \
	include/vivero/worker.h \
	include/vivero/worker_carriers.h \
	include/vivero/worker_defer.h \
	include/vivero/worker_define.h \
	include/vivero/worker_self.h \
	include/vivero/worker_spawn.h

EXTRA_DIST += %D%/module.mk
