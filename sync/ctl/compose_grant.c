/* A service of a Compose file: what reaches beyond its container, and so is for
 * the operator to grant, who says so beside the file: the file may be somebody
 * else's. Some cannot be given yet; what is asked for is read nevertheless, so
 * that the line says which one is needed and what is wrong with it otherwise.
 */
#include <stdio.h>
#include <string.h>

#include "compose_service.h"
#include "oci/grant.h"

void grant_needed(struct walk *w, unsigned line, const char *kind,
		  const char *what)
{
	walk_fail(w, line, "needs grant %s%s%.120s, which cannot be given yet",
		  kind, what ? ":" : "", what ? what : "");
}

static bool is_given(const struct walk *w, const struct grant *wanted)
{
	struct grant given;

	for (const char *const *p = w->config->grant; p && *p; p++)
		if (grant_parse(span_of(*p), &given) == 0 &&
		    grant_covers(&given, wanted))
			return true;
	return false;
}

void grant_wanted(struct walk *w, unsigned line, struct service *s,
		  const char *text, const char *hint)
{
	struct grant wanted;
	yyjson_mut_val *list = yyjson_mut_obj_get(s->app, "grants");

	if (grant_parse(span_of(text), &wanted) < 0) {
		walk_fail(w, line, "\"%.160s\": " GRANT_WANT, text);
		return;
	}
	if (!is_given(w, &wanted)) {
		walk_fail(w, line, "needs --grant %.160s%s", text, hint);
		return;
	}
	if (!list)
		list = yyjson_mut_obj_add_arr(s->doc, s->app, "grants");
	yyjson_mut_arr_add_strcpy(s->doc, list, text);
}

/* What the kernel numbers as it finds it is another device after the next
 * boot. */
static bool is_stable(const char *path)
{
	static const char *const numbered[] = { "ttyUSB", "ttyACM",
						"sd",	  "video",
						"hidraw", "input/event",
						"i2c-",	  "bus/usb/" };

	if (strncmp(path, "/dev/", 5) != 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(numbered); i++)
		if (!strncmp(path + 5, numbered[i], strlen(numbered[i])))
			return false;
	return true;
}

struct device_said {
	const char *source, *target,
		*permissions; /* the last two may be NULL */
};

static bool is_folder(const char *path)
{
	static const char *const folders[] = { "bus/usb", "dri",     "input",
					       "snd",	  "serial",  "disk",
					       "mapper",  "dma_heap" };
	size_t n = strlen(path);

	while (n > 5 && path[n - 1] == '/')
		n--;
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (n == 5 + strlen(folders[i]) && !memcmp(path, "/dev/", 5) &&
		    !memcmp(path + 5, folders[i], n - 5))
			return true;
	return false;
}

/* Who is privileged has all devices by their own names anyway. */
static bool is_folder_told(struct walk *w, unsigned line,
			   const struct service *s, const struct device_said *d)
{
	if (!is_folder(d->source))
		return false;
	if (s->says_privileged && (!d->target || !strcmp(d->target, d->source)))
		walk_notice(w, line,
			    "is not used: what is privileged has all devices");
	else
		walk_fail(w, line,
			  "\"%.60s\" is a folder: want each device of it; of "
			  "serial ports and disks zctl devices shows those "
			  "that there are",
			  d->source);
	return true;
}

static void device_wanted(struct walk *w, unsigned line, struct service *s,
			  const struct device_said *d)
{
	if (is_folder_told(w, line, s, d))
		return;

	/* A path that is cut here is none that grant_parse() takes. */
	char text[2200];
	bool moves = d->target && strcmp(d->target, d->source) != 0;
	bool says = moves || (d->permissions && strlen(d->permissions) < 3);

	if (!desired_path_valid(span_of(d->source))) {
		walk_fail(w, line, "\"%.60s\": want a path as /dev/ttyUSB0",
			  d->source);
		return;
	}
	snprintf(text, sizeof(text), "device:%s%s%s%s%s", d->source,
		 says ? ":" : "",
		 says ? d->permissions ? d->permissions : "rwm" : "",
		 moves ? ":" : "", moves ? d->target : "");
	grant_wanted(w, line, s, text,
		     is_stable(d->source)
			     ? ""
			     : " (better a name beneath by-id or by-path, "
			       "which stays)");
}

static bool permissions_valid(struct span text)
{
	for (size_t i = 0; i < text.size; i++)
		if (!strchr("rwm", text.data[i]))
			return false;
	return text.size > 0 && text.size <= 3;
}

/* HOST[:CONTAINER[:rwm]]. */
static void device_short(struct walk *w, unsigned line, struct service *s,
			 const char *text)
{
	struct span rest = span_of(text), host, container = { NULL, 0 };
	struct device_said d = { .source = NULL };

	span_cut(&rest, ':', &host);
	if (rest.data)
		span_cut(&rest, ':', &container);
	if (rest.data && !permissions_valid(rest)) {
		walk_fail(w, line, "\"%.60s\": want HOST:CONTAINER:rwm", text);
		return;
	}
	d.source = walk_keep(w, line, host);
	if (container.data)
		d.target = walk_keep(w, line, container);
	if (rest.data)
		d.permissions = walk_keep(w, line, rest);
	if (d.source)
		device_wanted(w, line, s, &d);
}

static void source_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	((struct device_said *)into)->source = walk_text(w, value, "a path");
}

static void target_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	((struct device_said *)into)->target = walk_text(w, value, "a path");
}

static void permissions_read(struct walk *w, const struct compose_node *value,
			     void *into)
{
	const char *text = walk_text(w, value, "of r, w and m");

	if (text && !permissions_valid(span_of(text)))
		walk_fail(w, value->line, "\"%.20s\": want of r, w and m",
			  text);
	((struct device_said *)into)->permissions = text;
}

static void device_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	static const struct walk_key keys[] = {
		{ "source", source_read },
		{ "target", target_read },
		{ "permissions", permissions_read },
	};
	struct device_said d = { .source = NULL };
	unsigned before = w->n_problems;
	const char *text;

	if (value->kind == COMPOSE_MAP) {
		walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, &d);
		if (d.source && w->n_problems == before)
			device_wanted(w, value->line, into, &d);
		else if (w->n_problems == before)
			walk_fail(w, value->line, "want source");
	} else if ((text = walk_text(w, value, "HOST:CONTAINER"))) {
		device_short(w, value->line, into, text);
	}
}

void devices_read(struct walk *w, const struct compose_node *value, void *into)
{
	walk_list(w, value, device_read, into);
}

void privileged_read(struct walk *w, const struct compose_node *value,
		     void *into)
{
	bool is = false;

	if (value_bool(w, value, &is) && is)
		grant_wanted(w, value->line, into, "privileged", "");
}

/* Of those that Compose has, private is what each container has. */
static void host_read(struct walk *w, const struct compose_node *value,
		      const char *kind)
{
	const char *text = walk_text(w, value, "private or host");

	if (text && !strcmp(text, "host"))
		grant_needed(w, value->line, kind, "host");
	else if (text && strcmp(text, "private") != 0)
		walk_fail(w, value->line, "\"%.40s\": not supported yet", text);
}

void uts_read(struct walk *w, const struct compose_node *value, void *into)
{
	(void)into;
	host_read(w, value, "uts");
}

void cgroup_read(struct walk *w, const struct compose_node *value, void *into)
{
	(void)into;
	host_read(w, value, "cgroup");
}

/* A user namespace of its own none has. */
void userns_read(struct walk *w, const struct compose_node *value, void *into)
{
	const char *text = walk_text(w, value, "host");

	(void)into;
	if (text && strcmp(text, "host") != 0)
		walk_fail(w, value->line, "\"%.40s\": not supported yet", text);
}
