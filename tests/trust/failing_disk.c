/* A disk that fails: loaded before the C library, it lets calls that change files below a folder fail.
 *
 * failing_begin(folder, number, error, how) counts these calls from 0, and lets them fail with an error of the system:
 *   how 0  the call of this number alone, whatever it is
 *   how 1  from this number on, what needs space: writing, making folders; the rest goes on (a full disk)
 *   how 2  from this number on, every call (a disk that has gone)
 * A number below 0 counts alone. failing_count() gives how many calls there were.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[4096];
static long number = -1, counted;
static int error, how;

void failing_begin(const char *where, long at, int code, int kind) {
    strncpy(folder, where, sizeof folder - 1);
    number = at, error = code, how = kind, counted = 0;
}

long failing_count(void) { return counted; }

static int fails(const char *path, int needs_space) {
    size_t length = strlen(folder);
    if (!length || !path) return 0;
    if (path[0] == '/' && (strncmp(path, folder, length) || (path[length] && path[length] != '/'))) return 0;
    if (how == 1 && !needs_space) return 0;
    long now = __sync_fetch_and_add(&counted, 1);
    if (number < 0 || (how == 0 ? now != number : now < number)) return 0;
    errno = error;
    return 1;
}

static int fails_open(int file) {
    char link[32], path[4096];
    if (!folder[0]) return 0;
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0 || path[0] != '/') return 0;
    path[length] = 0;
    return fails(path, 1);
}

#define NEXT(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))
#define ON_FILE(type, name, declared, given, ...)                     \
    type name declared {                                              \
        if (fails_open(file)) return -1;                              \
        return NEXT(type, name, __VA_ARGS__) given;                   \
    }
#define ON_PATH(name, path, space, declared, given, ...)              \
    int name declared {                                               \
        if (fails(path, space)) return -1;                            \
        return NEXT(int, name, __VA_ARGS__) given;                    \
    }

ON_FILE(ssize_t, write, (int file, const void *from, size_t size), (file, from, size), int, const void *, size_t)
ON_FILE(ssize_t, pwrite, (int file, const void *from, size_t size, off_t at), (file, from, size, at), int, const void *, size_t, off_t)
ON_FILE(ssize_t, pwrite64, (int file, const void *from, size_t size, off_t at), (file, from, size, at), int, const void *, size_t, off_t)
ON_FILE(ssize_t, writev, (int file, const struct iovec *from, int size), (file, from, size), int, const struct iovec *, int)
ON_FILE(int, fsync, (int file), (file), int)
ON_FILE(int, fdatasync, (int file), (file), int)
ON_FILE(int, ftruncate, (int file, off_t size), (file, size), int, off_t)
ON_FILE(int, ftruncate64, (int file, off_t size), (file, size), int, off_t)
ON_PATH(rename, to, 0, (const char *from, const char *to), (from, to), const char *, const char *)
ON_PATH(renameat, to, 0, (int a, const char *from, int b, const char *to), (a, from, b, to), int, const char *, int, const char *)
ON_PATH(renameat2, to, 0, (int a, const char *from, int b, const char *to, unsigned int flags), (a, from, b, to, flags), int, const char *, int, const char *, unsigned int)
ON_PATH(mkdir, path, 1, (const char *path, mode_t mode), (path, mode), const char *, mode_t)
ON_PATH(mkdirat, path, 1, (int at, const char *path, mode_t mode), (at, path, mode), int, const char *, mode_t)
ON_PATH(link, to, 0, (const char *from, const char *to), (from, to), const char *, const char *)
ON_PATH(linkat, to, 0, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags), int, const char *, int, const char *, int)
ON_PATH(symlink, to, 0, (const char *from, const char *to), (from, to), const char *, const char *)

#define OPENING(name, ...)                                            \
    if (flags & (O_WRONLY | O_RDWR | O_CREAT) && fails(path, 0)) return -1; \
    mode_t mode = 0;                                                  \
    if (flags & (O_CREAT | O_TMPFILE)) {                              \
        va_list rest;                                                 \
        va_start(rest, flags);                                        \
        mode = va_arg(rest, int);                                     \
        va_end(rest);                                                 \
    }

int open(const char *path, int flags, ...) {
    OPENING(open)
    return NEXT(int, open, const char *, int, ...)(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    OPENING(open64)
    return NEXT(int, open64, const char *, int, ...)(path, flags, mode);
}
int openat(int at, const char *path, int flags, ...) {
    OPENING(openat)
    return NEXT(int, openat, int, const char *, int, ...)(at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...) {
    OPENING(openat64)
    return NEXT(int, openat64, int, const char *, int, ...)(at, path, flags, mode);
}
