/* A disk that fails: preloaded into a process (LD_PRELOAD), it lets the process's n-th operation on
 * files under a folder fail as a disk would. By the environment:
 *
 * FAIL_UNDER  the folder, an absolute path
 * FAIL_AT     n, from 1; the later ones fail too unless FAIL_ONCE is set
 * FAIL_WITH   the number of the error
 * FAIL_KIND   of the operations open, write, sync, rename, mkdir, reserve the one that counts
 *             (default: all)
 * CLOCK_BACK  if set, the clock of the day goes back by an hour with every look at it
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static long done; /* operations so far */

static int is_under(const char *path) {
    const char *folder = getenv("FAIL_UNDER");
    char whole[8192];
    if (!folder || !path) return 0;
    if (path[0] != '/') {
        if (!getcwd(whole, 4096)) return 0;
        strcat(whole, "/");
        strncat(whole, path, 4000);
        path = whole;
    }
    return strncmp(path, folder, strlen(folder)) == 0;
}

static int is_under_by_number(int file) {
    if (file <= 2) return 0; /* what it says, which may go to a log there */
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_under(path);
}

/* Whether this operation fails; it sets errno then. */
static int fails(const char *kind) {
    const char *wanted = getenv("FAIL_KIND"), *at = getenv("FAIL_AT"), *with = getenv("FAIL_WITH");
    if (!at || !with || (wanted && strcmp(wanted, kind))) return 0;
    long n = atol(at), number = __sync_add_and_fetch(&done, 1);
    if (getenv("FAIL_ONCE") ? number != n : number < n) return 0;
    errno = atoi(with);
    return 1;
}

static int opened(int (*open_real)(const char *, int, ...), const char *path, int flags, mode_t mode) {
    int is_new = access(path, F_OK) != 0, has_no_name = (flags & O_TMPFILE) == O_TMPFILE;
    if ((flags & O_ACCMODE) == O_RDONLY || ((flags & O_DIRECTORY) && !has_no_name) || !is_under(path))
        return open_real(path, flags, mode);
    if (!has_no_name && !(is_new && (flags & O_CREAT)) && !(flags & O_TRUNC))
        return open_real(path, flags, mode);
    return fails("open") ? -1 : open_real(path, flags, mode);
}

#define MODE                                 \
    mode_t mode = 0;                         \
    if (flags & (O_CREAT | O_TMPFILE)) {     \
        va_list more;                        \
        va_start(more, flags);               \
        mode = va_arg(more, mode_t);         \
        va_end(more);                        \
    }

int open(const char *path, int flags, ...) {
    MODE return opened(REAL(open), path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE return opened(REAL(open64), path, flags, mode);
}

ssize_t write(int file, const void *content, size_t size) {
    if (is_under_by_number(file) && fails("write")) return -1;
    return REAL(write)(file, content, size);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    if (is_under_by_number(file) && fails("write")) return -1;
    return REAL(writev)(file, parts, count);
}

ssize_t pwrite64(int file, const void *content, size_t size, off64_t place) {
    if (is_under_by_number(file) && fails("write")) return -1;
    return REAL(pwrite64)(file, content, size, place);
}

size_t fwrite(const void *content, size_t size, size_t count, FILE *file) {
    if (is_under_by_number(fileno(file)) && fails("write")) return 0;
    return REAL(fwrite)(content, size, count, file);
}

int fsync(int file) {
    if (is_under_by_number(file) && fails("sync")) return -1;
    return REAL(fsync)(file);
}

int rename(const char *from, const char *to) {
    if (is_under(to) && fails("rename")) return -1;
    return REAL(rename)(from, to);
}

int mkdir(const char *path, mode_t mode) {
    if (is_under(path) && access(path, F_OK) && fails("mkdir")) return -1;
    return REAL(mkdir)(path, mode);
}

int posix_fallocate64(int file, off64_t start, off64_t size) {
    if (is_under_by_number(file) && fails("reserve")) return errno;
    return REAL(posix_fallocate64)(file, start, size);
}

int posix_fallocate(int file, off_t start, off_t size) {
    if (is_under_by_number(file) && fails("reserve")) return errno;
    return REAL(posix_fallocate)(file, start, size);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static long looks;
    int result = REAL(clock_gettime)(clock, now);
    if (clock == CLOCK_REALTIME && getenv("CLOCK_BACK"))
        now->tv_sec -= 3600 * __sync_add_and_fetch(&looks, 1);
    return result;
}
