/* clockfault.c: gives a program other clocks, which a test moves while it runs, and another boot. For LD_PRELOAD.
 *
 *     cc -shared -fPIC -O1 -o clockfault.so clockfault.c -ldl
 *     CLOCK_FILE=/tmp/clock CLOCK_BOOT_ID=/tmp/boot_id LD_PRELOAD=./clockfault.so program
 *
 * $CLOCK_FILE holds three signed 64-bit numbers of nanoseconds, in the machine's byte order: what is added to the wall
 * clock (CLOCK_REALTIME, time, gettimeofday), to CLOCK_BOOTTIME, and to CLOCK_MONOTONIC. It is mapped, so what a test
 * writes there counts at once. A wall clock that jumps moves the ends of waits that are set by it, as in a kernel:
 * sem_timedwait, by which Python before 3.11 waits for locks, goes by the moved clock. A moved CLOCK_MONOTONIC is for
 * programs that sleep by relative times only: the kernel's own has not moved.
 * Where $CLOCK_BOOT_ID is set, that file is opened in place of /proc/sys/kernel/random/boot_id.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define SECOND 1000000000LL

enum { WALL, BOOT, MONOTONIC, CLOCKS };

static int64_t shift_of(int clock)
{
    static volatile const int64_t *shifts;
    const char *path = getenv("CLOCK_FILE");
    if (!path)
        return 0;
    if (!shifts) {
        int fd = REAL(open)(path, O_RDONLY | O_CLOEXEC);
        void *mapped = mmap(NULL, CLOCKS * sizeof *shifts, PROT_READ, MAP_SHARED, fd, 0);
        if (fd < 0 || mapped == MAP_FAILED)
            abort(); /* a test that gives no clock would prove nothing */
        close(fd);
        shifts = mapped;
    }
    return shifts[clock];
}

static struct timespec shifted(struct timespec time, int64_t by)
{
    int64_t all = time.tv_sec * SECOND + time.tv_nsec + by;
    return (struct timespec){all / SECOND, all % SECOND};
}

int clock_gettime(clockid_t which, struct timespec *now)
{
    static int (*asks)(clockid_t, struct timespec *);
    if (!asks)
        asks = REAL(clock_gettime);
    int failed = asks(which, now);
    int clock = which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE  ? WALL
                : which == CLOCK_BOOTTIME                                  ? BOOT
                : which == CLOCK_MONOTONIC || which == CLOCK_MONOTONIC_RAW ? MONOTONIC
                                                                           : CLOCKS;
    if (!failed && clock != CLOCKS)
        *now = shifted(*now, shift_of(clock));
    return failed;
}

time_t time(time_t *where)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where)
        *where = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    *now = (struct timeval){exact.tv_sec, exact.tv_nsec / 1000};
    return 0;
}

/* Until the wall clock of this program shows `until`: looked at every few milliseconds, since it may jump. */
int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until)
{
    for (;;) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        int64_t left = (until->tv_sec - now.tv_sec) * SECOND + until->tv_nsec - now.tv_nsec;
        int64_t look = left < 5000000 ? left > 0 ? left : 0 : 5000000;
        struct timespec end = shifted(now, look - shift_of(WALL));
        int failed = REAL(sem_timedwait)(semaphore, &end);
        if (!failed || errno != ETIMEDOUT || left <= look)
            return failed;
    }
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        va_list list;                                                                                                  \
        va_start(list, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;                                        \
        va_end(list);                                                                                                  \
        const char *other = getenv("CLOCK_BOOT_ID");                                                                   \
        if (other && !strcmp(path, "/proc/sys/kernel/random/boot_id"))                                                 \
            path = other;                                                                                              \
        return REAL(name)(path, flags, mode);                                                                          \
    }
OPEN(open)
OPEN(open64)
