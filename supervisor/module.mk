# supervisor, layer 4: decides about children, restarts and stops them

modules += supervisor/libsupervisor.la
supervisor_libs = supervisor/libsupervisor.la $(entity_libs)
supervisor_libsupervisor_la_SOURCES = \
	%D%/decide.c %D%/decide.h \
	%D%/supervisor.c %D%/supervisor.h

EXTRA_DIST += %D%/module.mk
