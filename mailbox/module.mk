# mailbox, layer 2: bounded queues, reply slots, who is here to take

modules += mailbox/libmailbox.la
mailbox_libs = mailbox/libmailbox.la $(os_libs)
mailbox_libmailbox_la_SOURCES = \
	%D%/completions.c \
	%D%/crew.c %D%/crew.h \
	%D%/envelope.c %D%/envelope.h \
	%D%/future.c %D%/future.h \
	%D%/future_private.h \
	%D%/future_watch.c \
	%D%/here.c %D%/here.h \
	%D%/idle.c %D%/idle.h \
	%D%/mailbox_private.h \
	%D%/mailbox.c %D%/mailbox.h \
	%D%/mailbox_take.c \
	%D%/mailbox_walk.c \
	%D%/message.h \
	%D%/reply_private.h \
	%D%/reply.c %D%/reply.h \
	%D%/reply_debts.c \
	%D%/reply_depot.c \
	%D%/spin.c %D%/spin.h \
	%D%/wait.c %D%/wait.h

viveroinclude_HEADERS += include/vivero/future.h

EXTRA_DIST += %D%/module.mk
