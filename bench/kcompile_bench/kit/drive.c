/* Drives connections and requests, and answers them: the part of the bench kit that has to be faster than Python.
 *
 *   drive serve PORT [lazy] [CPU]                       answer until stdin ends; a line on stdin asks for an account
 *   drive connect HOST PORT FROM CPU FIRST COUNT WARMUP SPIN
 *                                                       blocking connect() one after the other, timed by the wall clock
 *   drive load HOST PORT FROM CPU CONCURRENCY SECONDS WARMUP RATE KEEPALIVE SPIN
 *                                                       requests in a closed loop (RATE 0), or open: RATE a second
 *   drive wait HOST PORT FROM CPU SECONDS               until the first connection that succeeds
 *
 * FROM is the source address; CPU is the one to stay on (-1: any). SPIN nanoseconds are burnt inside each timed connect or request:
 * a slowdown of known size, to show that the statistics find it. Every answer is one line of JSON; times are in nanoseconds. A latency
 * at a rate counts from the instant at which the request was due, so that a stall is charged to every request that it held up.
 * Connections end by RST: nothing lingers in TIME_WAIT. Histograms are HdrHistogram's with two significant digits (histogram.py).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define SLOTS 4096
#define HALF 128 /* sub-buckets in a bucket: values are kept to 1 part in 128 */
#define BUCKETS (58 * HALF)
#define SECOND 1000000000LL
#define FIRST_SOURCE_PORT 1024
#define SOURCE_PORTS 28000 /* below 30000, where NodePorts begin: a node's own source port must not look like one */
#define PORT_STRIDE 7919
#define MAX_FAILURES 1000
#define MAX_CONNECT_FAILURES 4 /* in a block: nobody is there */
#define CONNECT_SECONDS 3
#define GRACE (SECOND / 5)

struct end {
	struct sockaddr_storage address;
	socklen_t size;
};

static uint32_t histogram[BUCKETS];

static void die(const char *what)
{
	fprintf(stderr, "drive: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static void spin(int64_t ns)
{
	int64_t end = now(CLOCK_MONOTONIC) + ns;
	while (ns > 0 && now(CLOCK_MONOTONIC) < end)
		;
}

static void pin(int cpu)
{
	cpu_set_t set;
	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set))
		die("sched_setaffinity");
}

static struct end parse(const char *host, int port)
{
	struct end end = {0};
	struct sockaddr_in *v4 = (void *)&end.address;
	struct sockaddr_in6 *v6 = (void *)&end.address;
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		end.size = sizeof *v4;
	} else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		end.size = sizeof *v6;
	} else {
		errno = EINVAL;
		die(host);
	}
	return end;
}

static int open_socket(const struct end *from, int flags)
{
	struct linger rst = {1, 0};
	int on = 1, fd = socket(from->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &rst, sizeof rst);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	if (bind(fd, (void *)&from->address, from->size)) {
		if (errno != EADDRINUSE)
			die("bind");
		close(fd);
		return -1;
	}
	return fd;
}

static void count(int64_t value)
{
	int shift = 0;
	if (value < 0)
		value = 0;
	while (value >> shift >= 2 * HALF)
		shift++;
	int index = shift * HALF + (int)(value >> shift);
	if (index < BUCKETS)
		histogram[index]++;
}

static void print_histogram(void)
{
	const char *comma = "";
	printf("\"histogram\":[");
	for (int i = 0; i < BUCKETS; i++)
		if (histogram[i]) {
			printf("%s[%d,%u]", comma, i, histogram[i]);
			comma = ",";
		}
	printf("]");
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static int64_t rank(const int64_t *sorted, int count, double q)
{
	int i = (int)(q * count);
	return count ? sorted[i < count ? i : count - 1] : 0;
}

static struct tcp_info info_of(int fd)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof info;
	getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size);
	return info;
}

/* --- connect ------------------------------------------------------------------------------------------------------- */

static void connect_all(struct end to, struct end from, int first, int wanted, int warmup, int64_t burn)
{
	int64_t *times = calloc(wanted + 1, sizeof *times), *rtts = calloc(wanted + 1, sizeof *rtts);
	struct timeval patience = {CONNECT_SECONDS, 0};
	int done = 0, failures = 0, retransmits = 0, last_error = 0;
	in_port_t *port = from.address.ss_family == AF_INET ? &((struct sockaddr_in *)&from.address)->sin_port
							    : &((struct sockaddr_in6 *)&from.address)->sin6_port;
	for (int i = 0; i < wanted + warmup; i++) {
		*port = htons(FIRST_SOURCE_PORT + (int)((int64_t)(first + i) * PORT_STRIDE % SOURCE_PORTS));
		int fd = open_socket(&from, 0);
		if (fd < 0)
			continue; /* somebody else has the port: the next one will do */
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
		int64_t start = now(CLOCK_MONOTONIC);
		int failed = connect(fd, (void *)&to.address, to.size);
		spin(burn);
		int64_t took = now(CLOCK_MONOTONIC) - start;
		if (i >= warmup && failed) {
			last_error = errno;
			if (++failures >= MAX_CONNECT_FAILURES)
				i = wanted + warmup;
		} else if (i >= warmup) {
			struct tcp_info info = info_of(fd);
			retransmits += info.tcpi_total_retrans;
			rtts[done] = (int64_t)info.tcpi_rtt * 1000;
			times[done++] = took;
			count(took);
		}
		close(fd);
	}
	qsort(times, done, sizeof *times, compare);
	qsort(rtts, done, sizeof *rtts, compare);
	printf("{\"count\":%d,\"failures\":%d,\"retransmits\":%d,\"error\":\"%s\",\"p10\":%lld,\"p50\":%lld,\"p99\":%lld,\"rtt\":%lld,", done,
	       failures, retransmits, failures ? strerror(last_error) : "", (long long)rank(times, done, 0.1), (long long)rank(times, done, 0.5),
	       (long long)rank(times, done, 0.99), (long long)rank(rtts, done, 0.5));
	print_histogram();
	printf("}\n");
}

/* --- load ---------------------------------------------------------------------------------------------------------- */

enum state { IDLE, CONNECTING, WAITING };

struct slot {
	int fd;
	enum state state;
	int64_t due;
};

struct load {
	struct end to, from;
	int concurrency, keepalive, epoll;
	int64_t begin, end, period, burn; /* counting begins at `begin` */
	long done, failures, retransmits, connections;
	int last_error;
	struct slot slots[SLOTS];
};

static void drop(struct load *l, struct slot *s)
{
	if (s->fd >= 0) {
		l->retransmits += info_of(s->fd).tcpi_total_retrans;
		close(s->fd);
	}
	s->fd = -1;
	s->state = IDLE;
}

static void fail(struct load *l, struct slot *s, int error)
{
	if (s->due >= l->begin)
		l->failures++;
	l->last_error = error;
	drop(l, s);
}

static void ask(struct load *l, struct slot *s)
{
	s->state = WAITING;
	if (send(s->fd, "x", 1, MSG_NOSIGNAL) != 1)
		fail(l, s, errno);
}

static void begin(struct load *l, struct slot *s, int64_t due)
{
	s->due = due;
	if (s->fd >= 0) {
		ask(l, s);
		return;
	}
	s->fd = open_socket(&l->from, SOCK_NONBLOCK);
	if (s->fd < 0) {
		fail(l, s, EADDRINUSE);
		return;
	}
	if (due >= l->begin)
		l->connections++;
	s->state = CONNECTING;
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = s};
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, s->fd, &event))
		die("epoll_ctl");
	if (connect(s->fd, (void *)&l->to.address, l->to.size) && errno != EINPROGRESS)
		fail(l, s, errno);
}

static void happens(struct load *l, struct slot *s, uint32_t events)
{
	char answer[16];
	if (s->fd >= 0 && s->state == CONNECTING && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
		int error = 0;
		socklen_t size = sizeof error;
		getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size);
		if (error) {
			fail(l, s, error);
			return;
		}
		ask(l, s);
		return;
	}
	if (s->fd < 0 || !(events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
		return;
	ssize_t got = recv(s->fd, answer, sizeof answer, MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0 || s->state != WAITING) {
		fail(l, s, got < 0 ? errno : ECONNRESET);
		return;
	}
	spin(l->burn);
	if (s->due >= l->begin) {
		count(now(CLOCK_MONOTONIC) - s->due);
		l->done++;
	}
	if (l->keepalive)
		s->state = IDLE;
	else
		drop(l, s);
}

static void run_load(struct load *l, double seconds, double warmup, double rate)
{
	struct epoll_event events[EVENTS];
	int64_t start = now(CLOCK_MONOTONIC), due = start, cpu = 0, clock = start;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	l->begin = start + (int64_t)(warmup * SECOND);
	l->end = l->begin + (int64_t)(seconds * SECOND);
	l->period = rate > 0 ? (int64_t)(SECOND / rate) : 0;
	for (int i = 0; i < l->concurrency; i++)
		l->slots[i].fd = -1;
	while (clock < l->end + GRACE && l->failures < MAX_FAILURES) {
		int busy = 0;
		if (!cpu && clock >= l->begin)
			cpu = now(CLOCK_PROCESS_CPUTIME_ID);
		for (int i = 0; i < l->concurrency; i++) {
			struct slot *s = &l->slots[i];
			if (s->state == IDLE && (l->period ? due <= clock && due < l->end : clock < l->end)) {
				begin(l, s, l->period ? due : now(CLOCK_MONOTONIC));
				due += l->period;
			}
			busy += s->state != IDLE;
		}
		if (!busy && clock >= l->end && (!l->period || due >= l->end))
			break;
		int ready = epoll_wait(l->epoll, events, EVENTS, l->period ? 0 : busy ? 20 : 0);
		for (int i = 0; i < ready; i++)
			happens(l, events[i].data.ptr, events[i].events);
		clock = now(CLOCK_MONOTONIC);
	}
	cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	long unanswered = 0;
	for (int i = 0; i < l->concurrency; i++)
		if (l->slots[i].state != IDLE && l->slots[i].due >= l->begin) {
			unanswered++;
			drop(l, &l->slots[i]);
		}
	if (l->period && due < l->end) /* due, and never sent: no connection was free for it */
		unanswered += (l->end - (due > l->begin ? due : l->begin)) / l->period;
	double measured = (clock < l->end ? clock - l->begin : l->end - l->begin) / (double)SECOND;
	printf("{\"count\":%ld,\"failures\":%ld,\"unanswered\":%ld,\"retransmits\":%ld,\"connections\":%ld,\"error\":\"%s\",\"seconds\":%.6f,"
	       "\"client_cpu\":%lld,",
	       l->done, l->failures, unanswered, l->retransmits, l->connections, l->last_error ? strerror(l->last_error) : "", measured,
	       (long long)cpu);
	print_histogram();
	printf("}\n");
}

/* --- wait ---------------------------------------------------------------------------------------------------------- */

static int wait_for(struct end to, struct end from, double seconds)
{
	int64_t end = now(CLOCK_MONOTONIC) + (int64_t)(seconds * SECOND);
	long attempts = 0;
	while (now(CLOCK_MONOTONIC) < end) {
		int fd = open_socket(&from, SOCK_NONBLOCK), error = 0;
		socklen_t size = sizeof error;
		struct pollfd ready = {.fd = fd, .events = POLLOUT};
		attempts++;
		if (!connect(fd, (void *)&to.address, to.size) || (errno == EINPROGRESS && poll(&ready, 1, 5) == 1 &&
								   !getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) && !error)) {
			printf("{\"at\":%lld,\"attempts\":%ld}\n", (long long)now(CLOCK_MONOTONIC), attempts);
			return 0;
		}
		close(fd);
		usleep(200);
	}
	printf("{\"at\":0,\"attempts\":%ld}\n", attempts);
	return 0;
}

/* --- serve --------------------------------------------------------------------------------------------------------- */

static const char page[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static int listen_on(int port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	int on = 1, off = 0, fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), v6 = fd >= 0;
	if (!v6)
		fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (v6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	if (bind(fd, v6 ? (void *)&any : (void *)&any4, v6 ? sizeof any : sizeof any4) || listen(fd, 65535))
		die("listen");
	return fd;
}

static void serve(int port, int lazy)
{
	struct epoll_event events[EVENTS], event = {.events = EPOLLIN};
	int epoll = epoll_create1(EPOLL_CLOEXEC), listener = listen_on(port), on = 1;
	long accepted = 0;
	char buffer[4096];
	event.data.fd = STDIN_FILENO;
	epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
	event.data.fd = listener;
	if (!lazy) /* a lazy server lets the kernel complete handshakes, and accepts when it is asked for its account */
		epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	printf("{\"port\":%d}\n", port);
	fflush(stdout);
	for (;;) {
		int ready = epoll_wait(epoll, events, EVENTS, -1);
		for (int i = 0; i < ready; i++) {
			int fd = events[i].data.fd;
			if (fd == STDIN_FILENO || fd == listener) {
				ssize_t asked = fd == STDIN_FILENO ? read(fd, buffer, sizeof buffer) : 0;
				int connection;
				if (fd == STDIN_FILENO && asked <= 0)
					return;
				while ((connection = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
					accepted++;
					if (lazy) {
						close(connection);
						continue;
					}
					setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
					event.data.fd = connection;
					epoll_ctl(epoll, EPOLL_CTL_ADD, connection, &event);
				}
				if (asked > 0) {
					printf("{\"cpu\":%lld,\"accepted\":%ld}\n", (long long)now(CLOCK_PROCESS_CPUTIME_ID), accepted);
					fflush(stdout);
				}
				continue;
			}
			ssize_t got = recv(fd, buffer, sizeof buffer, 0);
			if (got < 0 && errno == EAGAIN)
				continue;
			int http = got > 0 && buffer[0] == 'G';
			if (got <= 0 || send(fd, http ? page : buffer, http ? sizeof page - 1 : (size_t)got, MSG_NOSIGNAL) < 0)
				close(fd);
		}
	}
}

int main(int argc, char **argv)
{
	if (argc >= 3 && !strcmp(argv[1], "serve")) {
		int lazy = argc > 3 && !strcmp(argv[3], "lazy");
		pin(argc > 3 + lazy ? atoi(argv[3 + lazy]) : -1);
		serve(atoi(argv[2]), lazy);
		return 0;
	}
	if (argc < 6) {
		fprintf(stderr, "usage: drive serve|connect|load|wait ...\n");
		return 2;
	}
	struct end to = parse(argv[2], atoi(argv[3])), from = parse(argv[4], 0);
	pin(atoi(argv[5]));
	if (argc == 10 && !strcmp(argv[1], "connect")) {
		connect_all(to, from, atoi(argv[6]), atoi(argv[7]), atoi(argv[8]), atoll(argv[9]));
	} else if (argc == 12 && !strcmp(argv[1], "load")) {
		static struct load l;
		l.to = to, l.from = from, l.concurrency = atoi(argv[6]), l.keepalive = atoi(argv[10]), l.burn = atoll(argv[11]);
		if (l.concurrency < 1 || l.concurrency > SLOTS)
			return fprintf(stderr, "drive: concurrency: 1 to %d\n", SLOTS), 2;
		run_load(&l, atof(argv[7]), atof(argv[8]), atof(argv[9]));
	} else if (argc == 7 && !strcmp(argv[1], "wait")) {
		return wait_for(to, from, atof(argv[6]));
	} else {
		fprintf(stderr, "drive: wrong arguments\n");
		return 2;
	}
	return 0;
}
