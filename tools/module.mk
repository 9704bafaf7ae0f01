# Tools: checks of the tree and helpers for those who work on it.

EXTRA_DIST += \
	%D%/module.mk \
	%D%/check-docs \
	%D%/check-example \
	%D%/check-headers \
	%D%/check-install \
	%D%/check-layers \
	%D%/check-symbols \
	%D%/check-sync \
	%D%/count-tests \
	%D%/expand \
	%D%/format \
	%D%/layers \
	%D%/man-links \
	%D%/run-test

.PHONY: layers sync symbols docs headers check-docs check-install \
	format check-format expand tidy cppcheck

layers:
	$(SHELL) $(top_srcdir)/tools/check-layers $(srcdir)

sync:
	$(SHELL) $(top_srcdir)/tools/check-sync $(srcdir)

symbols: libvivero.la
	NM='$(NM)' $(SHELL) $(top_srcdir)/tools/check-symbols .libs

headers:
	CC='$(CC)' CXX='$(CXX)' $(SHELL) $(top_srcdir)/tools/check-headers \
		$(srcdir)/include

docs check-docs: libvivero.la
	CC='$(CC)' NM='$(NM)' $(SHELL) $(top_srcdir)/tools/check-docs \
		$(srcdir) .libs

# Install into an empty folder and build a stranger's program there.
check-install: all
	@root=`mktemp -d` && \
	$(MAKE) $(AM_MAKEFLAGS) install DESTDIR="$$root" >/dev/null && \
	$(MAKE) $(AM_MAKEFLAGS) installcheck DESTDIR="$$root"; \
	status=$$?; rm -rf "$$root"; exit $$status

installcheck-local:
	CC='$(CC)' CXX='$(CXX)' CMAKE='$(CMAKE)' PKG_CONFIG='$(PKG_CONFIG)' \
	SANITIZER_FLAGS='$(SANITIZER_FLAGS)' \
	$(SHELL) $(top_srcdir)/tools/check-install \
		$(srcdir)/tests/install "$(DESTDIR)" $(libdir) $(includedir)

format:
	CLANG_FORMAT='$(CLANG_FORMAT)' $(SHELL) $(top_srcdir)/tools/format \
		$(srcdir)

check-format:
	CLANG_FORMAT='$(CLANG_FORMAT)' $(SHELL) $(top_srcdir)/tools/format \
		--check $(srcdir)

# make expand FILE=examples/pool.c: the file as the compiler sees it, readable
expand:
	@CC='$(CC)' CLANG_FORMAT='$(CLANG_FORMAT)' \
	$(SHELL) $(top_srcdir)/tools/expand $(srcdir)/$(FILE) $(AM_CPPFLAGS)

tidy:
	cd $(srcdir) && clang-tidy --quiet `find $(tidy_folders) -name '*.c'` -- \
		-std=c11 -Iinclude -I. -D_GNU_SOURCE

cppcheck:
	cd $(srcdir) && cppcheck --std=c11 --inline-suppr --error-exitcode=1 \
		--enable=warning,style,performance,portability \
		--suppress=missingIncludeSystem --quiet \
		-Iinclude -I. -D_GNU_SOURCE $(tidy_folders)

tidy_folders = base os mailbox timer worker supervisor pool
