/* Counts and breaks the file operations of a process, in all of its threads and in native code: preload it.

   `fault_operations` counts operations that change what lies under a folder, and breaks one of them: it kills the
   process, tears a write, or returns an error. `trace_opens` reports every file that is opened. Linux, glibc. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum fault { NONE, KILL, TEAR, FULL, BROKEN_ONCE, BROKEN };

/* What an operation needs of the disk: a full one still removes and syncs. */
enum need { NOTHING, ROOM };

static char root[PATH_MAX];
static size_t root_length;
static int trace = -1, opens = -1;
static enum fault fault = NONE;
static long at = -1;
static atomic_long count;

/* Begin to count under an absolute folder. Operation number `number` gets the fault, or none if it is negative;
   each is written to the descriptor `descriptor`, if that is not negative. */
void fault_operations(const char *folder, int descriptor, long number, int kind) {
    snprintf(root, sizeof root, "%s", folder);
    root_length = strlen(root);
    trace = descriptor;
    fault = kind;
    at = number;
    atomic_store(&count, 0);
}

long count_operations(void) { return atomic_load(&count); }

/* Write flags and resolved path of each file opened from now on to a descriptor. */
void trace_opens(int descriptor) { opens = descriptor; }

static void put(int descriptor, const char *text, int length) {
    if (length > 0 && syscall(SYS_write, descriptor, text, (size_t)length) < 0) _exit(99);
}

static ssize_t path_of(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return length;
}

static int is_under(const char *path) {
    return root_length && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

/* The absolute path that a call means, by its folder; links in it are not followed. */
static void resolve(int folder, const char *given, char *path) {
    char base[PATH_MAX];
    if (given[0] == '/') {
        snprintf(path, PATH_MAX, "%s", given);
        return;
    }
    if (folder == AT_FDCWD) {
        if (syscall(SYS_getcwd, base, sizeof base) < 0) base[0] = 0;
    } else {
        path_of(folder, base);
    }
    if (snprintf(path, PATH_MAX, "%s/%s", base, given) >= PATH_MAX) path[0] = 0;
}

/* Count an operation; nonzero if it must not be done, with errno set. `half` gets whether half is to be written. */
static int breaks(const char *name, const char *path, enum need need, int *half) {
    if (!root_length || !is_under(path)) return 0;
    long number = atomic_fetch_add(&count, 1);
    if (trace >= 0) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%ld %s %s\n", number, name, path + root_length);
        put(trace, line, length < (int)sizeof line ? length : (int)sizeof line - 1);
    }
    if (at < 0 || number < at) return 0;
    int first = number == at;
    switch (fault) {
    case KILL:
        if (first) kill(getpid(), SIGKILL);
        return 0;
    case TEAR:
        if (first && half) *half = 1;
        if (first && !half) kill(getpid(), SIGKILL);
        return 0;
    case FULL:
        if (first && half) {
            *half = 1;
            return 0;
        }
        errno = ENOSPC;
        return first || need == ROOM;
    case BROKEN_ONCE:
        errno = EIO;
        return first;
    case BROKEN:
        errno = EIO;
        return 1;
    default:
        return 0;
    }
}

static int breaks_path(const char *name, int folder, const char *given, enum need need) {
    char path[PATH_MAX];
    if (!root_length || !given) return 0;
    resolve(folder, given, path);
    return breaks(name, path, need, NULL);
}

static int breaks_descriptor(const char *name, int descriptor, enum need need, int *half) {
    char path[PATH_MAX];
    if (!root_length || path_of(descriptor, path) < 0) return 0;
    return breaks(name, path, need, half);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int report(int descriptor, int flags) {
    char path[PATH_MAX], line[PATH_MAX + 32];
    int kept = errno;
    if (opens >= 0 && descriptor >= 0 && descriptor != opens && path_of(descriptor, path) > 0) {
        for (char *each = path; *each; each++)
            if (*each == '\n') *each = '?';
        put(opens, line, snprintf(line, sizeof line, "%d %s\n", flags, path));
    }
    errno = kept;
    return descriptor;
}

/* Opening to write makes a file, or may. */
static int breaks_open(int folder, const char *path, int flags) {
    if (!(flags & (O_CREAT | O_TRUNC | O_APPEND)) && (flags & O_ACCMODE) == O_RDONLY) return 0;
    return breaks_path("open", folder, path, flags & O_CREAT ? ROOM : NOTHING);
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

#define DEFINE_OPEN(name) \
    int name(const char *path, int flags, ...) { \
        MODE(flags) \
        return breaks_open(AT_FDCWD, path, flags) ? -1 : report(NEXT(name)(path, flags, mode), flags); \
    }
#define DEFINE_OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        MODE(flags) \
        return breaks_open(folder, path, flags) ? -1 : report(NEXT(name)(folder, path, flags, mode), flags); \
    }
#define DEFINE_CREAT(name) \
    int name(const char *path, mode_t mode) { \
        return breaks_path("open", AT_FDCWD, path, ROOM) ? -1 : report(NEXT(name)(path, mode), O_CREAT | O_WRONLY); \
    }
#define DEFINE_FOPEN(name) \
    FILE *name(const char *path, const char *how) { \
        int writes = strpbrk(how, "wa+") != NULL; \
        if (writes && breaks_path("open", AT_FDCWD, path, ROOM)) return NULL; \
        FILE *file = NEXT(name)(path, how); \
        if (file) report(fileno(file), writes ? O_WRONLY : O_RDONLY); \
        return file; \
    }

DEFINE_OPEN(open)
DEFINE_OPEN(open64)
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)
DEFINE_CREAT(creat)
DEFINE_CREAT(creat64)
DEFINE_FOPEN(fopen)
DEFINE_FOPEN(fopen64)

/* Of a write that is torn half is done; the process is killed afterwards, or the rest finds the disk full. */
static ssize_t end_half(ssize_t written) {
    if (fault == TEAR) kill(getpid(), SIGKILL);
    return written;
}

ssize_t write(int descriptor, const void *bytes, size_t size) {
    int half = 0;
    if (breaks_descriptor("write", descriptor, ROOM, size > 1 ? &half : NULL)) return -1;
    ssize_t written = NEXT(write)(descriptor, bytes, half ? size / 2 : size);
    return half ? end_half(written) : written;
}

#define DEFINE_PWRITE(name, offset_t) \
    ssize_t name(int descriptor, const void *bytes, size_t size, offset_t offset) { \
        int half = 0; \
        if (breaks_descriptor("write", descriptor, ROOM, size > 1 ? &half : NULL)) return -1; \
        ssize_t written = NEXT(name)(descriptor, bytes, half ? size / 2 : size, offset); \
        return half ? end_half(written) : written; \
    }
DEFINE_PWRITE(pwrite, off_t)
DEFINE_PWRITE(pwrite64, off64_t)

ssize_t writev(int descriptor, const struct iovec *parts, int number) {
    return breaks_descriptor("write", descriptor, ROOM, NULL) ? -1 : NEXT(writev)(descriptor, parts, number);
}

#define DEFINE_TRUNCATE(name, offset_t) \
    int name(const char *path, offset_t size) { \
        return breaks_path("truncate", AT_FDCWD, path, NOTHING) ? -1 : NEXT(name)(path, size); \
    }
#define DEFINE_FTRUNCATE(name, offset_t) \
    int name(int descriptor, offset_t size) { \
        return breaks_descriptor("truncate", descriptor, ROOM, NULL) ? -1 : NEXT(name)(descriptor, size); \
    }
DEFINE_TRUNCATE(truncate, off_t)
DEFINE_TRUNCATE(truncate64, off64_t)
DEFINE_FTRUNCATE(ftruncate, off_t)
DEFINE_FTRUNCATE(ftruncate64, off64_t)

#define DEFINE_FALLOCATE(name, offset_t) \
    int name(int descriptor, offset_t start, offset_t size) { \
        return breaks_descriptor("allocate", descriptor, ROOM, NULL) ? errno : NEXT(name)(descriptor, start, size); \
    }
DEFINE_FALLOCATE(posix_fallocate, off_t)
DEFINE_FALLOCATE(posix_fallocate64, off64_t)

#define DEFINE_SENDFILE(name, offset_t) \
    ssize_t name(int to, int from, offset_t *offset, size_t size) { \
        return breaks_descriptor("write", to, ROOM, NULL) ? -1 : NEXT(name)(to, from, offset, size); \
    }
ssize_t sendfile(int, int, off_t *, size_t);
ssize_t sendfile64(int, int, off64_t *, size_t);
DEFINE_SENDFILE(sendfile, off_t)
DEFINE_SENDFILE(sendfile64, off64_t)

ssize_t copy_file_range(int from, off64_t *start, int to, off64_t *offset, size_t size, unsigned flags) {
    if (breaks_descriptor("write", to, ROOM, NULL)) return -1;
    return NEXT(copy_file_range)(from, start, to, offset, size, flags);
}

int fsync(int descriptor) {
    return breaks_descriptor("fsync", descriptor, NOTHING, NULL) ? -1 : NEXT(fsync)(descriptor);
}
int fdatasync(int descriptor) {
    return breaks_descriptor("fsync", descriptor, NOTHING, NULL) ? -1 : NEXT(fdatasync)(descriptor);
}
int rename(const char *from, const char *to) {
    return breaks_path("rename", AT_FDCWD, to, ROOM) ? -1 : NEXT(rename)(from, to);
}
int renameat(int old, const char *from, int new, const char *to) {
    return breaks_path("rename", new, to, ROOM) ? -1 : NEXT(renameat)(old, from, new, to);
}
int renameat2(int old, const char *from, int new, const char *to, unsigned flags) {
    return breaks_path("rename", new, to, ROOM) ? -1 : NEXT(renameat2)(old, from, new, to, flags);
}
int link(const char *from, const char *to) {
    return breaks_path("link", AT_FDCWD, to, ROOM) ? -1 : NEXT(link)(from, to);
}
int linkat(int old, const char *from, int new, const char *to, int flags) {
    return breaks_path("link", new, to, ROOM) ? -1 : NEXT(linkat)(old, from, new, to, flags);
}
int symlink(const char *from, const char *to) {
    return breaks_path("link", AT_FDCWD, to, ROOM) ? -1 : NEXT(symlink)(from, to);
}
int symlinkat(const char *from, int folder, const char *to) {
    return breaks_path("link", folder, to, ROOM) ? -1 : NEXT(symlinkat)(from, folder, to);
}
int unlink(const char *path) {
    return breaks_path("unlink", AT_FDCWD, path, NOTHING) ? -1 : NEXT(unlink)(path);
}
int unlinkat(int folder, const char *path, int flags) {
    const char *name = flags & AT_REMOVEDIR ? "rmdir" : "unlink";
    return breaks_path(name, folder, path, NOTHING) ? -1 : NEXT(unlinkat)(folder, path, flags);
}
int rmdir(const char *path) {
    return breaks_path("rmdir", AT_FDCWD, path, NOTHING) ? -1 : NEXT(rmdir)(path);
}
int mkdir(const char *path, mode_t mode) {
    return breaks_path("mkdir", AT_FDCWD, path, ROOM) ? -1 : NEXT(mkdir)(path, mode);
}
int mkdirat(int folder, const char *path, mode_t mode) {
    return breaks_path("mkdir", folder, path, ROOM) ? -1 : NEXT(mkdirat)(folder, path, mode);
}
int chmod(const char *path, mode_t mode) {
    return breaks_path("chmod", AT_FDCWD, path, NOTHING) ? -1 : NEXT(chmod)(path, mode);
}
int utimensat(int folder, const char *path, const struct timespec times[2], int flags) {
    return breaks_path("touch", folder, path, NOTHING) ? -1 : NEXT(utimensat)(folder, path, times, flags);
}
int fchmod(int descriptor, mode_t mode) {
    return breaks_descriptor("chmod", descriptor, NOTHING, NULL) ? -1 : NEXT(fchmod)(descriptor, mode);
}
