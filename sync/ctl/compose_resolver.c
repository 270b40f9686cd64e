/* A service of a Compose file: whom it asks for names, and how. */
#include <errno.h>
#include <string.h>

#include "compose_service.h"
#include "oci/net_policy.h"

/* A word of resolv.conf into a list of the document. */
static void resolver_word(struct walk *w, const struct compose_node *value,
			  struct service *s, const char *key, const char *want)
{
	const char *text = walk_text(w, value, want);
	yyjson_mut_val *list = yyjson_mut_obj_get(s->app, key);

	if (!text)
		return;
	if (!desired_resolver_word(text)) {
		walk_fail(w, value->line, "\"%.63s\": want %s", text, want);
		return;
	}
	if (!list)
		list = yyjson_mut_obj_add_arr(s->doc, s->app, key);
	if (yyjson_mut_arr_size(list) == DESIRED_RESOLVER_MAX)
		walk_fail(w, value->line, "want at most %u",
			  DESIRED_RESOLVER_MAX);
	else
		yyjson_mut_arr_add_strcpy(s->doc, list, text);
}

static void search_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	resolver_word(w, value, into, "dns_search",
		      "a domain as example.com, or . for none");
}

void dns_search_read(struct walk *w, const struct compose_node *value,
		     void *into)
{
	if (value->kind == COMPOSE_LIST)
		walk_list(w, value, search_read, into);
	else
		search_read(w, value, into);
}

static void opt_read(struct walk *w, const struct compose_node *value,
		     void *into)
{
	resolver_word(w, value, into, "dns_opt",
		      "an option of resolv.conf as ndots:2");
}

void dns_opt_read(struct walk *w, const struct compose_node *value, void *into)
{
	walk_list(w, value, opt_read, into);
}

/* Docker's resolver would ask 127.0.0.1 for what is no service; here it is
 * asked for all. */
static void server_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	static const char want[] = "the address of a name server, in digits";
	const char *text = walk_text(w, value, want);
	struct service *s = into;
	yyjson_mut_val *list = yyjson_mut_obj_get(s->app, "dns");
	uint8_t address[16];
	int err;

	if (!text)
		return;
	err = net_server_parse(span_of(text), address);
	if (err == -EINVAL) {
		walk_fail(w, value->line, "\"%.63s\": want %s", text, want);
		return;
	}
	if (desired_dns_own(text))
		walk_notice(w, value->line,
			    "%s is the container itself, and is asked for the "
			    "names of services too",
			    text);
	else if (err < 0)
		walk_fail(w, value->line,
			  "%.63s: no container reaches that address", text);
	if (!list)
		list = yyjson_mut_obj_add_arr(s->doc, s->app, "dns");
	if (yyjson_mut_arr_size(list) == NET_SERVERS_MAX)
		walk_fail(w, value->line, "want at most %u", NET_SERVERS_MAX);
	else
		yyjson_mut_arr_add_strcpy(s->doc, list, text);
}

void dns_read(struct walk *w, const struct compose_node *value, void *into)
{
	struct service *s = into;

	s->seen->dns_line = value->line;
	if (value->kind == COMPOSE_LIST)
		walk_list(w, value, server_read, into);
	else
		server_read(w, value, into);
}
