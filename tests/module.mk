# Tests.
#
# To add one that uses the finished library: its name in test_programs.
# To add one of a module's inside: the same, and a line that says how much of
# the library it may see, which is its module and the layers below:
#     tests_unit_test_X_LDADD = $(test_lib) $(X_libs) $(test_libs)
# To add a script: its name in test_scripts.

test_programs = \
	tests/unit/test_base \
	tests/unit/test_base_log \
	tests/unit/test_base_memory \
	tests/unit/test_crew \
	tests/unit/test_crew_threads \
	tests/unit/test_decide \
	tests/unit/test_decide_budget \
	tests/unit/test_decide_table \
	tests/unit/test_decide_rows \
	tests/unit/test_decide_trees \
	tests/unit/test_decide_walk \
	tests/unit/test_fence \
	tests/unit/test_future \
	tests/unit/test_future_race \
	tests/unit/test_completions \
	tests/unit/test_entity \
	tests/unit/test_entity_calls \
	tests/unit/test_entity_life \
	tests/unit/test_entity_links \
	tests/unit/test_entity_names \
	tests/unit/test_entity_owners \
	tests/unit/test_entity_races \
	tests/unit/test_entity_runtime \
	tests/unit/test_entity_signals \
	tests/unit/test_entity_threads \
	tests/unit/test_entity_ties \
	tests/unit/test_envelope \
	tests/unit/test_mailbox \
	tests/unit/test_mailbox_boxes \
	tests/unit/test_mailbox_ends \
	tests/unit/test_mailbox_threads \
	tests/unit/test_mailbox_walks \
	tests/unit/test_os \
	tests/unit/test_os_cpu \
	tests/unit/test_os_thread \
	tests/unit/test_pool_child \
	tests/unit/test_reply \
	tests/unit/test_reply_debts \
	tests/unit/test_reply_race \
	tests/unit/test_loop \
	tests/unit/test_timer \
	tests/unit/test_timer_heap \
	tests/unit/test_timer_threads \
	tests/unit/test_wait \
	tests/integration/test_define \
	tests/integration/test_define_short \
	tests/integration/test_entity \
	tests/integration/test_future \
	tests/integration/test_future_ends \
	tests/integration/test_future_loop \
	tests/integration/test_pool_budget \
	tests/integration/test_pool_calls \
	tests/integration/test_pool_cancel \
	tests/integration/test_pool_casts \
	tests/integration/test_pool_close \
	tests/integration/test_pool_control \
	tests/integration/test_pool_dead \
	tests/integration/test_pool_deadlock \
	tests/integration/test_pool_each \
	tests/integration/test_pool_failure \
	tests/integration/test_pool_contain \
	tests/integration/test_pool_fault \
	tests/integration/test_pool_fault_matrix \
	tests/integration/test_pool_halt \
	tests/integration/test_pool_hang \
	tests/integration/test_pool_idle \
	tests/integration/test_pool_limits \
	tests/integration/test_pool_memory \
	tests/integration/test_pool_misuse \
	tests/integration/test_pool_mix \
	tests/integration/test_pool_open \
	tests/integration/test_pool_overflow \
	tests/integration/test_pool_replies \
	tests/integration/test_pool_snapshot \
	tests/integration/test_pool_state \
	tests/integration/test_pool_threads \
	tests/integration/test_pool_watch \
	tests/integration/test_restart_memory \
	tests/integration/test_supervisor_limits \
	tests/integration/test_supervisor_links \
	tests/integration/test_supervisor_many \
	tests/integration/test_supervisor_misuse \
	tests/integration/test_supervisor_pool_ends \
	tests/integration/test_supervisor_pools \
	tests/integration/test_supervisor_restart \
	tests/integration/test_supervisor_shutdown \
	tests/integration/test_supervisor_specs \
	tests/integration/test_supervisor_start \
	tests/integration/test_supervisor_storm \
	tests/integration/test_supervisor_tree \
	tests/integration/test_supervisor_workers \
	tests/integration/test_worker_call \
	tests/integration/test_worker_call_ends \
	tests/integration/test_worker_carriers \
	tests/integration/test_worker_carriers_races \
	tests/integration/test_worker_fork \
	tests/integration/test_worker_full \
	tests/integration/test_worker_hang \
	tests/integration/test_worker_idle \
	tests/integration/test_worker_info \
	tests/integration/test_worker_links \
	tests/integration/test_worker_memory \
	tests/integration/test_worker_misuse \
	tests/integration/test_worker_monitors \
	tests/integration/test_worker_receive \
	tests/integration/test_worker_replies \
	tests/integration/test_worker_siblings \
	tests/integration/test_worker_spawn \
	tests/integration/test_worker_start \
	tests/integration/test_worker_start_fails \
	tests/integration/test_worker_state \
	tests/integration/test_worker_stop \
	tests/integration/test_worker_terminate \
	tests/integration/test_worker_timers \
	tests/integration/test_zombie \
	tests/abi/test_abi \
	tests/stress/stress_pool \
	tests/stress/stress_worker

tests_unit_test_base_LDADD = $(test_lib) $(base_libs) $(test_libs)
tests_unit_test_base_log_LDADD = $(test_lib) $(base_libs) $(test_libs)
tests_unit_test_base_memory_LDADD = $(test_lib) $(base_libs) $(test_libs)
tests_unit_test_os_LDADD = $(test_lib) $(os_libs) $(test_libs)
tests_unit_test_os_cpu_LDADD = $(test_lib) $(os_libs) $(test_libs)
tests_unit_test_os_thread_LDADD = $(test_lib) $(os_libs) $(test_libs)
tests_unit_test_pool_child_LDADD = $(test_lib) $(pool_libs) $(test_libs)
tests_unit_test_crew_LDADD = $(test_lib) $(mailbox_libs) $(test_libs)
tests_unit_test_crew_threads_LDADD = $(test_lib) $(mailbox_libs) $(test_libs)
tests_unit_test_decide_LDADD = $(test_lib) $(supervisor_libs) $(test_libs)
tests_unit_test_decide_budget_LDADD = $(test_lib) $(supervisor_libs) $(test_libs)
tests_unit_test_decide_table_LDADD = $(test_lib) $(supervisor_libs) $(test_libs)
tests_unit_test_decide_walk_LDADD = $(test_lib) $(supervisor_libs) $(test_libs)
tests_unit_test_decide_rows_LDADD = $(test_lib) $(supervisor_libs) $(test_libs)
tests_unit_test_decide_trees_LDADD = $(test_lib) $(supervisor_libs) $(test_libs)
tests_unit_test_fence_LDADD = $(test_lib) $(worker_libs) $(test_libs)
tests_unit_test_completions_LDADD = $(test_lib) $(mailbox_libs) $(test_libs)
tests_unit_test_future_LDADD = $(test_lib) $(mailbox_libs) $(test_libs)
tests_unit_test_future_race_LDADD = $(test_lib) $(mailbox_libs) $(test_libs)
tests_unit_test_envelope_LDADD = $(test_lib) $(mailbox_libs) $(test_libs)
tests_unit_test_entity_LDADD = $(test_lib) $(entity_libs) $(test_libs)
tests_unit_test_entity_calls_LDADD = $(test_lib) $(entity_libs) $(test_libs)
tests_unit_test_entity_life_LDADD = $(test_lib) $(entity_libs) $(test_libs)
tests_unit_test_entity_links_LDADD = $(test_lib) $(entity_libs) $(test_libs)
tests_unit_test_entity_names_LDADD = $(test_lib) $(entity_libs) $(test_libs)
tests_unit_test_entity_owners_LDADD = $(test_lib) $(entity_libs) $(test_libs)
tests_unit_test_entity_races_LDADD = $(test_lib) $(entity_libs) $(test_libs)
tests_unit_test_entity_runtime_LDADD = $(test_lib) $(entity_libs) $(test_libs)
tests_unit_test_entity_signals_LDADD = $(test_lib) $(entity_libs) $(test_libs)
tests_unit_test_entity_threads_LDADD = $(test_lib) $(entity_libs) $(test_libs)
tests_unit_test_entity_ties_LDADD = $(test_lib) $(entity_libs) $(test_libs)
tests_unit_test_mailbox_LDADD = $(test_lib) $(mailbox_libs) $(test_libs)
tests_unit_test_mailbox_boxes_LDADD = $(test_lib) $(mailbox_libs) $(test_libs)
tests_unit_test_mailbox_ends_LDADD = $(test_lib) $(mailbox_libs) $(test_libs)
tests_unit_test_mailbox_threads_LDADD = $(test_lib) $(mailbox_libs) $(test_libs)
tests_unit_test_mailbox_walks_LDADD = $(test_lib) $(mailbox_libs) $(test_libs)
tests_unit_test_reply_LDADD = $(test_lib) $(mailbox_libs) $(test_libs)
tests_unit_test_reply_debts_LDADD = $(test_lib) $(mailbox_libs) $(test_libs)
tests_unit_test_reply_race_LDADD = $(test_lib) $(mailbox_libs) $(test_libs)
tests_unit_test_loop_LDADD = $(test_lib) $(supervisor_libs) $(test_libs)
tests_unit_test_timer_LDADD = $(test_lib) $(timer_libs) $(test_libs)
tests_unit_test_timer_heap_LDADD = $(test_lib) $(timer_libs) $(test_libs)
tests_unit_test_timer_threads_LDADD = $(test_lib) $(timer_libs) $(test_libs)
tests_unit_test_wait_LDADD = $(test_lib) $(mailbox_libs) $(test_libs)

# Subjects are entities that tests run.
subject = %D%/unit/subject.c %D%/unit/subject.h
tests_unit_test_entity_SOURCES = %D%/unit/test_entity.c $(subject)
tests_unit_test_entity_calls_SOURCES = %D%/unit/test_entity_calls.c $(subject)
tests_unit_test_entity_life_SOURCES = %D%/unit/test_entity_life.c $(subject)
tests_unit_test_entity_links_SOURCES = %D%/unit/test_entity_links.c $(subject)
tests_unit_test_entity_names_SOURCES = %D%/unit/test_entity_names.c $(subject)
tests_unit_test_entity_owners_SOURCES = %D%/unit/test_entity_owners.c $(subject)
tests_unit_test_entity_races_SOURCES = %D%/unit/test_entity_races.c $(subject)
tests_unit_test_entity_runtime_SOURCES = %D%/unit/test_entity_runtime.c $(subject)
tests_unit_test_entity_signals_SOURCES = %D%/unit/test_entity_signals.c $(subject)
tests_unit_test_entity_threads_SOURCES = %D%/unit/test_entity_threads.c $(subject)
tests_unit_test_entity_ties_SOURCES = %D%/unit/test_entity_ties.c $(subject)

tests_abi_test_abi_SOURCES = %D%/abi/test_abi.c %D%/abi/options_0_1.h

# Without an argument it is over in a second; check-stress takes its time.
tests_stress_stress_pool_SOURCES = \
	%D%/stress/orders.c %D%/stress/orders.h %D%/stress/stress_pool.c

# The tools check the tree and are themselves tried on broken input.
test_scripts = \
	%D%/integration/define_errors.sh \
	%D%/tools/check_headers.sh \
	%D%/tools/check_layers.sh \
	%D%/tools/check_symbols.sh \
	%D%/tools/check_sync.sh \
	%D%/tools/man_examples.sh \
	%D%/tools/run_test.sh

# What tests share.
tests_lib_libtest_la_SOURCES = \
	%D%/lib/crew.c %D%/lib/crew.h \
	%D%/lib/eventually.h \
	%D%/lib/fake_child.c %D%/lib/fake_child.h \
	%D%/lib/fault_allocator.c %D%/lib/fault_allocator.h \
	%D%/lib/solo.c %D%/lib/solo.h \
	%D%/lib/suite.h

# The farm's test draws its own pictures.
farm_programs = tests/integration/thumbs_pictures
farm_scripts = %D%/integration/thumbs_test.sh
tests_integration_thumbs_pictures_CPPFLAGS = $(AM_CPPFLAGS) $(PICTURES_CFLAGS)
tests_integration_thumbs_pictures_LDADD = $(PICTURES_LIBS)
if EXAMPLES
if HAVE_PICTURES
check_PROGRAMS += $(farm_programs)
TESTS += $(farm_scripts)
endif
endif

if HAVE_CUNIT
check_LTLIBRARIES += tests/lib/libtest.la
check_PROGRAMS += $(test_programs)
TESTS += $(test_programs)
endif
TESTS += $(test_scripts)

EXTRA_DIST += %D%/unit/decide_kit.h %D%/unit/pair.h %D%/integration/hang_kit.h \
	%D%/integration/shared_carriers.h %D%/integration/worker_ends.h
EXTRA_DIST += %D%/module.mk $(test_scripts) $(farm_scripts) \
	%D%/install/CMakeLists.txt %D%/install/consumer.c

TEST_EXTENSIONS = .sh .expected
LOG_COMPILER = $(SHELL) $(top_srcdir)/tools/run-test
SH_LOG_COMPILER = $(LOG_COMPILER)
EXPECTED_LOG_COMPILER = $(LOG_COMPILER) $(SHELL) $(top_srcdir)/tools/check-example
AM_TESTS_ENVIRONMENT = \
	top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)' \
	CC='$(CC)' CXX='$(CXX)' NM='$(NM)' EXEEXT='$(EXEEXT)'; \
	export top_srcdir top_builddir CC CXX NM EXEEXT;

# Without CUnit a green result would mean nothing.
check-local:
if !HAVE_CUNIT
	@echo "CUnit was not found when configure ran; the tests need it" >&2
	@echo "(Debian: apt-get install libcunit1-dev)" >&2
	@exit 1
endif

.PHONY: test-programs
test-programs: $(check_LTLIBRARIES) $(check_PROGRAMS) $(noinst_PROGRAMS)

# A million messages; VV_SEED repeats a run.
STRESS_MESSAGES = 1000000
STRESS_ROUNDS = 100000
.PHONY: check-stress
check-stress: tests/stress/stress_pool$(EXEEXT) \
	tests/stress/stress_worker$(EXEEXT)
	VV_TEST_TIMEOUT=3600 $(SHELL) $(top_srcdir)/tools/run-test \
		./tests/stress/stress_pool$(EXEEXT) $(STRESS_MESSAGES)
	VV_TEST_TIMEOUT=3600 $(SHELL) $(top_srcdir)/tools/run-test \
		./tests/stress/stress_worker$(EXEEXT) $(STRESS_ROUNDS)
