#define _GNU_SOURCE
#include "upstream.h"

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/span.h"
#include "init/init.h"

/* #syscalls: socket connect pread64 */

enum { FRESH_MS = 2000, ANSWER_MS = 1000, TEXT_MAX = 4096 };

static bool address_read(struct span text, uint8_t out[16])
{
	char copy[INET6_ADDRSTRLEN];

	memset(out, 0, 16);
	if (span_copy(copy, sizeof(copy), text) < 0)
		return false;
	if (inet_pton(AF_INET6, copy, out) == 1)
		return true;
	out[10] = out[11] = 0xff;
	return inet_pton(AF_INET, copy, out + 12) == 1;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* ADDRESS or ADDRESS%LINK, that by its number, as routers tell their own. */
static void server_read(struct upstream *u, struct span text)
{
	struct span address = { 0 };
	uint64_t scope = 0;

	if (u->n == UPSTREAM_MAX)
		return;
	if (span_cut(&text, '%', &address) && text.size &&
	    span_u64(text, UINT32_MAX, &scope) < 0)
		return;
	if (!address_read(address, u->address[u->n]))
		return;
	u->scope[u->n++] = (uint32_t)scope;
}

static void line_read(struct upstream *u, struct span line)
{
	static const char word[] = "nameserver";
	size_t n = sizeof(word) - 1;

	if (line.size <= n || memcmp(line.data, word, n) != 0 ||
	    !is_space(line.data[n]))
		return;
	while (n < line.size && is_space(line.data[n]))
		n++;
	line = (struct span){ line.data + n, line.size - n };
	for (n = 0; n < line.size && !is_space(line.data[n]);)
		n++;
	line.size = n;
	server_read(u, line);
}

void upstream_read(struct upstream *u, const char *text, size_t size)
{
	struct span rest = { text, size }, line;

	u->n = 0;
	while (span_cut(&rest, '\n', &line))
		line_read(u, line);
}

/* init always answers, so this waits for no longer than a system call of its
 * takes; the time-out is for one that is being replaced. */
static int file_get(void)
{
	const struct init_request request = {
		.head = { sizeof(request), INIT_NAMES },
	};
	autoclose int sock = ipc_connect("init");
	struct ipc_fds fds = { 0 };
	struct init_reply reply;
	int r = sock < 0 ? sock
			 : ipc_call(sock, &request, sizeof(request), NULL, 0,
				    &reply, sizeof(reply), &fds, ANSWER_MS);

	if (r == 0)
		r = reply.error;
	if (r == 0)
		r = ipc_fds_take(&fds, 0);
	ipc_fds_close(&fds);
	return r;
}

const struct upstream *upstream_get(void)
{
	static struct upstream now;
	static uint64_t read_ms;
	static char text[TEXT_MAX];

	if (read_ms && clock_ms() - read_ms < FRESH_MS)
		return &now;
	autoclose int fd = file_get();
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text), 0);

	if (n < 0)
		log_warning("name servers", "init does not tell them");
	upstream_read(&now, text, n < 0 ? 0 : (size_t)n);
	read_ms = clock_ms();
	return &now;
}
