/* A service of a Compose file: the namespaces that it shares with another one,
 * and those of the node, which need a grant. */
#include <string.h>

#include "compose_service.h"

static void share(struct walk *w, struct service *s, struct dependency_said on,
		  unsigned shares)
{
	struct service_seen *seen = s->seen;

	if (seen->pod && strcmp(seen->pod, on.name) != 0) {
		walk_fail(w, on.line,
			  "differs from line %u: want the namespaces of one "
			  "service",
			  compose_line(seen->pod_line));
		return;
	}
	seen->pod = on.name;
	seen->pod_line = on.line;
	seen->shares |= shares;
	depend(w, s, on);
}

/* "service:NAME"; false where it is something else. */
static bool service_of(struct walk *w, struct service *s, unsigned line,
		       const char *text, unsigned shares)
{
	if (strncmp(text, "service:", 8) != 0)
		return false;
	share(w, s, (struct dependency_said){ .name = text + 8, .line = line },
	      shares);
	return true;
}

static void other(struct walk *w, unsigned line, const char *text,
		  const char *kind)
{
	if (!strcmp(text, "host"))
		grant_needed(w, line, kind, text);
	else
		walk_fail(w, line, "\"%.40s\": not supported yet", text);
}

void network_mode_read(struct walk *w, const struct compose_node *value,
		       void *into)
{
	struct service *s = into;
	const char *text = walk_text(w, value, "bridge, none or service:NAME");

	if (!text || !strcmp(text, "bridge") || !strcmp(text, "default") ||
	    service_of(w, s, value->line, text, DESIRED_POD_NETWORK))
		return;
	if (!strcmp(text, "none"))
		s->no_network = true;
	else
		other(w, value->line, text, "network");
}

void pid_read(struct walk *w, const struct compose_node *value, void *into)
{
	const char *text = walk_text(w, value, "service:NAME");

	if (text && !service_of(w, into, value->line, text, DESIRED_POD_PID))
		other(w, value->line, text, "pid");
}

/* Private is what each has, and others may share it anyway. */
void ipc_read(struct walk *w, const struct compose_node *value, void *into)
{
	const char *text = walk_text(w, value, "private or service:NAME");

	if (text && strcmp(text, "private") != 0 &&
	    strcmp(text, "shareable") != 0 &&
	    !service_of(w, into, value->line, text, DESIRED_POD_IPC))
		other(w, value->line, text, "ipc");
}

void pod_read(struct walk *w, const struct compose_node *value, void *into)
{
	const char *text = walk_text(w, value, "a service");

	if (text)
		share(w, into,
		      (struct dependency_said){ .name = text,
						.line = value->line },
		      DESIRED_POD_NETWORK | DESIRED_POD_PID | DESIRED_POD_IPC);
}

void pod_write(const struct service *s)
{
	static const char *const words[] = { "network", "pid", "ipc" };
	yyjson_mut_val *pod, *list;

	s->seen->has_ports = s->n_ports;
	s->seen->is_reactive = yyjson_mut_obj_get(s->app, "reactive");
	if (s->no_network)
		yyjson_mut_obj_add_str(s->doc, s->app, "network", "none");
	if (!s->seen->pod)
		return;
	pod = yyjson_mut_obj_add_obj(s->doc, s->app, "pod");
	yyjson_mut_obj_add_strcpy(s->doc, pod, "app", s->seen->pod);
	list = yyjson_mut_obj_add_arr(s->doc, pod, "shares");
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		if (s->seen->shares >> i & 1)
			yyjson_mut_arr_add_str(s->doc, list, words[i]);
}

static void pod_check(struct walk *w, const struct service_seen *s,
		      const struct service_seen *on)
{
	if (on->pod)
		walk_fail(w, s->pod_line,
			  "%.63s has its own namespaces of %.63s: name that",
			  on->name, on->pod);
	else if (s->shares & DESIRED_POD_NETWORK && s->has_ports)
		walk_fail(w, s->pod_line,
			  "%.63s has the network of %.63s: its ports: are "
			  "said there",
			  s->name, on->name);
	else if (s->shares & DESIRED_POD_NETWORK && s->says_networks)
		walk_fail(w, s->pod_line,
			  "%.63s has the network of %.63s: its networks: are "
			  "said there",
			  s->name, on->name);
	else if (s->shares & DESIRED_POD_NETWORK &&
		 (s->is_reactive || on->is_reactive))
		walk_fail(w, s->pod_line,
			  "%.63s has the network of %.63s: neither can be "
			  "reactive yet",
			  s->name, on->name);
}

/* That there is no such service is told of what it depends on. */
void pods_check(struct walk *w, const struct service_seen *seen, unsigned n)
{
	size_t used = walk_key(w, "services");

	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; seen[i].pod && j < n; j++)
			if (i != j && !strcmp(seen[i].pod, seen[j].name))
				pod_check(w, &seen[i], &seen[j]);
	walk_back(w, used);
}
