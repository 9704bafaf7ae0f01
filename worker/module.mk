# worker, layer 4: the life of a worker and the thread that carries it

modules += worker/libworker.la
worker_libs = worker/libworker.la $(entity_libs)
worker_libworker_la_SOURCES = \
	%D%/worker_private.h \
	%D%/carrier.c \
	%D%/worker.c %D%/worker.h

viveroinclude_HEADERS += include/vivero/worker.h

EXTRA_DIST += %D%/module.mk
