/* The content of an app, by which it is the same as another or not: a digest
 * over what is wanted, not over how it was written. */
#include "desired_read.h"

static void add_number(struct digest_stream *s, uint64_t n)
{
	uint8_t bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(n >> 8 * i);
	digest_update(s, bytes, sizeof(bytes));
}

/* What is not there differs from what is empty. */
static void add_text(struct digest_stream *s, const char *text)
{
	add_number(s, text ? strlen(text) : UINT64_MAX);
	digest_update(s, text ? text : "", text ? strlen(text) : 0);
}

static void add_list(struct digest_stream *s, const struct desired_list *list)
{
	add_number(s, list->n);
	for (unsigned i = 0; i < list->n; i++)
		add_text(s, list->item[i]);
}

static void add_mount(struct digest_stream *s, const struct desired_app *app,
		      const struct desired_mount *m)
{
	add_number(s, m->type);
	add_text(s, m->target);
	add_text(s, m->source);
	if (m->type == DESIRED_MOUNT_VOLUME)
		add_text(s, app->application);
	add_text(s, m->content);
	add_number(s, m->read_only);
	add_number(s, m->nocopy);
	add_number(s, m->size_bytes);
	add_number(s, m->mode);
	add_number(s, m->uid);
	add_number(s, m->gid);
	add_number(s, m->has_owner | (uint64_t)m->external << 1);
}

static void add_arrays(struct digest_stream *s, const struct desired_app *app)
{
	add_number(s, app->n_ports);
	for (unsigned i = 0; i < app->n_ports; i++) {
		add_number(s, app->port[i].host);
		/* As it was before there was more: nothing starts anew. */
		add_number(s,
			   app->port[i].container |
				   (uint64_t)app->port[i].udp << 16 |
				   (uint64_t)app->port[i].proxy_protocol << 17);
		digest_update(s, app->port[i].address,
			      sizeof(app->port[i].address));
	}
	add_number(s, app->n_mounts);
	for (unsigned i = 0; i < app->n_mounts; i++)
		add_mount(s, app, &app->mount[i]);
	add_number(s, app->n_ulimits);
	for (unsigned i = 0; i < app->n_ulimits; i++) {
		add_number(s, (uint64_t)app->ulimit[i].resource);
		add_number(s, app->ulimit[i].soft);
		add_number(s, app->ulimit[i].hard);
	}
	add_number(s, app->n_depends);
	for (unsigned i = 0; i < app->n_depends; i++) {
		add_text(s, app->depends_on[i].app);
		add_number(s, app->depends_on[i].condition);
	}
}

static void add_health(struct digest_stream *s, const struct desired_health *h)
{
	add_number(s, h->off);
	add_list(s, &h->test);
	add_number(s, h->interval);
	add_number(s, h->timeout);
	add_number(s, h->start_period);
	add_number(s, h->start_interval);
	add_number(s, h->retries);
}

/* Nothing where there is none: the digests of before stay. */
static void add_policy(struct digest_stream *s, const struct desired_policy *p)
{
	if (!p->is_said)
		return;
	add_number(s, p->denies);
	add_list(s, &p->rules);
	add_number(s, p->bytes_up);
	add_number(s, p->bytes_down);
	add_number(s, p->connections);
}

/* Only where there are some: what has none does not start anew. */
static void add_later(struct digest_stream *s, const struct desired_app *app)
{
	const uint64_t numbers[] = { app->memory_reserved_bytes,
				     app->memory_swap_bytes,
				     app->cpu_shares,
				     app->oom_score,
				     app->stdin_open,
				     app->no_entrypoint,
				     app->no_command };
	const char *const texts[] = { app->cpuset, app->domainname };

	if (app->dns_search.n || app->dns_opt.n) {
		add_list(s, &app->dns_search);
		add_list(s, &app->dns_opt);
	}
	if (app->dns.n) {
		add_text(s, "dns");
		add_list(s, &app->dns);
	}
	if (app->aliases.n) {
		add_text(s, "aliases");
		add_list(s, &app->aliases);
	}
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		if (numbers[i]) {
			add_number(s, UINT64_MAX - i);
			add_number(s, numbers[i]);
		}
	}
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		if (texts[i]) {
			add_number(s, UINT64_MAX / 2 - i);
			add_text(s, texts[i]);
		}
	}
}

struct digest desired_content(const struct desired_app *app)
{
	const uint64_t numbers[] = { app->restart,	 app->restart_max,
				     app->memory_bytes,	 app->cpus_milli,
				     app->pids,		 app->shm_bytes,
				     app->read_only,	 app->no_network,
				     app->stop_grace_ms, app->cap_drop,
				     app->init,		 app->log_bytes,
				     app->log_files };
	const char *const texts[] = { app->user, app->working_dir,
				      app->stop_signal, app->hostname };
	const struct desired_list *const lists[] = {
		&app->entrypoint,  &app->command, &app->environment,
		&app->group_add,   &app->labels,  &app->sysctls,
		&app->extra_hosts, &app->grants
	};
	struct digest_stream s;

	digest_begin(&s);
	add_text(&s, app->name);
	add_text(&s, app->service);
	digest_update(&s, app->digest.bytes, DIGEST_SIZE);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		add_number(&s, numbers[i]);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		add_text(&s, texts[i]);
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are meant */
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		add_list(&s, lists[i]);
	add_later(&s, app);
	add_text(&s, app->pod.on.app);
	add_number(&s, app->pod.shares);
	add_arrays(&s, app);
	add_health(&s, &app->health);
	add_policy(&s, &app->policy);
	return digest_end(&s);
}
