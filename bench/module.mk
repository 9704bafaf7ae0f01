# Benchmarks. "make check" compiles them, so that they keep compiling, and never
# runs them: no number decides whether a check passes. "make bench" compiles
# the other pools' programs too, as far as those are installed, and compares:
#
#     make bench                         five rounds, a quarter of an hour
#     make bench BENCH_FLAGS=--quick     about a minute, only a first look
#     make bench PEER_LIBS=-ljemalloc    the others with another allocator
#
# To add one: its name in bench_programs, bench_X_SOURCES with $(bench_driver),
# and bench_X_LDADD = $(program_libs). To add a peer: its adapter in peers/, a
# line at the end of build-peers.

bench_programs = bench/pool_vivero bench/limits bench/restart bench/tree

bench_driver = \
	%D%/lib/call.c \
	%D%/lib/cast.c \
	%D%/lib/driver.c %D%/lib/driver.h \
	%D%/lib/each.c \
	%D%/lib/measure.c %D%/lib/measure.h \
	%D%/lib/memory.c \
	%D%/lib/wake.c \
	%D%/lib/workload.h

bench_pool_vivero_SOURCES = %D%/pool_vivero.c $(bench_driver)
bench_pool_vivero_LDADD = $(program_libs)

bench_limits_SOURCES = %D%/limits.c %D%/lib/measure.c %D%/lib/measure.h
bench_limits_LDADD =

# From a failure to the next message; "bench/restart" prints it.
bench_restart_SOURCES = %D%/restart.c %D%/lib/measure.c %D%/lib/measure.h
bench_restart_LDADD = $(program_libs)

# What dynamic children cost; "bench/tree" prints it.
bench_tree_SOURCES = %D%/tree.c %D%/lib/measure.c %D%/lib/measure.h
bench_tree_LDADD = $(program_libs)

check_PROGRAMS += $(bench_programs)

EXTRA_DIST += %D%/module.mk \
	%D%/build-peers \
	%D%/goals \
	%D%/peers \
	%D%/run \
	doc/bench/README.md

.PHONY: bench bench-programs
bench-programs: $(bench_programs)
	CC='$(CC)' CXX='$(CXX)' PKG_CONFIG='$(PKG_CONFIG)' CFLAGS='$(CFLAGS)' \
	CXXFLAGS='$(CXXFLAGS)' LIBS='$(PEER_LIBS)' \
	$(SHELL) $(srcdir)/bench/build-peers $(abs_srcdir) bench/programs

bench: bench-programs
	CC='$(CC)' $(srcdir)/bench/run $(BENCH_FLAGS)

CLEANFILES += bench/results.txt

clean-local:
	rm -rf bench/programs
