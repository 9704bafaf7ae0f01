# os, layer 1: the contract a port provides, and the port itself

modules += os/libos.la
os_libs = os/libos.la $(base_libs)
os_libos_la_SOURCES = \
	%D%/clock.h \
	%D%/cpu.h \
	%D%/fault.h \
	%D%/lock_rank.h \
	%D%/mutex.h \
	%D%/pages.h \
	%D%/park.h \
	%D%/pollable.h \
	%D%/probe.h \
	%D%/thread.h \
	%D%/posix/clock.c \
	%D%/posix/mutex.c \
	%D%/posix/pages.c \
	%D%/posix/thread.c \
	%D%/linux/cpu.c \
	%D%/linux/fault.c \
	%D%/linux/park.c \
	%D%/linux/pollable.c \
	%D%/linux/probe.c

EXTRA_DIST += %D%/module.mk
