# base, layer 0: what needs neither threads nor a clock

modules += base/libbase.la
base_libs = base/libbase.la
base_libbase_la_SOURCES = \
	%D%/check.c %D%/check.h \
	%D%/error.c \
	%D%/hash.c %D%/hash.h \
	%D%/log.c %D%/log.h \
	%D%/log_sinks.c \
	%D%/memory.c %D%/memory.h \
	%D%/options.c %D%/options.h

viveroinclude_HEADERS += \
	include/vivero/api.h \
	include/vivero/child.h \
	include/vivero/error.h \
	include/vivero/exit.h \
	include/vivero/log.h \
	include/vivero/memory.h \
	include/vivero/operation.h \
	include/vivero/ref.h \
	include/vivero/send.h \
	include/vivero/time.h \
	include/vivero/vivero.h

EXTRA_DIST += %D%/module.mk
