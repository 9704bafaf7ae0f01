# Examples. To add one: its name in example_programs, its libraries, and, when
# it always prints the same, that text in NAME.expected, which is its test.

example_programs = \
	examples/cart \
	examples/counter \
	examples/counter_by_hand \
	examples/greeter \
	examples/hello_pool \
	examples/info_system \
	examples/linked_process \
	examples/monitors \
	examples/my_supervisor \
	examples/pool \
	examples/processes \
	examples/queue_server \
	examples/receivers \
	examples/strategies \
	examples/worker_supervisor
example_outputs = \
	%D%/cart.expected \
	%D%/counter.expected \
	%D%/counter_by_hand.expected \
	%D%/greeter.expected \
	%D%/hello_pool.expected \
	%D%/info_system.expected \
	%D%/linked_process.expected \
	%D%/monitors.expected \
	%D%/my_supervisor.expected \
	%D%/pool.expected \
	%D%/processes.expected \
	%D%/queue_server.expected \
	%D%/receivers.expected \
	%D%/strategies.expected \
	%D%/worker_supervisor.expected

examples_cart_LDADD = $(program_libs)
examples_counter_LDADD = $(program_libs)
examples_counter_by_hand_LDADD = $(program_libs)
examples_greeter_LDADD = $(program_libs)
examples_hello_pool_LDADD = $(program_libs)
examples_info_system_LDADD = $(program_libs)
examples_linked_process_LDADD = $(program_libs)
examples_monitors_LDADD = $(program_libs)
examples_my_supervisor_LDADD = $(program_libs)
examples_pool_LDADD = $(program_libs)
examples_processes_LDADD = $(program_libs)
examples_queue_server_LDADD = $(program_libs)
examples_receivers_LDADD = $(program_libs)
examples_strategies_LDADD = $(program_libs)
examples_worker_supervisor_LDADD = $(program_libs)

if EXAMPLES
noinst_PROGRAMS += $(example_programs)
TESTS += $(example_outputs)

# The farm: a folder of its own, since it has more than one idea.
if HAVE_PICTURES
noinst_PROGRAMS += examples/thumbs/thumbs
endif
endif

examples_thumbs_thumbs_SOURCES = \
	%D%/thumbs/chaos.c %D%/thumbs/chaos.h \
	%D%/thumbs/farm.c %D%/thumbs/farm.h \
	%D%/thumbs/ledger.c %D%/thumbs/ledger.h \
	%D%/thumbs/picture.c %D%/thumbs/picture.h \
	%D%/thumbs/picture_jpeg.c \
	%D%/thumbs/picture_png.c \
	%D%/thumbs/plain.c %D%/thumbs/plain.h \
	%D%/thumbs/progress.c %D%/thumbs/progress.h \
	%D%/thumbs/scale.c %D%/thumbs/scale.h \
	%D%/thumbs/thumbs.c \
	%D%/thumbs/walk.c %D%/thumbs/walk.h \
	%D%/thumbs/work.c %D%/thumbs/work.h \
	%D%/thumbs/workbench.c %D%/thumbs/workbench.h
examples_thumbs_thumbs_CPPFLAGS = $(AM_CPPFLAGS) $(PICTURES_CFLAGS)
examples_thumbs_thumbs_LDADD = $(program_libs) $(PICTURES_LIBS)

EXTRA_DIST += %D%/module.mk $(example_outputs) %D%/thumbs/README.md
