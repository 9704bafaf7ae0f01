# pool, layer 5: like workers under a supervisor, and the way to them

modules += pool/libpool.la
pool_libs = pool/libpool.la worker/libworker.la supervisor/libsupervisor.la \
	$(entity_libs)
pool_libpool_la_SOURCES = \
	%D%/pool_private.h \
	%D%/pool.c \
	%D%/pool_async.c \
	%D%/pool_call.c \
	%D%/pool_child.c \
	%D%/pool_child_options.c \
	%D%/pool_send.h \
	%D%/pool_child.h \
	%D%/pool_close.c \
	%D%/pool_control.c \
	%D%/pool_dead.c \
	%D%/pool_each.c \
	%D%/pool_fault.c \
	%D%/pool_handle.c \
	%D%/pool_keeper.c \
	%D%/pool_options.c \
	%D%/pool_pick.c \
	%D%/pool_place.c \
	%D%/pool_resize.c \
	%D%/pool_send.c \
	%D%/pool_snapshot.c \
	%D%/pool_watch.c

viveroinclude_HEADERS += \
	include/vivero/fault.h \
	include/vivero/pool.h \
	include/vivero/pool_define.h \
	include/vivero/pool_define_args.h

EXTRA_DIST += %D%/module.mk
