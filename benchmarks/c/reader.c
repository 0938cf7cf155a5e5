/* reader.c - a load reader on raw sockets: one thread, epoll, no copy kept of what it reads.
 *
 *   reader --port P --request FILE [--connections C] [--pid PID] ...
 *
 * Closed loop (the default): every connection sends the request, reads the whole reply, sends again.
 *   --warmup S --seconds S    count what arrives in the S seconds after the warm-up (which lasts until all are open)
 *   --each N                  or N replies on every connection, all of them counted, without a warm-up
 *   --close                   one request a connection
 * Paced (--itl S): every connection sends one request; connection i starts in the i-th of C equal parts of the ramp,
 * at a place in it that looks random and is the same in every run, so that starts are spread over the phase of itl.
 *   --skip K --tokens T       the reply's first K events are no tokens, the next T are
 *   --ttft S --ramp S --settle S --window S --grace S
 *   Measured are the tokens due in the window that begins `settle` after the ramp. A token is due at
 *   base + j * itl; base is the stream's own earliest arrival, min over j of (arrival j - j * itl), so `late` is
 *   what the server's schedule lost after admission; `from_send` counts from the sending of the request. A token
 *   that never came is late by the time that had passed. Arrivals are the kernel's receive times (SO_TIMESTAMPNS),
 *   so a busy reader is not charged to the server. Drift is the slope of a least-squares line through a stream's
 *   arrivals in the window, as a part of itl.
 *
 * An event is a line that begins with "data:" after the chunk framing is taken off. With --pid the CPU seconds
 * of that process over the measured time are reported (several --pid are added up). Prints one JSON object.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 4096, EPOLL_BATCH = 256, CONNECTING_MAX = 64, PIDS_MAX = 16, ERRORS_MAX = 100, READ_SIZE = 1 << 18 };
enum state { CONNECTING, HEAD, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, COUNTED, UNTIL_EOF, OVER };

typedef struct {
    int fd, number, used, match;  /* match: bytes of "data:" seen at the start of this line, -1 when it is another */
    enum state state;
    int close_after, size_digits;
    long left, events, replies;   /* bytes left of the chunk or body; events of this reply, replies so far */
    size_t sent;                  /* bytes of the request that have left */
    int64_t send_at;              /* ns, CLOCK_REALTIME */
    int64_t *arrivals;            /* ns a token, CLOCK_REALTIME; paced only */
    long arrived;
    char head[HEAD_MAX];
} conn;

static struct { long events, bytes, responses, errors, reads; } total, mark;
static struct sockaddr_in server;
static char *request, buffer[READ_SIZE];
static size_t request_size;
static conn *conns;
static char first_error[64];
static int ep, paced, one_request, connecting, opened, pids[PIDS_MAX], pid_count;
static long connections = 1, each, skip, tokens;
static double warmup = 0.2, seconds = 1, itl, ttft, ramp = 1, settle = 0.5, window = 2, grace = 1;
static int over;                  /* connections that will do no more */
static int64_t stamp;             /* when the bytes in `buffer` arrived */

static void die(const char *what) { perror(what); exit(1); }

static int64_t clock_ns(clockid_t id) {
    struct timespec t;
    if (clock_gettime(id, &t)) return 0;
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static double server_cpu(void) {
    double sum = 0;
    for (int i = 0; i < pid_count; i++) {
        clockid_t id;
        if (!clock_getcpuclockid(pids[i], &id)) sum += clock_ns(id) / 1e9;
    }
    return sum;
}

static double own_cpu(void) { return clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9; }

static void watch(conn *c, int op, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(ep, op, c->fd, &e)) die("epoll_ctl");
}

static void open_conn(conn *c) {
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (paced) setsockopt(c->fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
    if (connect(c->fd, (void *)&server, sizeof server) && errno != EINPROGRESS) die("connect");
    c->state = CONNECTING;
    connecting++;
    watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}

static void close_conn(conn *c) {
    close(c->fd);
    c->fd = -1;
}

static void finish(conn *c) { c->state = OVER; over++; }

/* Send the request, or what is left of it. */
static void send_request(conn *c) {
    if (c->sent == 0) {
        c->state = HEAD;
        c->used = 0;
        c->events = 0;
        c->send_at = clock_ns(CLOCK_REALTIME);
    }
    ssize_t n = send(c->fd, request + c->sent, request_size - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) n = 0; /* the read will tell */
    if (n > 0) c->sent += n;
    watch(c, EPOLL_CTL_MOD, EPOLLIN | (c->sent < request_size ? EPOLLOUT : 0));
}

/* Count a failure, remember the first, and try again. */
static void failed(conn *c, const char *why) {
    if (!total.errors++) snprintf(first_error, sizeof first_error, "%s", why);
    close_conn(c);
    if (paced) { finish(c); return; }
    c->sent = 0;
    open_conn(c);
}

/* The reply is complete: the next request, or the end. Returns 0 when the connection was replaced. */
static int complete(conn *c) {
    total.responses++;
    if (paced || ++c->replies == each) { close_conn(c); finish(c); return 0; }
    c->sent = 0;
    if (one_request || c->close_after) { close_conn(c); open_conn(c); return 0; }
    c->state = HEAD;
    c->used = 0;
    c->events = 0;
    c->sent = 0;
    ssize_t n = send(c->fd, request, request_size, MSG_NOSIGNAL);
    if (n > 0) c->sent = n;
    if (c->sent < request_size) watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    return 1;
}

static void event_seen(conn *c) {
    total.events++;
    long token = c->events++ - skip;
    if (paced && token >= 0 && token < tokens) { c->arrivals[token] = stamp; c->arrived = token + 1; }
}

/* Count the lines that begin with "data:". A line may be split anywhere. */
static void scan(conn *c, const char *at, const char *end) {
    static const char word[] = "data:";
    while (at < end) {
        while (c->match >= 0 && at < end) {
            if (*at != word[c->match]) { c->match = -1; break; }
            at++;
            if (++c->match == 5) { event_seen(c); c->match = -1; }
        }
        if (at >= end) return;
        at = memchr(at, '\n', end - at);
        if (!at) return;
        at++;
        c->match = 0;
    }
}

/* The head is complete in c->head. Returns 0 when the reply is no 200. */
static int read_head(conn *c) {
    c->head[c->used] = 0;
    c->close_after = strcasestr(c->head, "\r\nconnection: close") != NULL;
    const char *length = strcasestr(c->head, "\r\ncontent-length:");
    c->match = 0;
    if (strcasestr(c->head, "\r\ntransfer-encoding: chunked")) { c->state = CHUNK_SIZE; c->left = 0; c->size_digits = 0; }
    else if (length) { c->state = COUNTED; c->left = atol(length + 17); }
    else c->state = UNTIL_EOF;
    return strncmp(c->head, "HTTP/1.", 7) == 0 && strncmp(c->head + 8, " 200", 4) == 0;
}

static int hex(char ch) {
    if (ch >= '0' && ch <= '9') return ch - '0';
    ch |= 32;
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* Take in `size` bytes. Returns 0 when the connection was closed or replaced meanwhile. */
static int take(conn *c, const char *at, size_t size) {
    const char *end = at + size;
    while (at < end || (c->state == COUNTED && c->left == 0)) {
        long here = end - at;
        switch (c->state) {
        case HEAD:
            if (c->used >= HEAD_MAX - 1) { failed(c, "endless head"); return 0; }
            c->head[c->used++] = *at++;
            if (c->used < 4 || memcmp(c->head + c->used - 4, "\r\n\r\n", 4)) break;
            if (!read_head(c)) {
                c->head[strcspn(c->head, "\r\"\\")] = 0; /* the status line, fit for JSON */
                failed(c, c->head);
                return 0;
            }
            break;
        case CHUNK_SIZE:
            if (*at == '\n') {
                if (!c->size_digits) { failed(c, "empty chunk size"); return 0; }
                c->state = c->left ? CHUNK_DATA : TRAILER;
                c->used = 0;
            } else if (c->size_digits >= 0) {
                int digit = hex(*at);
                if (digit >= 0) { c->left = c->left * 16 + digit; c->size_digits++; }
                else if (c->size_digits) c->size_digits = -1; /* an extension, or the CR */
                else { failed(c, "bad chunk size"); return 0; }
            }
            at++;
            break;
        case CHUNK_DATA:
            if (here > c->left) here = c->left;
            scan(c, at, at + here);
            at += here;
            c->left -= here;
            if (!c->left) c->state = CHUNK_END;
            break;
        case CHUNK_END:
            if (*at++ == '\n') { c->state = CHUNK_SIZE; c->left = 0; c->size_digits = 0; }
            break;
        case TRAILER: /* `used` counts the bytes of the line */
            if (*at != '\n') { if (*at != '\r') c->used++; at++; break; }
            at++;
            if (c->used) { c->used = 0; break; }
            if (!complete(c)) return 0;
            break;
        case COUNTED:
            if (here > c->left) here = c->left;
            scan(c, at, at + here);
            at += here;
            c->left -= here;
            if (!c->left && !complete(c)) return 0;
            break;
        default:
            scan(c, at, end);
            at = end;
        }
    }
    return 1;
}

static ssize_t receive(conn *c) {
    if (!paced) return recv(c->fd, buffer, READ_SIZE, 0);
    char control[128];
    struct iovec part = {buffer, READ_SIZE};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(c->fd, &message, 0);
    stamp = 0;
    for (struct cmsghdr *m = CMSG_FIRSTHDR(&message); n > 0 && m; m = CMSG_NXTHDR(&message, m)) {
        if (m->cmsg_level != SOL_SOCKET || m->cmsg_type != SCM_TIMESTAMPNS) continue;
        struct timespec t;
        memcpy(&t, CMSG_DATA(m), sizeof t);
        stamp = t.tv_sec * 1000000000LL + t.tv_nsec;
    }
    if (!stamp) stamp = clock_ns(CLOCK_REALTIME);
    return n;
}

static void readable(conn *c) {
    ssize_t n = receive(c);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        if (n == 0 && c->state == UNTIL_EOF) { c->close_after = 1; complete(c); return; }
        failed(c, n ? strerror(errno) : "closed in a reply");
        return;
    }
    total.bytes += n;
    total.reads++;
    take(c, buffer, n);
}

static void poll_once(int timeout_ms) {
    struct epoll_event events[EPOLL_BATCH];
    int n = epoll_wait(ep, events, EPOLL_BATCH, timeout_ms);
    for (int i = 0; i < n; i++) {
        conn *c = events[i].data.ptr;
        if (c->state == OVER) continue;
        if (c->state == CONNECTING) {
            int error = 0;
            socklen_t size = sizeof error;
            getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
            connecting--;
            if (error) { failed(c, strerror(error)); continue; }
            send_request(c);
        } else if (events[i].events & EPOLLIN) readable(c);
        else if (events[i].events & EPOLLOUT) send_request(c);
        else failed(c, "hung up");
    }
}

/* When connection i starts, as a part of the ramp. The fractional parts of i * golden ratio are spread evenly. */
static double start_of(long i) {
    double place = i * 0.6180339887498949;
    return (i + place - floor(place)) / connections;
}

/* Open the connections whose time has come, few at a time, so that no queue of the kernel overflows. */
static void open_due(double elapsed) {
    while (opened < connections && connecting < CONNECTING_MAX && (!paced || elapsed >= start_of(opened) * ramp))
        open_conn(&conns[opened++]);
}

/* ---- statistics ---- */
static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double at_rank(const double *sorted, long n, double p) { return n ? sorted[(long)(p * (n - 1) + 0.5)] : 0; }

static void print_spread(const char *name, double *values, long n, double scale) {
    qsort(values, n, sizeof *values, ascending);
    printf(", \"%s\": {\"p50\": %.6g, \"p90\": %.6g, \"p99\": %.6g, \"max\": %.6g}", name, at_rank(values, n, .5) * scale,
           at_rank(values, n, .9) * scale, at_rank(values, n, .99) * scale, at_rank(values, n, 1) * scale);
}

/* The slope of arrival - j * itl over j, as a part of itl; NAN with fewer than ten tokens. */
static double drift(const conn *c, int64_t from) {
    double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0;
    long first = -1;
    for (long j = 0; j < c->arrived; j++) {
        if (c->arrivals[j] < from) continue;
        if (first < 0) first = j;
        double x = j - first, y = (c->arrivals[j] - c->arrivals[first]) / 1e9 - x * itl;
        n++; sx += x; sy += y; sxx += x * x; sxy += x * y;
    }
    double spread = n * sxx - sx * sx;
    return n >= 10 && spread > 0 ? (n * sxy - sx * sy) / spread / itl : NAN;
}

static void print_paced(int64_t start, int64_t end, int64_t stopped) {
    int64_t step = itl * 1e9, lead = ttft * 1e9;
    long room = connections * ((end - start) / step + 2), n = 0, missing = 0, gaps = 0, drifts = 0, arrived = 0;
    double *late = malloc(room * sizeof *late), *sent = malloc(room * sizeof *sent), *gap = malloc(room * sizeof *gap);
    double *drifting = malloc(connections * sizeof *drifting);
    if (!late || !sent || !gap || !drifting) die("malloc");
    for (long i = 0; i < connections; i++) {
        conn *c = &conns[i];
        int64_t base = c->arrived ? INT64_MAX : c->send_at + lead;
        for (long j = 0; j < c->arrived; j++) {
            if (c->arrivals[j] - j * step < base) base = c->arrivals[j] - j * step;
            if (c->arrivals[j] >= start && c->arrivals[j] < end) arrived++;
        }
        long j = base >= start ? 0 : (start - base + step - 1) / step;
        for (; j < tokens && base + j * step < end && n < room; j++) {
            int64_t when = j < c->arrived ? c->arrivals[j] : stopped;
            if (j >= c->arrived) missing++;
            late[n] = (when - base - j * step) / 1e9;
            sent[n++] = (when - c->send_at - lead - j * step) / 1e9;
            if (j && j < c->arrived) gap[gaps++] = fabs((when - c->arrivals[j - 1] - step) / 1e9);
        }
        double slope = drift(c, start);
        if (!isnan(slope)) drifting[drifts++] = fabs(slope);
    }
    printf(", \"due\": %ld, \"missing\": %ld, \"arrived\": %ld, \"drifting\": %ld", n, missing, arrived, drifts);
    print_spread("late_ms", late, n, 1e3);
    print_spread("from_send_ms", sent, n, 1e3);
    print_spread("gap_error_ms", gap, gaps, 1e3);
    print_spread("drift_percent", drifting, drifts, 100);
}

static void read_request(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    request = malloc(1 << 20);
    request_size = fread(request, 1, 1 << 20, file);
    fclose(file);
}

static const char *options(int argc, char **argv) {
    const char *path = NULL;
    struct { const char *name; double *real; long *whole; } table[] = {
        {"--connections", 0, &connections}, {"--each", 0, &each}, {"--skip", 0, &skip}, {"--tokens", 0, &tokens},
        {"--warmup", &warmup, 0}, {"--seconds", &seconds, 0}, {"--itl", &itl, 0}, {"--ttft", &ttft, 0}, {"--ramp", &ramp, 0},
        {"--settle", &settle, 0}, {"--window", &window, 0}, {"--grace", &grace, 0}};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (!strcmp(name, "--close")) { one_request = 1; continue; }
        if (++i >= argc) { fprintf(stderr, "reader: %s needs a value\n", name); exit(2); }
        if (!strcmp(name, "--port")) { server.sin_port = htons(atoi(argv[i])); continue; }
        if (!strcmp(name, "--request")) { path = argv[i]; continue; }
        if (!strcmp(name, "--pid")) { if (pid_count < PIDS_MAX) pids[pid_count++] = atoi(argv[i]); continue; }
        size_t k = 0, known = sizeof table / sizeof *table;
        while (k < known && strcmp(name, table[k].name)) k++;
        if (k == known) { fprintf(stderr, "reader: unknown option %s\n", name); exit(2); }
        if (table[k].real) *table[k].real = atof(argv[i]);
        else *table[k].whole = atol(argv[i]);
    }
    if (!path || !server.sin_port) { fprintf(stderr, "usage: reader --port P --request FILE ...\n"); exit(2); }
    return path;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    read_request(options(argc, argv));
    paced = itl > 0;
    server.sin_family = AF_INET;
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    ep = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc(connections, sizeof *conns);
    if (ep < 0 || !conns) die("start");
    for (long i = 0; i < connections; i++) {
        conns[i].fd = -1;
        conns[i].number = i;
        if (paced && !(conns[i].arrivals = calloc(tokens + 1, sizeof(int64_t)))) die("calloc");
    }
    double begin = paced ? ramp + settle : each ? 0 : warmup, length = paced ? window : seconds;
    int64_t start = clock_ns(CLOCK_REALTIME), opens = start + begin * 1e9;
        int64_t at = start;
    while (at < opens || (!paced && !each && opened < connections && at < opens + 10000000000LL)) {
        open_due((at - start) / 1e9);
        poll_once(1);
        at = clock_ns(CLOCK_REALTIME);
    }
    mark = total;
    int64_t opened_at = at, closes = at + length * 1e9;
    double cpu = server_cpu(), own = own_cpu();
    while ((each || at < closes) && total.errors < ERRORS_MAX) {
        open_due((at - start) / 1e9);
        poll_once(1);
        at = clock_ns(CLOCK_REALTIME);
        if (over == connections) break;
    }
    double elapsed = (at - opened_at) / 1e9, cpu_used = server_cpu() - cpu, own_used = own_cpu() - own;
    long events = total.events - mark.events;
    printf("{\"elapsed\": %.6f, \"events\": %ld, \"bytes\": %ld, \"responses\": %ld, \"errors\": %ld, \"first_error\": \"%s\", \"reads\": %ld", elapsed, events,
           total.bytes - mark.bytes, total.responses - mark.responses, total.errors, first_error, total.reads - mark.reads);
    printf(", \"server_cpu\": %.6f, \"reader_cpu\": %.6f, \"connections\": %d", cpu_used, own_used, opened);
    if (paced) {
        int64_t stop = at + grace * 1e9;
        while (at < stop && over < connections) {
            poll_once(1);
            at = clock_ns(CLOCK_REALTIME);
        }
        print_paced(opened_at, opened_at + length * 1e9, at);
    }
    printf("}\n");
    return 0;
}
