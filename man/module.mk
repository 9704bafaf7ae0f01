# Manual pages, one per noun. At installation every further name that a page
# of section 3 lists under NAME becomes a link page of its own.

dist_man_MANS += \
	%D%/vivero.7 \
	%D%/vivero_errors.7 \
	%D%/vivero_threads.7 \
	%D%/vivero_carriers.3 \
	%D%/vivero_child.3 \
	%D%/vivero_child_pool.3 \
	%D%/vivero_child_spec.3 \
	%D%/vivero_entity.3 \
	%D%/vivero_error.3 \
	%D%/vivero_fault.3 \
	%D%/vivero_future.3 \
	%D%/vivero_log.3 \
	%D%/vivero_memory.3 \
	%D%/vivero_pool.3 \
	%D%/vivero_pool_call.3 \
	%D%/vivero_pool_define.3 \
	%D%/vivero_pool_snapshot.3 \
	%D%/vivero_spawn.3 \
	%D%/vivero_supervisor.3 \
	%D%/vivero_time.3 \
	%D%/vivero_version.3 \
	%D%/vivero_worker.3 \
	%D%/vivero_worker_call.3 \
	%D%/vivero_worker_start.3

EXTRA_DIST += %D%/module.mk

install-data-hook:
	@$(SHELL) $(top_srcdir)/tools/man-links install \
		"$(DESTDIR)$(man3dir)" $(srcdir) $(dist_man_MANS)

uninstall-hook:
	@$(SHELL) $(top_srcdir)/tools/man-links uninstall \
		"$(DESTDIR)$(man3dir)" $(srcdir) $(dist_man_MANS)
