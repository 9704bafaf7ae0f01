# Manual pages, one per noun. At installation every further name that a page
# of section 3 lists under NAME becomes a link page of its own.

dist_man_MANS +=

EXTRA_DIST += %D%/module.mk

install-data-hook:
	@$(SHELL) $(top_srcdir)/tools/man-links install \
		"$(DESTDIR)$(man3dir)" $(srcdir) $(dist_man_MANS)

uninstall-hook:
	@$(SHELL) $(top_srcdir)/tools/man-links uninstall \
		"$(DESTDIR)$(man3dir)" $(srcdir) $(dist_man_MANS)
