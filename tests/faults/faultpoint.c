/* faultpoint.c: fails a program at any one of its calls that touch a folder or a socket. For LD_PRELOAD.
 *
 *     cc -shared -fPIC -O1 -o faultpoint.so faultpoint.c -ldl
 *     FAULT_DIR=/state FAULT_AT=17 FAULT_ACTION=kill LD_PRELOAD=./faultpoint.so program
 *
 * Every call of libc that names a path in $FAULT_DIR, or uses a descriptor opened there, or an internet socket, is a
 * point; points are numbered from 1 in the order in which the program comes to them, over all its threads. At point
 * $FAULT_AT the action is carried out in place of the call: "kill" (SIGKILL), "delay" (the call, but 700 ms later), or
 * an errno's number (the call fails with it). With $FAULT_ALWAYS the action is repeated at every point of the folder from
 * there on, sockets left alone. The points reached are appended to $FAULT_LOG, a line each, before they are carried out.
 * With $FAULT_RENAMED, a path, the program is killed as soon as it has renamed that file.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real(#name))
#define MOST 1024

enum { ELSEWHERE, FOLDER, SOCKET };

static char kinds[MOST]; /* of each descriptor */
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static int in_folder(const char *path)
{
    const char *folder = getenv("FAULT_DIR");
    size_t length = folder ? strlen(folder) : 0;
    return length && path && !strncmp(path, folder, length) && (!path[length] || path[length] == '/');
}

static int kind_of(int fd)
{
    return fd >= 0 && fd < MOST ? kinds[fd] : ELSEWHERE;
}

static int remember(int fd, int kind)
{
    if (fd >= 0 && fd < MOST)
        kinds[fd] = kind;
    return fd;
}

static void note(int point, const char *call, const char *what)
{
    const char *path = getenv("FAULT_LOG");
    char line[512];
    int fd = path ? REAL(open)(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (fd < 0)
        return;
    int length = snprintf(line, sizeof line, "%d %s %s\n", point, call, what);
    if (REAL(write)(fd, line, length < (int)sizeof line ? length : (int)sizeof line - 1) < 0)
        abort();
    REAL(close)(fd);
}

/* The errno to fail with at this point; 0 where the call is to go on. */
static int point(int kind, const char *call, const char *what)
{
    static int reached;
    const char *at = getenv("FAULT_AT"), *action = getenv("FAULT_ACTION");
    if (kind == ELSEWHERE)
        return 0;
    pthread_mutex_lock(&guard);
    int here = ++reached;
    pthread_mutex_unlock(&guard);
    note(here, call, what);
    if (!at || !action)
        return 0;
    if (here != atoi(at) && !(getenv("FAULT_ALWAYS") && here > atoi(at) && kind == FOLDER))
        return 0;
    if (!strcmp(action, "kill")) {
        kill(getpid(), SIGKILL);
        pause();
    }
    if (!strcmp(action, "delay")) {
        struct timespec pause = {0, 700000000};
        nanosleep(&pause, NULL);
        return 0;
    }
    return atoi(action);
}

#define FAIL_OR(kind, what, failed)                                                                                           \
    do {                                                                                                                      \
        int error = point(kind, __func__, what);                                                                              \
        if (error) {                                                                                                          \
            errno = error;                                                                                                    \
            return failed;                                                                                                    \
        }                                                                                                                     \
    } while (0)

#define PATH(path) (in_folder(path) ? FOLDER : ELSEWHERE)

static mode_t mode_of(int flags, va_list list)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
}

#define OPEN(name)                                                                                                            \
    int name(const char *path, int flags, ...)                                                                                \
    {                                                                                                                         \
        va_list list;                                                                                                         \
        va_start(list, flags);                                                                                                \
        mode_t mode = mode_of(flags, list);                                                                                   \
        va_end(list);                                                                                                         \
        FAIL_OR(PATH(path), path, -1);                                                                                        \
        return remember(REAL(name)(path, flags, mode), PATH(path));                                                           \
    }
OPEN(open)
OPEN(open64)

int close(int fd)
{
    int kind = kind_of(fd);
    point(kind, __func__, "") /* a close that fails has closed all the same (close(2)) */;
    remember(fd, ELSEWHERE);
    return REAL(close)(fd);
}

#define ON_FD(type, name, failed, parameters, arguments)                                                                      \
    type name parameters                                                                                                      \
    {                                                                                                                         \
        FAIL_OR(kind_of(fd), "", failed);                                                                                     \
        return REAL(name) arguments;                                                                                          \
    }
ON_FD(ssize_t, read, -1, (int fd, void *data, size_t size), (fd, data, size))
ON_FD(ssize_t, write, -1, (int fd, const void *data, size_t size), (fd, data, size))
ON_FD(int, fsync, -1, (int fd), (fd))
ON_FD(int, fchown, -1, (int fd, uid_t user, gid_t group), (fd, user, group))
ON_FD(int, flock, -1, (int fd, int what), (fd, what))
ON_FD(int, fstat, -1, (int fd, struct stat *found), (fd, found))
ON_FD(int, fstat64, -1, (int fd, struct stat64 *found), (fd, found))
ON_FD(off_t, lseek, -1, (int fd, off_t to, int from), (fd, to, from))
ON_FD(off64_t, lseek64, -1, (int fd, off64_t to, int from), (fd, to, from))
ON_FD(int, getsockopt, -1, (int fd, int level, int name, void *value, socklen_t *size), (fd, level, name, value, size))
ON_FD(int, bind, -1, (int fd, const struct sockaddr *at, socklen_t size), (fd, at, size))
ON_FD(int, connect, -1, (int fd, const struct sockaddr *to, socklen_t size), (fd, to, size))
ON_FD(ssize_t, send, -1, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags))
ON_FD(ssize_t, recv, -1, (int fd, void *data, size_t size, int flags), (fd, data, size, flags))

#define ON_PATH(type, name, failed, parameters, arguments)                                                                    \
    type name parameters                                                                                                      \
    {                                                                                                                         \
        FAIL_OR(PATH(path), path, failed);                                                                                    \
        return REAL(name) arguments;                                                                                          \
    }
ON_PATH(int, unlink, -1, (const char *path), (path))
ON_PATH(int, mkdir, -1, (const char *path, mode_t mode), (path, mode))
ON_PATH(int, lstat, -1, (const char *path, struct stat *found), (path, found))
ON_PATH(int, lstat64, -1, (const char *path, struct stat64 *found), (path, found))
ON_PATH(int, access, -1, (const char *path, int how), (path, how))
ON_PATH(int, stat, -1, (const char *path, struct stat *found), (path, found))
ON_PATH(int, stat64, -1, (const char *path, struct stat64 *found), (path, found))
ON_PATH(int, statvfs, -1, (const char *path, struct statvfs *found), (path, found))
ON_PATH(int, statvfs64, -1, (const char *path, struct statvfs64 *found), (path, found))

int rename(const char *path, const char *to)
{
    FAIL_OR(PATH(path), path, -1);
    const char *last = getenv("FAULT_RENAMED");
    int done = REAL(rename)(path, to);
    if (!done && last && !strcmp(path, last)) {
        kill(getpid(), SIGKILL);
        pause();
    }
    return done;
}

DIR *opendir(const char *path)
{
    FAIL_OR(PATH(path), path, NULL);
    DIR *opened = REAL(opendir)(path);
    if (opened)
        remember(dirfd(opened), PATH(path));
    return opened;
}

struct dirent64 *readdir64(DIR *opened)
{
    FAIL_OR(kind_of(dirfd(opened)), "", NULL);
    return REAL(readdir64)(opened);
}

int closedir(DIR *opened)
{
    point(kind_of(dirfd(opened)), __func__, "");
    remember(dirfd(opened), ELSEWHERE);
    return REAL(closedir)(opened);
}

#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" /* some versions of glibc say that poll only writes there */
int poll(struct pollfd *waited, nfds_t count, int timeout)
{
    FAIL_OR(count == 1 ? kind_of(waited->fd) : ELSEWHERE, "", -1);
    return REAL(poll)(waited, count, timeout);
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    FAIL_OR(kind_of(fd), "", -1);
    return REAL(ioctl)(fd, request, argument);
}

int socket(int domain, int type, int protocol)
{
    int kind = domain == AF_INET || domain == AF_INET6 ? SOCKET : ELSEWHERE;
    FAIL_OR(kind, "", -1);
    return remember(REAL(socket)(domain, type, protocol), kind);
}
