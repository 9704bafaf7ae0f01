# supervisor, layer 4: decides about children, restarts and stops them

modules += supervisor/libsupervisor.la
supervisor_libs = supervisor/libsupervisor.la $(entity_libs)
supervisor_libsupervisor_la_SOURCES = \
	%D%/backoff.c \
	%D%/blueprint.c \
	%D%/budget.c %D%/budget.h \
	%D%/calls.c \
	%D%/child_supervisor.c \
	%D%/decide_private.h \
	%D%/decide.c %D%/decide.h \
	%D%/decide_child.c \
	%D%/decide_group.c \
	%D%/decide_state.c \
	%D%/inbox.c \
	%D%/info.c \
	%D%/loop.c %D%/loop.h \
	%D%/manage.c \
	%D%/partitions.c \
	%D%/report.c \
	%D%/spec.c \
	%D%/supervisor_private.h \
	%D%/supervisor.c \
	%D%/supervisor_open.c \
	%D%/tree.c \
	%D%/ward.c \
	%D%/ward_find.c

viveroinclude_HEADERS += include/vivero/supervisor.h

EXTRA_DIST += %D%/module.mk
