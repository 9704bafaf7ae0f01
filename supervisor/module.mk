# supervisor, layer 4: decides about children, restarts and stops them

modules += supervisor/libsupervisor.la
supervisor_libs = supervisor/libsupervisor.la $(entity_libs)
supervisor_libsupervisor_la_SOURCES = \
	%D%/backoff.c \
	%D%/budget.c %D%/budget.h \
	%D%/decide_private.h \
	%D%/decide.c %D%/decide.h \
	%D%/decide_child.c \
	%D%/decide_group.c \
	%D%/due.c %D%/due.h \
	%D%/loop.c %D%/loop.h

EXTRA_DIST += %D%/module.mk
