/* A GPIO chip made of files, for tests. Preloaded into a program, this stands where the kernel's GPIO character device
 * would be, below an unmodified liblgpio and gpiozero. It knows files and <linux/gpio.h>, and nothing of rufusd.
 *
 *   cc -shared -fPIC -O1 -o gpiofake.so gpiofake.c
 *   LD_PRELOAD=./gpiofake.so GPIOFAKE_DIR=/tmp/pins GPIOZERO_PIN_FACTORY=lgpio LG_WD=/tmp/pins rufusd run
 *
 * The files in $GPIOFAKE_DIR, for line 17:
 *   17      the test writes it: the level that is applied from outside, "0" or "1". Replace it, do not truncate it.
 *           Without it the line is at its pull: low with a pull-down, high with a pull-up or with none.
 *   out17   this library writes it: the level to which the program last drove the line.
 *   line17  this library's own: who holds the line, and how it is configured. Its descriptor is the line's descriptor,
 *           and is locked. So it is the kernel that frees the line when the descriptor is closed or the program dies,
 *           as it does with a real line, and this library needs no table of lines, no mutex and no close().
 *   edges17 the test makes it, a FIFO: edges of line 17 may be subscribed to. It is the line's descriptor then, and the test
 *           writes each edge into it, as a struct gpio_v2_line_event.
 *   mounts  the test writes it: what the program reads in place of /proc/self/mountinfo. Without it, the real one.
 *   fail    the test writes it: "open 13", "line 16" or "read 5" makes opening the chip, requesting a line or reading a
 *           line fail with that errno, for as long as the file is there.
 * It neither renames, syncs nor write()s, so a test may count the program's own such calls with strace.
 *
 * What is not imitated is refused with ENOTSUP, edge detection above all where the test did not ask for it: a program that
 * runs on such a chip subscribes to no edges. Nor are there debouncing, active-low lines, open drains, or several lines in one request.
 */
#undef _FILE_OFFSET_BITS /* 32-bit Debian 13 predefines both; they would rename the functions that are defined here */
#undef _TIME_BITS
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/gpio.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LINES 54 /* those of a Pi 4B */
#define IMITATED_FLAGS                                                                                                 \
    (GPIO_V2_LINE_FLAG_INPUT | GPIO_V2_LINE_FLAG_OUTPUT | GPIO_V2_LINE_FLAG_BIAS_PULL_UP |                             \
     GPIO_V2_LINE_FLAG_BIAS_PULL_DOWN | GPIO_V2_LINE_FLAG_BIAS_DISABLED)

typedef struct gpio_v2_line_info Line; /* what a line17 file holds */

static int fail(int error) {
    errno = error;
    return -1;
}

/* ---- The files ---- */

typedef struct {
    char text[4096];
} Path;

static Path path_of(const char *name, unsigned line) { /* name may have a %u for the line */
    char file[32];
    Path path;
    snprintf(file, sizeof file, name, line);
    snprintf(path.text, sizeof path.text, "%s/%s", getenv("GPIOFAKE_DIR"), file);
    return path;
}

static int open_file(Path path, int flags) { return openat(AT_FDCWD, path.text, flags | O_CLOEXEC, 0666); }

/* Reads a small file as a string. Returns its length, or -1 if there is none. */
static int read_text(Path path, char *text, size_t size) {
    int fd = open_file(path, O_RDONLY);
    if (fd < 0)
        return -1;
    ssize_t length = read(fd, text, size - 1);
    close(fd);
    text[length < 0 ? 0 : length] = '\0';
    return length;
}

/* The errno with which the test wants this step to fail, else 0. */
static int fault(const char *step) {
    char text[64], what[16];
    int error;
    if (read_text(path_of("fail", 0), text, sizeof text) < 0 || sscanf(text, "%15s %d", what, &error) != 2)
        return 0;
    return strcmp(what, step) == 0 ? error : 0;
}

/* ---- Lines ---- */

static int load(int fd, Line *line) { return pread(fd, line, sizeof *line, 0) == sizeof *line ? 0 : fail(EINVAL); }

/* An open file description lock belongs to a descriptor, not to a process, so two handles in one exclude each other. */
static int hold(int fd) { return fcntl(fd, F_OFD_SETLK, &(struct flock){.l_type = F_WRLCK}); }

static int is_held_elsewhere(int fd) {
    struct flock lock = {.l_type = F_WRLCK};
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* Of a line whose edges are subscribed to, the descriptor is a FIFO, which holds no Line: its name tells which it is. */
static int load_edges(int fd, Line *line) {
    char link[64], name[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    name[length < 0 ? 0 : length] = '\0';
    const char *file = strrchr(name, '/');
    *line = (Line){.flags = GPIO_V2_LINE_FLAG_INPUT};
    return file && sscanf(file, "/edges%u", &line->offset) == 1 ? 0 : fail(EINVAL);
}

static int level(const Line *line) {
    const char *name = line->flags & GPIO_V2_LINE_FLAG_OUTPUT ? "out%u" : "%u";
    char text[8];
    if (read_text(path_of(name, line->offset), text, sizeof text) > 0)
        return text[0] != '0';
    return !(line->flags & GPIO_V2_LINE_FLAG_BIAS_PULL_DOWN);
}

static int drive(const Line *line, int high) {
    int fd = open_file(path_of("out%u", line->offset), O_WRONLY | O_CREAT);
    if (fd < 0)
        return -1;
    ssize_t written = pwrite(fd, high ? "1\n" : "0\n", 2, 0); /* over the old text, so no reader finds it half there */
    close(fd);
    return written == 2 ? 0 : -1;
}

/* ---- The requests of <linux/gpio.h>, each returning 0, or -1 with errno ---- */

static int chip_info(struct gpiochip_info *info) {
    *info = (struct gpiochip_info){.name = "gpiochip0", .label = "pinctrl-bcm2711", .lines = LINES};
    return 0;
}

static int line_info(Line *info) {
    unsigned number = info->offset;
    if (number >= LINES)
        return fail(EINVAL);
    int fd = open_file(path_of("line%u", number), O_RDWR);
    if (fd >= 0 && is_held_elsewhere(fd) && load(fd, info) == 0)
        info->flags |= GPIO_V2_LINE_FLAG_USED;
    else
        *info = (Line){.offset = number, .flags = GPIO_V2_LINE_FLAG_INPUT};
    if (fd >= 0)
        close(fd);
    return 0;
}

#define EDGES (GPIO_V2_LINE_FLAG_EDGE_RISING | GPIO_V2_LINE_FLAG_EDGE_FALLING)

static int request_edges(struct gpio_v2_line_request *request) {
    int fd = open_file(path_of("edges%u", request->offsets[0]), O_RDWR | O_NONBLOCK);
    if (fd < 0)
        return fail(ENOTSUP);
    request->fd = fd;
    return 0;
}

static int is_imitated(const struct gpio_v2_line_request *request) {
    const struct gpio_v2_line_config *config = &request->config;
    if (request->num_lines != 1 || config->flags & ~(__u64)IMITATED_FLAGS || config->num_attrs > 1)
        return 0;
    return config->num_attrs == 0 || config->attrs[0].attr.id == GPIO_V2_LINE_ATTR_ID_OUTPUT_VALUES;
}

static int take_line(int fd, const struct gpio_v2_line_request *request) {
    const struct gpio_v2_line_config *config = &request->config;
    Line line = {.offset = request->offsets[0], .flags = config->flags};
    memcpy(line.consumer, request->consumer, sizeof line.consumer);
    if (hold(fd))
        return fail(EBUSY);
    if (pwrite(fd, &line, sizeof line, 0) < 0)
        return -1;
    if (line.flags & GPIO_V2_LINE_FLAG_OUTPUT)
        return drive(&line, config->num_attrs > 0 && config->attrs[0].attr.values & 1);
    return 0;
}

static int request_line(struct gpio_v2_line_request *request) {
    int error = fault("line");
    if (error)
        return fail(error);
    if (request->num_lines == 1 && request->config.flags & EDGES)
        return request_edges(request);
    if (!is_imitated(request))
        return fail(ENOTSUP);
    if (request->offsets[0] >= LINES)
        return fail(EINVAL);
    int fd = open_file(path_of("line%u", request->offsets[0]), O_RDWR | O_CREAT);
    if (fd < 0)
        return -1;
    if (take_line(fd, request)) {
        error = errno;
        close(fd);
        return fail(error);
    }
    request->fd = fd;
    return 0;
}

static int get_values(int fd, struct gpio_v2_line_values *values) {
    Line line;
    int error = fault("read");
    if (error)
        return fail(error);
    if (load(fd, &line) && load_edges(fd, &line))
        return -1;
    values->bits = values->mask & level(&line);
    return 0;
}

static int set_values(int fd, const struct gpio_v2_line_values *values) {
    Line line;
    if (load(fd, &line))
        return -1;
    if (!(line.flags & GPIO_V2_LINE_FLAG_OUTPUT))
        return fail(EPERM);
    return values->mask & 1 ? drive(&line, values->bits & 1) : 0;
}

static int gpio_ioctl(int fd, unsigned long request, void *argument) {
    switch (request) {
    case GPIO_GET_CHIPINFO_IOCTL:
        return chip_info(argument);
    case GPIO_V2_GET_LINEINFO_IOCTL:
        return line_info(argument);
    case GPIO_V2_GET_LINE_IOCTL:
        return request_line(argument);
    case GPIO_V2_LINE_GET_VALUES_IOCTL:
        return get_values(fd, argument);
    case GPIO_V2_LINE_SET_VALUES_IOCTL:
        return set_values(fd, argument);
    default:
        return fail(ENOTSUP);
    }
}

/* ---- The paths that are not what they seem ---- */

static int open_chip(int flags) {
    int error = fault("open");
    return error ? fail(error) : openat(AT_FDCWD, "/dev/null", flags);
}

/* gpiozero opens no chip before it knows the revision of the Pi: b03111 is a 4B ("New-style revision codes in use" in
 * Raspberry Pi's documentation). */
static int open_cpuinfo(void) {
    static const char text[] = "Revision\t: b03111\n";
    int fd = memfd_create("cpuinfo", MFD_CLOEXEC);
    if (fd < 0 || pwrite(fd, text, sizeof text - 1, 0) == sizeof text - 1)
        return fd;
    close(fd);
    return -1;
}

static int starts_with(const char *path, const char *start) { return strncmp(path, start, strlen(start)) == 0; }

static int open_path(const char *path, int flags, mode_t mode) {
    if (getenv("GPIOFAKE_DIR")) {
        if (strcmp(path, "/dev/gpiochip0") == 0)
            return open_chip(flags);
        if (strcmp(path, "/proc/cpuinfo") == 0)
            return open_cpuinfo();
        if (strcmp(path, "/proc/self/mountinfo") == 0) {
            int fd = open_file(path_of("mounts", 0), O_RDONLY);
            if (fd >= 0)
                return fd;
        }
        if (starts_with(path, "/dev/gpiochip") || starts_with(path, "/proc/device-tree/"))
            return fail(ENOENT); /* a real Pi on which the tests run shows nothing of its own */
    }
    return openat(AT_FDCWD, path, flags | O_LARGEFILE, mode); /* what open() does, and openat() is not replaced */
}

/* ---- The functions that are replaced, by all the names that a program built for Debian 12 or 13 calls them by ---- */

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_path(path, flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));

int ioctl(int fd, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return _IOC_TYPE(request) == 0xb4 ? gpio_ioctl(fd, request, argument) : syscall(SYS_ioctl, fd, request, argument);
}

int __ioctl_time64(int fd, unsigned long request, ...) __THROW __attribute__((alias("ioctl"))); /* 32-bit Debian 13 */
