/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's load that checks itself, for checkpoints at any moment.
 *
 *	load run DIRECTORY	until DIRECTORY/stop is there; says "good", or "wrong: ..." and ends
 *with 1 load check DIRECTORY	on the host, afterwards: the files that it left are as it wrote them
 *
 * Each worker is a process (or several) that does one kind of thing for ever, knows what must come
 *of it, and counts its turns; DIRECTORY/progress holds the counts, so that one that hangs is seen.
 * Statically linked. The database workers run /bin/sqlite3.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_WORKERS 32
#define FILES	    8U
#define FILE_MAX    150000U
#define RECORD_MAX  3000U
#define NSEC	    1000000000LL
#define PERIOD_NS   20000000LL

struct shared {
	atomic_uint turns[MAX_WORKERS];
	atomic_bool stop, wrong;
};

static struct shared *shared;
static const char *worker = "main";
static unsigned worker_no;

static void wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

static void wrong(const char *fmt, ...)
{
	char text[500];
	int n = snprintf(text, sizeof(text), "wrong: %s, turn %u: ", worker,
			 atomic_load(&shared->turns[worker_no]));
	va_list ap;

	va_start(ap, fmt);
	n += vsnprintf(text + n, sizeof(text) - (size_t)n - 2, fmt, ap);
	va_end(ap);
	text[n++] = '\n';
	if (write(2, text, (size_t)n) < 0)
		_exit(2);
	atomic_store(&shared->wrong, true);
	_exit(1);
}

static void must(bool ok, const char *what)
{
	if (!ok)
		wrong("%s: %s", what, strerror(errno));
}

static bool turn(void)
{
	atomic_fetch_add(&shared->turns[worker_no], 1);
	return !atomic_load(&shared->stop);
}

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

/* Bytes that only @seed decides. */
static void fill(uint8_t *p, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++) {
		if (i % 8 == 0)
			seed = mix(seed);
		p[i] = (uint8_t)(seed >> (i % 8 * 8));
	}
}

static void read_full(int fd, uint8_t *p, size_t len, const char *what)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = read(fd, p + got, len - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			wrong("%s: ends after %zu of %zu", what, got, len);
		must(n > 0, what);
		got += (size_t)n;
	}
}

static void write_full(int fd, const uint8_t *p, size_t len, const char *what)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, p + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		must(n > 0, what);
		done += (size_t)n;
	}
}

/* ---- files ---- */

/* A file's name says what it holds: w<worker>.<slot>.<seed>; its length follows from the seed. */
static size_t file_len(uint64_t seed)
{
	return mix(seed ^ 0x1234) % FILE_MAX;
}

static void file_is(int fd, uint64_t seed, const char *what)
{
	static uint8_t got[FILE_MAX], want[FILE_MAX];
	size_t len = file_len(seed);
	struct stat st;

	must(fstat(fd, &st) == 0, what);
	if ((size_t)st.st_size != len)
		wrong("%s: %lld bytes, not %zu", what, (long long)st.st_size, len);
	fill(want, len, seed);
	must(lseek(fd, 0, SEEK_SET) == 0, what);
	read_full(fd, got, len, what);
	for (size_t i = 0; i < len; i++)
		if (got[i] != want[i])
			wrong("%s: byte %zu of %zu is %02x, not %02x", what, i, len, got[i],
			      want[i]);
}

/* Written in pieces under another name, renamed, read again; some stay open after they were
 * replaced. */
static void files(void)
{
	static uint8_t buf[FILE_MAX];
	struct {
		uint64_t seed;
		int fd;
	} slots[FILES];
	char name[64], tmp[64];

	memset(slots, -1, sizeof(slots));
	for (uint64_t n = 0; turn(); n++) {
		uint64_t seed = (uint64_t)worker_no << 32 | n;
		size_t len = file_len(seed);
		unsigned s = n % FILES;

		if (slots[s].fd >= 0) {
			snprintf(name, sizeof(name), "w%u.%u.%llu", worker_no, s,
				 (unsigned long long)slots[s].seed);
			must(unlink(name) == 0, "unlink");
			file_is(slots[s].fd, slots[s].seed, "an unlinked file");
			close(slots[s].fd);
		}
		snprintf(tmp, sizeof(tmp), "tmp%u", worker_no);
		snprintf(name, sizeof(name), "w%u.%u.%llu", worker_no, s, (unsigned long long)seed);
		slots[s].fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
		slots[s].seed = seed;
		must(slots[s].fd >= 0, "create");
		fill(buf, len, seed);
		for (size_t at = 0; at < len;) {
			size_t piece = 1 + mix(seed + at) % 30000;

			if (piece > len - at)
				piece = len - at;
			write_full(slots[s].fd, buf + at, piece, "write");
			at += piece;
		}
		if (n % 4 == 0)
			must(fsync(slots[s].fd) == 0, "fsync");
		must(rename(tmp, name) == 0, "rename");
		int fd = open(name, O_RDONLY | O_CLOEXEC);

		must(fd >= 0, "open again");
		file_is(fd, seed, "a new file");
		close(fd);
	}
}

/* Directories with names in them: all seen, by readdir and by the link count; then gone. */
static void trees(void)
{
	char name[80], other[80];

	for (unsigned n = 0; turn(); n++) {
		snprintf(name, sizeof(name), "tree.%u", n);
		must(mkdir(name, 0755) == 0, "mkdir");
		unsigned want = 1 + (unsigned)(mix(n) % 40), got = 0;

		for (unsigned i = 0; i < want; i++) {
			snprintf(name, sizeof(name), "tree.%u/first", n);
			snprintf(other, sizeof(other), "tree.%u/name%u", n, i);
			must(i ? link(name, other) == 0
			       : close(open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) == 0,
			     other);
		}
		struct stat st;

		must(stat(name, &st) == 0, name);
		if (st.st_nlink != want)
			wrong("%u links, not %u", (unsigned)st.st_nlink, want);
		snprintf(name, sizeof(name), "tree.%u", n);
		snprintf(other, sizeof(other), "moved.%u", n);
		must(rename(name, other) == 0, "rename a directory");
		DIR *d = opendir(other);

		must(d != NULL, other);
		for (struct dirent *e; (e = readdir(d)) != NULL;) {
			if (e->d_name[0] == '.')
				continue;
			must(unlinkat(dirfd(d), e->d_name, 0) == 0, e->d_name);
			got++;
		}
		closedir(d);
		if (got != want)
			wrong("%u names, not %u", got, want);
		must(rmdir(other) == 0, "rmdir");
	}
}

/* A shared mapping and the file behind it are one. */
static void mapping(void)
{
	int fd = open("mapped", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	const size_t words = 4096;
	uint64_t got;

	must(fd >= 0 && ftruncate(fd, (off_t)(words * 8)) == 0, "mapped");
	volatile uint64_t *p = mmap(NULL, words * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	must(p != MAP_FAILED, "mmap");
	for (uint64_t n = 0; turn(); n++) {
		size_t i = n * 509 % words;

		if (n >= words && p[i] != mix(n - words))
			wrong("word %zu", i);
		p[i] = mix(n);
		must(pread(fd, &got, 8, (off_t)(i * 8)) == 8, "read what is mapped");
		if (got != mix(n))
			wrong("word %zu of the file", i);
		if (n % 64 == 0) {
			must(msync((void *)p, words * 8, MS_SYNC) == 0, "msync");
			usleep(20000);
		}
	}
}

/* ---- streams ---- */

static void send_records(int fd)
{
	uint8_t buf[8 + RECORD_MAX];

	for (uint64_t n = 0;; n++) {
		size_t len = mix(n) % RECORD_MAX;

		memcpy(buf, &n, 8);
		fill(buf + 8, len, n);
		write_full(fd, buf, 8 + len, "send");
	}
}

static void receive_records(int in, int out)
{
	uint8_t buf[RECORD_MAX], want[RECORD_MAX];
	pid_t pid = fork();

	if (pid == 0) {
		close(in);
		send_records(out);
	}
	close(out);
	for (uint64_t n = 0, got; turn(); n++) {
		size_t len = mix(n) % RECORD_MAX;

		read_full(in, (uint8_t *)&got, 8, "receive");
		if (got != n)
			wrong("record %llu instead of %llu", (unsigned long long)got,
			      (unsigned long long)n);
		read_full(in, buf, len, "receive");
		fill(want, len, n);
		if (memcmp(buf, want, len) != 0)
			wrong("record %llu is damaged", (unsigned long long)n);
		if (n % 8 == 0)
			usleep(10000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void pipes(void)
{
	int p[2];

	must(pipe(p) == 0, "pipe");
	receive_records(p[0], p[1]);
}

static void sockets(void)
{
	int p[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, p) == 0, "socketpair");
	receive_records(p[0], p[1]);
}

static void tcp(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0), out = socket(AF_INET, SOCK_STREAM, 0);

	must(bind(l, (struct sockaddr *)&a, len) == 0 && listen(l, 1) == 0, "listen");
	must(getsockname(l, (struct sockaddr *)&a, &len) == 0, "getsockname");
	must(connect(out, (struct sockaddr *)&a, len) == 0, "connect");
	int in = accept(l, NULL, NULL);

	must(in >= 0, "accept");
	receive_records(in, out);
}

/* ---- time ---- */

static int64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	must(clock_gettime(clock, &ts) == 0, "clock_gettime");
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

/* Each period once, none too early, none twice. */
static void periods(void)
{
	const struct itimerspec its = { .it_value = { .tv_nsec = PERIOD_NS },
					.it_interval = { .tv_nsec = PERIOD_NS } };
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	int64_t before = now_ns(CLOCK_MONOTONIC);
	int64_t total = 0, last = 0;

	must(fd >= 0 && timerfd_settime(fd, 0, &its, NULL) == 0, "timerfd");
	int64_t after = now_ns(CLOCK_MONOTONIC);

	while (turn()) {
		int64_t asked = now_ns(CLOCK_MONOTONIC);
		uint64_t n;

		must(read(fd, &n, 8) == 8, "read timerfd");
		total += (int64_t)n;
		int64_t got = now_ns(CLOCK_MONOTONIC);

		if (got < asked || asked < last)
			wrong("the clock goes back: %lld %lld %lld", (long long)last,
			      (long long)asked, (long long)got);
		last = got;
		if (total > (got - before) / PERIOD_NS)
			wrong("%lld periods in %lld ns", (long long)total,
			      (long long)(got - before));
		if (total < (asked - after) / PERIOD_NS)
			wrong("only %lld periods in %lld ns", (long long)total,
			      (long long)(asked - after));
	}
}

static atomic_uint alarms;

static void on_alarm(int signo)
{
	(void)signo;
	atomic_fetch_add(&alarms, 1);
}

/* Sleeps are never short; a one-shot timer fires once. */
static void sleeps(void)
{
	signal(SIGALRM, on_alarm);
	for (unsigned n = 0; turn(); n++) {
		int64_t want = (int64_t)(mix(n) % 50000000);
		struct itimerval once = { .it_value = { .tv_usec =
								(suseconds_t)(1 + want / 1000) } };
		struct timespec ts = { .tv_nsec = want };
		int64_t from = now_ns(CLOCK_MONOTONIC);

		while (nanosleep(&ts, &ts) < 0)
			must(errno == EINTR, "nanosleep");
		if (now_ns(CLOCK_MONOTONIC) - from < want)
			wrong("%lld ns instead of %lld",
			      (long long)(now_ns(CLOCK_MONOTONIC) - from), (long long)want);
		atomic_store(&alarms, 0);
		must(setitimer(ITIMER_REAL, &once, NULL) == 0, "setitimer");
		from = now_ns(CLOCK_MONOTONIC);
		while (!atomic_load(&alarms) && now_ns(CLOCK_MONOTONIC) - from < 60 * NSEC)
			usleep(3000);
		usleep(3000);
		if (atomic_load(&alarms) != 1)
			wrong("%u alarms", atomic_load(&alarms));
	}
}

/* ---- processes ---- */

static void children(void)
{
	for (unsigned n = 0; turn(); n++) {
		pid_t pids[6];

		for (unsigned i = 0; i < 6; i++) {
			char text[16];

			snprintf(text, sizeof(text), "%u", (n + i) % 100);
			pids[i] = fork();
			must(pids[i] >= 0, "fork");
			if (pids[i] == 0) {
				if (i % 2)
					execl("/proc/self/exe", "load", "exit", text, (char *)NULL);
				_exit((int)(i % 2 ? 127 : (n + i) % 100));
			}
		}
		for (unsigned i = 0; i < 6; i++) {
			int status;

			must(waitpid(pids[i], &status, 0) == pids[i], "waitpid");
			if (!WIFEXITED(status) || (unsigned)WEXITSTATUS(status) != (n + i) % 100)
				wrong("status %x of child %u", (unsigned)status, i);
		}
	}
}

/* Queued signals: all, in order. */
static void signals(void)
{
	sigset_t set;
	siginfo_t info;
	pid_t parent = getpid(), pid;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	pid = fork();
	if (pid == 0) {
		for (int n = 0;; n++) {
			while (sigqueue(parent, SIGRTMIN, (union sigval){ .sival_int = n }) < 0)
				usleep(10000);
			if (n % 8 == 0)
				usleep(10000);
		}
	}
	for (int n = 0; turn(); n++) {
		while (sigwaitinfo(&set, &info) < 0)
			must(errno == EINTR, "sigwaitinfo");
		if (info.si_int != n)
			wrong("signal %d instead of %d", info.si_int, n);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long guarded;

static void *add(void *opaque)
{
	(void)opaque;
	for (int i = 0; i < 500; i++) {
		pthread_mutex_lock(&lock);
		guarded++;
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void threads(void)
{
	while (turn()) {
		pthread_t t[4];

		guarded = 0;
		for (int i = 0; i < 4; i++)
			must(pthread_create(&t[i], NULL, add, NULL) == 0, "pthread_create");
		for (int i = 0; i < 4; i++)
			pthread_join(t[i], NULL);
		if (guarded != 4 * 500)
			wrong("%lu additions", guarded);
		usleep(10000);
	}
}

/* Registers of both floating-point units: the same sum each time. */
static void numbers(void)
{
	double first = 0;
	long double first_x87 = 0;

	while (turn()) {
		double a = 1, b = 0.5, c = 3;
		long double x = 1;

		for (int i = 1; i < 10000; i++) {
			a += b / i;
			b = b * 1.0000001 + c * 1e-9;
			c -= a * 1e-8;
			x += 1.0L / ((long double)i * i);
		}
		if (first == 0) {
			first = a;
			first_x87 = x;
		}
		if (memcmp(&a, &first, 8) != 0 || memcmp(&x, &first_x87, 10) != 0)
			wrong("%.17g and %.20Lg, not %.17g and %.20Lg", a, x, first, first_x87);
		usleep(10000);
	}
}

/* ---- four writers, two databases ---- */

struct database {
	int to, from;
	pid_t pid;
};

static void database_open(struct database *db, const char *file)
{
	int in[2], out[2];

	must(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0, "pipe");
	db->pid = fork();
	if (db->pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execl("/bin/sqlite3", "sqlite3", "-batch", file, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	*db = (struct database){ .to = in[1], .from = out[0], .pid = db->pid };
	write_full(db->to, (const uint8_t *)".timeout 120000\n", 16, "sqlite3");
}

static void database_close(struct database *db)
{
	int status;

	close(db->to);
	must(waitpid(db->pid, &status, 0) == db->pid, "waitpid");
	close(db->from);
	if (status)
		wrong("sqlite3 ended with %x", (unsigned)status);
}

/* One line of an answer. */
static void database_gives(struct database *db, const char *want, const char *sql)
{
	char got[200];
	size_t n = 0;

	write_full(db->to, (const uint8_t *)sql, strlen(sql), "sqlite3");
	do
		read_full(db->from, (uint8_t *)got + n, 1, "sqlite3");
	while (got[n] != '\n' && ++n < sizeof(got) - 1);
	got[n] = 0;
	if (strcmp(got, want) != 0)
		wrong("'%s', not '%s', of %s", got, want, sql);
}

/* What was committed is there, once. */
static void database_turn(struct database *db, unsigned n)
{
	char sql[500], want[64];

	snprintf(sql, sizeof(sql),
		 "BEGIN IMMEDIATE; INSERT INTO t VALUES (%u, %u, hex(randomblob(400)));"
		 "UPDATE sum SET n = n + 1; COMMIT;"
		 "SELECT count(*), max(n), min(length(x)) FROM t WHERE w = %u;\n",
		 worker_no, n, worker_no);
	snprintf(want, sizeof(want), "%u|%u|800", n, n);
	database_gives(db, want, sql);
	if (n % 16 == 0)
		database_gives(
			db, "ok|0",
			"SELECT integrity_check, (SELECT n FROM sum) - (SELECT count(*) FROM t)"
			" FROM pragma_integrity_check;\n");
}

static void writer(void)
{
	struct database journal, wal;

	database_open(&journal, "journal.db");
	database_open(&wal, "wal.db");
	for (unsigned n = 1; turn(); n++) {
		database_turn(&journal, n);
		database_turn(&wal, n);
	}
	database_close(&journal);
	database_close(&wal);
}

static void make_database(const char *file, const char *mode)
{
	struct database db;
	char sql[200];

	snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s;\n", mode);
	database_open(&db, file);
	database_gives(&db, mode, sql);
	database_gives(&db, "1",
		       "CREATE TABLE t (w, n, x); CREATE TABLE sum (n); INSERT INTO sum VALUES (0);"
		       "SELECT count(*) FROM sum;\n");
	database_close(&db);
}

/* ---- all together ---- */

static const struct {
	const char *name;
	void (*run)(void);
} workers[] = {
	{ "files", files },	  { "files2", files },	  { "trees", trees },
	{ "mapping", mapping },	  { "pipes", pipes },	  { "sockets", sockets },
	{ "tcp", tcp },		  { "periods", periods }, { "sleeps", sleeps },
	{ "children", children }, { "signals", signals }, { "threads", threads },
	{ "numbers", numbers },	  { "writer1", writer },  { "writer2", writer },
	{ "writer3", writer },	  { "writer4", writer },
};
#define N_WORKERS (sizeof(workers) / sizeof(workers[0]))

static void write_progress(void)
{
	FILE *f = fopen("progress.new", "w");

	must(f != NULL, "progress");
	for (unsigned i = 0; i < N_WORKERS; i++)
		fprintf(f, "%s %u\n", workers[i].name, atomic_load(&shared->turns[i]));
	must(fclose(f) == 0 && rename("progress.new", "progress") == 0, "progress");
}

static int run(void)
{
	pid_t pids[N_WORKERS];
	int status, n_bad = 0;

	make_database("journal.db", "delete");
	make_database("wal.db", "wal");
	for (unsigned i = 0; i < N_WORKERS; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			worker = workers[i].name;
			worker_no = i;
			workers[i].run();
			_exit(0);
		}
	}
	while (access("stop", F_OK) < 0 && !atomic_load(&shared->wrong)) {
		write_progress();
		usleep(200000);
	}
	atomic_store(&shared->stop, true);
	for (unsigned i = 0; i < N_WORKERS; i++) {
		must(waitpid(pids[i], &status, 0) == pids[i], "waitpid");
		n_bad += status != 0;
	}
	write_progress();
	printf("%s\n", n_bad ? "wrong" : "good");
	return n_bad != 0;
}

static int check(void)
{
	unsigned long long no, slot, seed, n = 0;
	DIR *d = opendir(".");

	must(d != NULL, "opendir");
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		if (strncmp(e->d_name, "tree.", 5) == 0 || strncmp(e->d_name, "moved.", 6) == 0 ||
		    strncmp(e->d_name, "tmp", 3) == 0)
			wrong("'%s' is left", e->d_name);
		if (sscanf(e->d_name, "w%llu.%llu.%llu", &no, &slot, &seed) != 3)
			continue;
		int fd = open(e->d_name, O_RDONLY | O_CLOEXEC);

		must(fd >= 0, e->d_name);
		file_is(fd, seed, e->d_name);
		close(fd);
		n++;
	}
	closedir(d);
	printf("%llu files as written\n", n);
	return n != 2ULL * FILES;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "exit") == 0)
		return atoi(argv[2]);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (argc != 3 || shared == MAP_FAILED || chdir(argv[2]) < 0) {
		fprintf(stderr, "usage: load run|check DIRECTORY\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	return strcmp(argv[1], "run") == 0 ? run() : check();
}
