/* limit.c - the syscall limit of a streaming server: what one core does when nothing is left but the sends.
 *
 * HTTP/1.1 with keep-alive; answers every request, whatever its path, with constant pre-framed bytes.
 *
 *   limit MODE [--events N] [--bytes B] [--coalesce K] [--itl SECONDS] [--ttft SECONDS]
 *
 *   each    head, then one send() an event, then the last chunk
 *   batch   the same, K events a send(); each event is still an HTTP chunk of its own
 *   all     head, events and last chunk in one send()
 *   whole   a reply with Content-Length and B bytes of JSON, in one send()
 *   paced   event k leaves at arrival + ttft + k * itl: absolute deadlines in a heap, epoll_pwait2 (nanoseconds)
 *
 * B counts the bytes of one event ("data: ...\n\n") without its chunk framing. Prints its address, then serves
 * until it is killed. It runs no JSON and keeps nothing: it bounds the path through the kernel, it is no rival.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 8192, EPOLL_BATCH = 256, TURN = 64, DRAIN = 512 };

typedef struct {
    int fd, used;          /* used: bytes in `in` */
    long body_left;        /* bytes of the request body still to come; -1 while the head is being read */
    int streaming, close_after, wants_out, queued;
    long next, owed;       /* next fragment to send; fragments that may leave now */
    size_t offset;         /* bytes of the next fragment that have left */
    long heap_at;          /* index in the heap, -1 when absent */
    int64_t due;           /* nanoseconds, CLOCK_MONOTONIC: when the next event may leave */
    char in[HEAD_MAX];
} conn;

typedef struct { const char *data; size_t size; } fragment;

static fragment head, body, tail_batch, last;
static long body_fragments, fragments;   /* bodies in a reply; bodies plus head and last chunk */
static int paced, ep, listener;
static int64_t itl_ns, ttft_ns;

static void die(const char *what) { perror(what); exit(1); }

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* ---- the heap of paced streams ---- */
static conn **heap;
static long heap_size, heap_room;

static void heap_put(long at, conn *c) { heap[at] = c; c->heap_at = at; }

static void heap_up(long at) {
    conn *c = heap[at];
    while (at > 0 && heap[(at - 1) / 2]->due > c->due) { heap_put(at, heap[(at - 1) / 2]); at = (at - 1) / 2; }
    heap_put(at, c);
}

static void heap_down(long at) {
    conn *c = heap[at];
    for (;;) {
        long child = 2 * at + 1;
        if (child >= heap_size) break;
        if (child + 1 < heap_size && heap[child + 1]->due < heap[child]->due) child++;
        if (heap[child]->due >= c->due) break;
        heap_put(at, heap[child]);
        at = child;
    }
    heap_put(at, c);
}

static void heap_add(conn *c) {
    if (heap_size == heap_room) {
        heap_room = heap_room ? 2 * heap_room : 1024;
        heap = realloc(heap, heap_room * sizeof *heap);
        if (!heap) die("realloc");
    }
    heap[heap_size++] = c;
    heap_up(heap_size - 1);
}

static void heap_remove(conn *c) {
    long at = c->heap_at;
    if (at < 0) return;
    c->heap_at = -1;
    conn *moved = heap[--heap_size];
    if (moved == c) return;
    heap_put(at, moved);
    heap_up(at);
    heap_down(moved->heap_at);
}

/* ---- connections that have more to send and are not blocked: served in turns ---- */
static conn **ready;
static long ready_size, ready_room;

static void ready_add(conn *c) {
    if (c->queued) return;
    if (ready_size == ready_room) {
        ready_room = ready_room ? 2 * ready_room : 1024;
        ready = realloc(ready, ready_room * sizeof *ready);
        if (!ready) die("realloc");
    }
    c->queued = 1;
    ready[ready_size++] = c;
}

static void want_out(conn *c, int on) {
    if (c->wants_out == on) return;
    c->wants_out = on;
    struct epoll_event e = {.events = EPOLLIN | (on ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}

static void drop(conn *c) {
    heap_remove(c);
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    if (!c->queued) free(c); /* else freed when its turn comes */
}

static fragment fragment_at(long i) {
    if (i == 0) return head;
    if (i == fragments - 1) return last;
    return i == body_fragments && tail_batch.size ? tail_batch : body;
}

static void take_requests(conn *c);

/* Send what may leave, at most `limit` fragments. Returns 0 when the connection is gone. */
static int push(conn *c, long limit) {
    while (c->next < c->owed && limit-- > 0) {
        fragment f = fragment_at(c->next);
        ssize_t n = send(c->fd, f.data + c->offset, f.size - c->offset, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) { want_out(c, 1); return 1; }
        if (n < 0) { drop(c); return 0; }
        c->offset += n;
        if (c->offset < f.size) continue;
        c->offset = 0;
        c->next++;
    }
    want_out(c, 0);
    if (c->next < c->owed) { ready_add(c); return 1; }
    if (c->next == fragments) {
        c->streaming = 0;
        if (c->close_after) { drop(c); return 0; }
        if (c->used) { take_requests(c); return 0; }
    }
    return 1;
}

static void answer(conn *c) {
    c->streaming = 1;
    c->next = 0;
    c->offset = 0;
    if (!paced) { c->owed = fragments; push(c, TURN); return; }
    c->owed = 1; /* the head leaves at once */
    c->due = now_ns() + ttft_ns;
    if (push(c, 1)) heap_add(c);
}

static const char *header(const char *from, const char *name) {
    const char *found = strcasestr(from, name);
    return found ? found + strlen(name) : NULL;
}

/* Read the requests in the buffer: one at a time, the next after its reply. */
static void take_requests(conn *c) {
    if (c->streaming) return;
    if (c->body_left < 0) {
        char *end = memmem(c->in, c->used, "\r\n\r\n", 4);
        if (!end) {
            if (c->used >= HEAD_MAX - 1) drop(c);
            return;
        }
        *end = 0;
        const char *length = header(c->in, "\r\ncontent-length:");
        const char *connection = header(c->in, "\r\nconnection:");
        c->body_left = length ? atol(length) : 0;
        c->close_after = connection && strncasecmp(connection + strspn(connection, " "), "close", 5) == 0;
        int spent = end + 4 - c->in;
        memmove(c->in, end + 4, c->used - spent);
        c->used -= spent;
    }
    int spent = c->body_left < c->used ? (int)c->body_left : c->used;
    memmove(c->in, c->in + spent, c->used - spent);
    c->used -= spent;
    c->body_left -= spent;
    if (c->body_left > 0) return;
    c->body_left = -1;
    answer(c);
}

static void readable(conn *c) {
    ssize_t n = recv(c->fd, c->in + c->used, HEAD_MAX - 1 - c->used, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) { drop(c); return; }
    c->used += n;
    take_requests(c);
}

static void accept_some(void) {
    for (int i = 0; i < 64; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        conn *c = calloc(1, sizeof *c);
        if (!c) die("calloc");
        c->fd = fd;
        c->body_left = -1;
        c->heap_at = -1;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e)) die("epoll_ctl");
    }
}

/* Send every event that is due, bounded so that new connections are served in between. */
static void drain_due(void) {
    int64_t now = now_ns();
    for (int i = 0; i < DRAIN && heap_size && heap[0]->due <= now; i++) {
        conn *c = heap[0];
        c->owed++;
        if (c->owed == fragments - 1) { c->owed++; heap_remove(c); } /* the last event takes the last chunk along */
        else { c->due += itl_ns; heap_down(0); }
        if (!c->wants_out) push(c, 2);
    }
}

static void serve(void) {
    struct epoll_event events[EPOLL_BATCH];
    for (;;) {
        struct timespec wait = {0, 0};
        int64_t left = heap_size ? heap[0]->due - now_ns() : 0;
        if (left > 0) { wait.tv_sec = left / 1000000000LL; wait.tv_nsec = left % 1000000000LL; }
        int n = syscall(SYS_epoll_pwait2, ep, events, EPOLL_BATCH, heap_size || ready_size ? &wait : NULL, NULL, 0);
        if (n < 0 && errno != EINTR) die("epoll_pwait2");
        for (int i = 0; i < n; i++) {
            conn *c = events[i].data.ptr;
            if (!c) { accept_some(); continue; }
            if (events[i].events & EPOLLOUT) { if (!push(c, TURN)) continue; }
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c);
        }
        long turns = ready_size;
        for (long i = 0; i < turns; i++) {
            conn *c = ready[i];
            c->queued = 0;
            if (c->fd < 0) free(c); else push(c, TURN);
        }
        memmove(ready, ready + turns, (ready_size - turns) * sizeof *ready);
        ready_size -= turns;
        drain_due();
    }
}

/* ---- the constant bytes ---- */
static char *padded(const char *start, const char *end, size_t size) {
    size_t least = strlen(start) + strlen(end);
    if (size < least) size = least;
    char *text = malloc(size + 1);
    memcpy(text, start, strlen(start));
    memset(text + strlen(start), 'x', size - least);
    strcpy(text + size - strlen(end), end);
    return text;
}

static fragment joined(const char *one, long times) {
    size_t size = strlen(one);
    char *data = malloc(size * times + 1);
    for (long i = 0; i < times; i++) memcpy(data + i * size, one, size);
    data[size * times] = 0;
    return (fragment){data, size * times};
}

static void build(const char *mode, long events, size_t bytes, long k) {
    static char text[512];
    if (!strcmp(mode, "whole")) {
        char *json = padded("{\"content\": \"", "\"}", bytes), *reply;
        if (asprintf(&reply, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
                     strlen(json), json) < 0) die("asprintf");
        head = (fragment){reply, strlen(reply)};
        fragments = 1;
        return;
    }
    char *event = padded("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"", "\"}}]}\n\n", bytes), *framed;
    if (asprintf(&framed, "%zx\r\n%s\r\n", strlen(event), event) < 0) die("asprintf");
    snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
                                "transfer-encoding: chunked\r\n\r\n");
    head = (fragment){text, strlen(text)};
    last = (fragment){"0\r\n\r\n", 5};
    if (!strcmp(mode, "all")) {
        fragment all = joined(framed, events);
        char *reply;
        if (asprintf(&reply, "%s%s%s", head.data, all.data, last.data) < 0) die("asprintf");
        head = (fragment){reply, strlen(reply)};
        fragments = 1;
        return;
    }
    if (!strcmp(mode, "each") || !strcmp(mode, "paced")) k = 1;
    else if (strcmp(mode, "batch")) { fprintf(stderr, "limit: unknown mode %s\n", mode); exit(2); }
    body = joined(framed, k);
    body_fragments = (events + k - 1) / k;
    if (events % k) tail_batch = joined(framed, events % k);
    fragments = body_fragments + 2;
    paced = !strcmp(mode, "paced");
}

int main(int argc, char **argv) {
    long events = 1000, k = 32;
    size_t bytes = 262;
    double itl = 0.02, ttft = 0;
    if (argc < 2) { fprintf(stderr, "usage: limit MODE [--events N] [--bytes B] [--coalesce K] [--itl S] [--ttft S]\n"); return 2; }
    for (int i = 2; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--events")) events = atol(argv[i + 1]);
        else if (!strcmp(argv[i], "--bytes")) bytes = atol(argv[i + 1]);
        else if (!strcmp(argv[i], "--coalesce")) k = atol(argv[i + 1]);
        else if (!strcmp(argv[i], "--itl")) itl = atof(argv[i + 1]);
        else if (!strcmp(argv[i], "--ttft")) ttft = atof(argv[i + 1]);
        else { fprintf(stderr, "limit: unknown option %s\n", argv[i]); return 2; }
    }
    if (events < 1 || k < 1) { fprintf(stderr, "limit: --events and --coalesce are at least 1\n"); return 2; }
    itl_ns = itl * 1e9;
    ttft_ns = ttft * 1e9;
    build(argv[1], events, bytes, k);
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (void *)&at, size) || listen(listener, 4096)) die("listen");
    if (getsockname(listener, (void *)&at, &size)) die("getsockname");
    ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e)) die("epoll");
    printf("limit listening on http://127.0.0.1:%d\n", ntohs(at.sin_port));
    fflush(stdout);
    serve();
}
