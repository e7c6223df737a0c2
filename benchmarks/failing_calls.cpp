// Calls of the system that fail on purpose, preloaded (LD_PRELOAD) into the process of `benchmarks.faults`.
//
// `fail_call(kind, after, times, folder)` lets calls of a kind fail with "no space left" once `after` others of it were
// made, so many times; only files below the folder count. `calls_made(kind)` counts them; kind -1 switches it off.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>

enum { OPEN, WRITE, FSYNC, RENAME, CHMOD, KINDS };
static std::atomic<int> failing{-1};
static std::atomic<long> left{0}, times_left{0}, made[KINDS];
static char below[4096];

extern "C" void fail_call(int kind, long after, long times, const char *folder) {
    strncpy(below, folder, sizeof below - 1);
    for (auto &count : made) count = 0;
    left = after;
    times_left = times;
    failing = kind;
}
extern "C" long calls_made(int kind) { return made[kind]; }

static bool fails(int kind, const char *path) {
    if (!below[0] || !path || strncmp(path, below, strlen(below)) != 0) return false;
    made[kind]++;
    if (failing != kind || left-- > 0 || times_left-- <= 0) return false;
    errno = ENOSPC;
    return true;
}
static bool fails_at(int kind, int file) {
    if (!below[0] || file < 3) return false;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return false;
    path[length] = 0;
    return fails(kind, path);
}
template <typename F> static F next(const char *name) { return reinterpret_cast<F>(dlsym(RTLD_NEXT, name)); }

#define OPENS(name)                                                                                        \
    extern "C" int name(const char *path, int flags, ...) {                                                \
        va_list more;                                                                                      \
        va_start(more, flags);                                                                             \
        mode_t mode = va_arg(more, mode_t);                                                                \
        va_end(more);                                                                                      \
        static auto real = next<int (*)(const char *, int, mode_t)>(#name);                                \
        return (flags & (O_WRONLY | O_RDWR | O_CREAT)) && fails(OPEN, path) ? -1 : real(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)

extern "C" int openat(int folder, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    static auto real = next<int (*)(int, const char *, int, mode_t)>("openat");
    return (flags & (O_WRONLY | O_RDWR | O_CREAT)) && fails(OPEN, path) ? -1 : real(folder, path, flags, mode);
}
extern "C" ssize_t write(int file, const void *data, size_t size) {
    static auto real = next<ssize_t (*)(int, const void *, size_t)>("write");
    return fails_at(WRITE, file) ? -1 : real(file, data, size);
}
extern "C" int fsync(int file) {
    static auto real = next<int (*)(int)>("fsync");
    return fails_at(FSYNC, file) ? -1 : real(file);
}
extern "C" int rename(const char *from, const char *to) {
    static auto real = next<int (*)(const char *, const char *)>("rename");
    return fails(RENAME, to) ? -1 : real(from, to);
}
extern "C" int chmod(const char *path, mode_t mode) {
    static auto real = next<int (*)(const char *, mode_t)>("chmod");
    return fails(CHMOD, path) ? -1 : real(path, mode);
}
