/* A service of a Compose file: the namespaces that it shares with another one,
 * and those of the node, which need a grant. */
#include <stdio.h>
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

/* The node's own, which is all that is left. */
static bool host_wanted(struct walk *w, struct service *s, unsigned line,
			const char *kind, const char *text)
{
	char grant[40];

	if (strcmp(text, "host") != 0) {
		walk_fail(w, line, "\"%.40s\": not supported yet", text);
		return false;
	}
	snprintf(grant, sizeof(grant), "%s:host", kind);
	grant_wanted(w, line, s, grant, "");
	return true;
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
	else if (host_wanted(w, s, value->line, "network", text))
		s->host_network_line = value->line;
}

void pid_read(struct walk *w, const struct compose_node *value, void *into)
{
	const char *text = walk_text(w, value, "service:NAME");

	if (text && !service_of(w, into, value->line, text, DESIRED_POD_PID))
		(void)host_wanted(w, into, value->line, "pid", text);
}

/* Private is what each has, and others may share it anyway. */
void ipc_read(struct walk *w, const struct compose_node *value, void *into)
{
	const char *text = walk_text(w, value, "private or service:NAME");

	if (text && strcmp(text, "private") != 0 &&
	    strcmp(text, "shareable") != 0 &&
	    !service_of(w, into, value->line, text, DESIRED_POD_IPC))
		(void)host_wanted(w, into, value->line, "ipc", text);
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

void host_ports_drop(struct walk *w, struct service *s)
{
	if (!s->host_network_line || !s->n_ports)
		return;
	walk_notice(w, s->host_network_line,
		    "it has the node's network: its ports are where it "
		    "listens, none is published");
	s->n_ports = 0;
}

/* Nothing of it is led to the service, which it shares with the node. */
void host_network_check(struct walk *w, const struct service *s)
{
	const char *said = s->seen->says_networks ? "networks"
			   : s->policy_line	  ? "x-zooid.network"
			   : s->seen->is_reactive ? "x-zooid.reactive"
			   : s->seen->pod &&
					   s->seen->shares & DESIRED_POD_NETWORK
				   ? "x-zooid.pod"
				   : NULL;

	if (s->host_network_line && said)
		walk_fail(w, s->host_network_line,
			  "it has the node's network: want no %s", said);
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
	else if (s->shares & DESIRED_POD_NETWORK && s->dns_line)
		walk_fail(w, s->dns_line,
			  "%.63s has the network of %.63s: its dns: is said "
			  "there",
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
