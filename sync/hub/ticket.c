/* The value of ticket/keys is "SECONDS HEX\n" for each key, newest first;
 * SECONDS is when it was made. */
#define _GNU_SOURCE
#include "ticket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "base/log.h"

enum {
	ROTATE_S = 12 * 3600,
	LINE = 24 + 2 * TLS_TICKET_KEY_SIZE,
};

struct keys {
	uint8_t key[TLS_TICKET_KEYS_MAX][TLS_TICKET_KEY_SIZE];
	int64_t at[TLS_TICKET_KEYS_MAX];
	unsigned n;
};

static int hex_read(struct span text, uint8_t key[TLS_TICKET_KEY_SIZE])
{
	if (text.size != 2 * TLS_TICKET_KEY_SIZE)
		return -EINVAL;
	for (size_t i = 0; i < TLS_TICKET_KEY_SIZE; i++) {
		char pair[3] = { text.data[2 * i], text.data[2 * i + 1], 0 };
		char *end;

		key[i] = (uint8_t)strtoul(pair, &end, 16);
		if (*end)
			return -EINVAL;
	}
	return 0;
}

static void keys_load(struct store *store, struct keys *keys)
{
	autofree char *text = NULL;
	struct span rest, line, seconds;
	size_t size;

	if (store_get(store, "ticket/keys", &text, &size, NULL) < 0)
		return;
	rest = (struct span){ text, size };
	while (keys->n < TLS_TICKET_KEYS_MAX && span_cut(&rest, '\n', &line)) {
		uint64_t at;

		if (!span_cut(&line, ' ', &seconds) || !line.data ||
		    span_u64(seconds, INT64_MAX, &at) < 0 ||
		    hex_read(line, keys->key[keys->n]) < 0)
			break;
		keys->at[keys->n++] = (int64_t)at;
	}
	explicit_bzero(text, size);
}

static int keys_save(struct store *store, const struct keys *keys)
{
	char text[TLS_TICKET_KEYS_MAX * LINE + 1];
	size_t used = 0;
	int err;

	for (unsigned i = 0; i < keys->n; i++) {
		used += (size_t)sprintf(text + used, "%lld ",
					(long long)keys->at[i]);
		for (size_t j = 0; j < TLS_TICKET_KEY_SIZE; j++)
			used += (size_t)sprintf(text + used, "%02x",
						keys->key[i][j]);
		text[used++] = '\n';
	}
	err = store_put(store, "ticket/keys", (struct span){ text, used },
			STORE_ANY, NULL);
	explicit_bzero(text, sizeof(text));
	return err;
}

static void key_add(struct keys *keys)
{
	if (keys->n == TLS_TICKET_KEYS_MAX)
		keys->n--;
	memmove(keys->key[1], keys->key[0], keys->n * sizeof(keys->key[0]));
	memmove(&keys->at[1], &keys->at[0], keys->n * sizeof(keys->at[0]));
	wire_random(keys->key[0], sizeof(keys->key[0]));
	keys->at[0] = time(NULL);
	keys->n++;
}

int ticket_keys_refresh(struct hub *hub)
{
	struct keys keys = { .n = 0 };
	int err = 0;

	keys_load(hub->store, &keys);
	if (!keys.n || keys.at[0] + ROTATE_S <= time(NULL)) {
		key_add(&keys);
		err = keys_save(hub->store, &keys);
	}
	if (err == 0)
		err = tls_server_ticket_keys(
			hub->tls,
			(const uint8_t(*)[TLS_TICKET_KEY_SIZE])keys.key,
			keys.n);
	explicit_bzero(&keys, sizeof(keys));
	if (err < 0)
		log_error("tickets", "no keys: %s", strerror(-err));
	return err;
}
