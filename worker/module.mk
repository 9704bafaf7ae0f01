# worker, layer 4: the life of a worker and the thread that carries it

modules += worker/libworker.la
worker_libs = worker/libworker.la $(mailbox_libs)
worker_libworker_la_SOURCES = \
	%D%/worker_private.h \
	%D%/carrier.c \
	%D%/commit.c \
	%D%/defer.c \
	%D%/fence.c \
	%D%/retry.c \
	%D%/ticket.h \
	%D%/watchdog.c %D%/watchdog.h \
	%D%/worker.c %D%/worker.h

viveroinclude_HEADERS += \
	include/vivero/worker.h \
	include/vivero/worker_defer.h

EXTRA_DIST += %D%/module.mk
