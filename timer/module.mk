# timer, layer 2: deadlines with callbacks

modules += timer/libtimer.la
timer_libs = timer/libtimer.la $(os_libs)
timer_libtimer_la_SOURCES = \
	%D%/heap.c %D%/heap.h \
	%D%/timer.c %D%/timer.h

EXTRA_DIST += %D%/module.mk
