/* SPDX-License-Identifier: MIT */
#include <vivero/api.h>
#include <vivero/error.h>
#include <vivero/exit.h>

#include <stdio.h>

#define TEXT_OF(number_) #number_
#define VERSION_TEXT(major_, minor_, patch_)                                   \
    TEXT_OF(major_) "." TEXT_OF(minor_) "." TEXT_OF(patch_)

const char *vivero_version(void)
{
    return VERSION_TEXT(VIVERO_VERSION_MAJOR, VIVERO_VERSION_MINOR,
                        VIVERO_VERSION_PATCH);
}

const char *vivero_strerror(int error)
{
    if (error >= 0) {
        return "ok";
    }
    switch (error) {
#define TEXT_CASE(name_, value_, text_)                                        \
    case (value_):                                                             \
        return (text_);
        VIVERO_ERRORS(TEXT_CASE)
#undef TEXT_CASE
    }
    return "error of the application";
}

const char *vivero_error_name(int error)
{
    if (error >= 0) {
        return "OK";
    }
    switch (error) {
#define NAME_CASE(name_, value_, text_)                                        \
    case (value_):                                                             \
        return #name_;
        VIVERO_ERRORS(NAME_CASE)
#undef NAME_CASE
    }
    return "APPLICATION";
}

const char *vivero_exit_kind_name(enum vivero_exit_kind kind)
{
    switch (kind) {
    case VIVERO_EXIT_NONE:
        return "none";
    case VIVERO_EXIT_NORMAL:
        return "normal";
    case VIVERO_EXIT_SHUTDOWN:
        return "shutdown";
    case VIVERO_EXIT_FAILED:
        return "failed";
    case VIVERO_EXIT_INIT_FAILED:
        return "init_failed";
    case VIVERO_EXIT_THREAD_LEFT:
        return "thread_left";
    case VIVERO_EXIT_RESTART_LIMIT:
        return "restart_limit";
    case VIVERO_EXIT_SHUTDOWN_WITH:
        return "shutdown_with";
    case VIVERO_EXIT_KILLED:
        return "killed";
    case VIVERO_EXIT_KILL:
        return "kill";
    case VIVERO_EXIT_NOBODY:
        return "nobody";
    case VIVERO_EXIT_TIMED_OUT:
        return "timed_out";
    case VIVERO_EXIT_BAD_VALUE:
        return "bad_value";
    case VIVERO_EXIT_IGNORED:
        return "ignored";
    case VIVERO_EXIT_HUNG_CPU:
        return "hung_cpu";
    case VIVERO_EXIT_HUNG_BLOCKED:
        return "hung_blocked";
    case VIVERO_EXIT_FENCED:
        return "fenced";
    case VIVERO_EXIT_FAULT:
        return "fault";
    case VIVERO_EXIT_DRAINED:
        return "drained";
    }
    return "unknown";
}

struct vivero_exit vivero_reason(enum vivero_exit_kind kind, int code,
                                 const char *text)
{
    struct vivero_exit exit = {.kind = kind, .code = code};

    if (text != NULL) {
        (void)snprintf(exit.text, sizeof(exit.text), "%s", text);
    }
    return exit;
}

int vivero_exit_is_clean(const struct vivero_exit *exit)
{
    return exit->kind == VIVERO_EXIT_NORMAL ||
           exit->kind == VIVERO_EXIT_SHUTDOWN ||
           exit->kind == VIVERO_EXIT_SHUTDOWN_WITH;
}
