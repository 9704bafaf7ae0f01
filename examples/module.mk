# Examples. To add one: its name in example_programs, its libraries, and, when
# it always prints the same, that text in NAME.expected, which is its test.

example_programs = examples/hello_pool examples/pool
example_outputs = %D%/hello_pool.expected %D%/pool.expected

examples_hello_pool_LDADD = $(program_libs)
examples_pool_LDADD = $(program_libs)

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
