# entity, layer 3: references, inboxes, signals, links and monitors, the end

modules += entity/libentity.la
entity_libs = entity/libentity.la timer/libtimer.la $(mailbox_libs)
entity_libentity_la_SOURCES = \
	%D%/directory.c \
	%D%/entity_private.h \
	%D%/entity.c %D%/entity.h \
	%D%/inbox.c \
	%D%/names.c \
	%D%/request.c \
	%D%/signal.c \
	%D%/tell.c \
	%D%/tell_timer.c \
	%D%/ties.c

viveroinclude_HEADERS += include/vivero/entity.h

EXTRA_DIST += %D%/module.mk
