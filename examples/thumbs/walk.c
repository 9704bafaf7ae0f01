/* SPDX-License-Identifier: MIT */
#include "walk.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* A list of folders still to be looked into instead of recursion. */
struct names {
    char **name;
    size_t count;
    size_t room;
};

static int names_give(struct names *names, char *name)
{
    if (names->count == names->room) {
        const size_t room = names->room == 0 ? 64 : names->room * 2;
        char **grown = realloc(names->name, room * sizeof(*grown));

        if (grown == NULL) {
            return ENOMEM;
        }
        names->name = grown;
        names->room = room;
    }
    names->name[names->count++] = name;
    return 0;
}

static void names_fini(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->name[i]);
    }
    free(names->name);
}

/* "folder/name"; an empty folder adds nothing. NULL: no memory. */
static char *join(const char *folder, const char *name)
{
    const size_t size = strlen(folder) + strlen(name) + 2;
    char *joined = malloc(size);

    if (joined != NULL) {
        snprintf(joined, size, "%s%s%s", folder, *folder == '\0' ? "" : "/",
                 name);
    }
    return joined;
}

static bool is_named_like_a_picture(const char *name)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg"};
    const char *ending = strrchr(name, '.');

    if (ending == NULL) {
        return false;
    }
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        if (strcasecmp(ending, endings[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* One walk: where it began, which folder to leave out, what it found. */
struct search {
    const char *top;
    struct stat except;
    struct names folders;
    struct names pictures;
    size_t passed_over;
};

/* What is called name, relative to the top? Takes name. */
static int consider(struct search *search, char *name)
{
    char *path = join(search->top, name);
    struct stat self = {0};
    struct stat target = {0};
    int error = 0;

    if (path == NULL) {
        error = ENOMEM;
    } else if (lstat(path, &self) == 0 && S_ISDIR(self.st_mode)) {
        if (self.st_dev != search->except.st_dev ||
            self.st_ino != search->except.st_ino) {
            error = names_give(&search->folders, name);
            name = error == 0 ? NULL : name;
        }
    } else if (stat(path, &target) == 0 && !S_ISREG(target.st_mode)) {
        /* a link to a folder, a socket, a device: not for us */
    } else if (is_named_like_a_picture(name)) {
        error = names_give(&search->pictures, name);
        name = error == 0 ? NULL : name;
    } else {
        search->passed_over++;
    }
    free(path);
    free(name);
    return error;
}

static int read_entries(struct search *search, DIR *entries, const char *folder)
{
    int error = 0;

    while (error == 0) {
        errno = 0;
        const struct dirent *entry = readdir(entries);

        if (entry == NULL) {
            return errno;
        }
        if (strcmp(entry->d_name, ".") != 0 &&
            strcmp(entry->d_name, "..") != 0) {
            char *name = join(folder, entry->d_name);

            error = name == NULL ? ENOMEM : consider(search, name);
        }
    }
    return error;
}

static int look_into(struct search *search, const char *folder)
{
    char *path = join(search->top, folder);
    DIR *entries = NULL;
    int error;

    if (path == NULL) {
        return ENOMEM;
    }
    entries = opendir(path);
    error = entries == NULL ? errno : read_entries(search, entries, folder);
    if (entries != NULL) {
        closedir(entries);
    }
    if (error != 0 && error != ENOMEM && *folder != '\0') {
        fprintf(stderr, "thumbs: %s: %s: left out\n", path, strerror(error));
        error = 0;
    }
    free(path);
    return error;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int walk_find(struct walk *walk, const char *folder, const char *except)
{
    struct search search = {.top = folder};
    int error;

    if (stat(except, &search.except) != 0) {
        search.except = (struct stat){0};
    }
    error = look_into(&search, "");
    while (error == 0 && search.folders.count > 0) {
        char *next = search.folders.name[--search.folders.count];

        error = look_into(&search, next);
        free(next);
    }
    names_fini(&search.folders);
    if (search.pictures.count > 0) {
        qsort(search.pictures.name, search.pictures.count, sizeof(char *),
              by_name);
    }
    *walk = (struct walk){search.pictures.name, search.pictures.count,
                          search.passed_over};
    return error;
}

void walk_fini(struct walk *walk)
{
    names_fini(&(struct names){.name = walk->name, .count = walk->count});
    *walk = (struct walk){0};
}
