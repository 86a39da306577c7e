/* Writes down what a program asks the world for, one line each, in the file $WITNESS: "gpio" for each opening of a GPIO
 * chip, "network" for each socket, connection or name beyond this machine's own sockets, and all that goes to syslog.
 * The calls themselves go on as ever, to a gpiofake.so behind this one, too; but none leaves loopback.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void saw(const char *what, const char *more) {
    char line[8192];
    const char *path = getenv("WITNESS");
    int fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    if (fd < 0)
        return;
    int length = snprintf(line, sizeof line, "%s %s\n", what, more);
    if (write(fd, line, length < (int)sizeof line ? length : (int)sizeof line) < 0)
        abort();
    close(fd);
}

static int open_path(const char *name, const char *path, int flags, mode_t mode) {
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, name);
    if (strncmp(path, "/dev/gpiochip", 13) == 0)
        saw("gpio", path);
    return real(path, flags, mode);
}

#define OPENS(name)                                                                                                    \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(rest, mode_t) : 0;                  \
        va_end(rest);                                                                                                  \
        return open_path(#name, path, flags, mode);                                                                    \
    }
OPENS(open)
OPENS(open64)

int socket(int domain, int type, int protocol) {
    int (*real)(int, int, int) = dlsym(RTLD_NEXT, "socket");
    if (domain != AF_UNIX)
        saw("network", "socket");
    return real(domain, type, protocol);
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    if (address->sa_family == AF_UNIX)
        return real(fd, address, length);
    saw("network", "connect");
    const struct sockaddr_in *ip = (const void *)address;
    if (address->sa_family == AF_INET && ntohl(ip->sin_addr.s_addr) >> 24 == 127)
        return real(fd, address, length);
    errno = ENETUNREACH;
    return -1;
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    saw("network", host ? host : "");
    return real(host, service, hints, found);
}

static void log_line(const char *format, va_list rest) {
    char text[8000];
    vsnprintf(text, sizeof text, format, rest);
    saw("syslog", text);
}

#define LOGS(name, ...)                                                                                                \
    void name(__VA_ARGS__, const char *format, ...) {                                                                  \
        va_list rest;                                                                                                  \
        va_start(rest, format);                                                                                        \
        (void)priority;                                                                                                \
        log_line(format, rest);                                                                                        \
        va_end(rest);                                                                                                  \
    }
LOGS(syslog, int priority)
LOGS(__syslog_chk, int priority, int flag __attribute__((unused)))
