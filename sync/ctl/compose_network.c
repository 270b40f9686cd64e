/* A Compose file's networks, and a service's place in them. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "compose_service.h"

/* ---- the top level ---- */

static void driver_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	const char *text = walk_text(w, value, "bridge");

	(void)into;
	if (text && strcmp(text, "bridge") != 0)
		walk_fail(w, value->line,
			  "\"%.40s\": only bridge is supported yet", text);
}

/* It is among the services of this application alone. */
static void external_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	bool is = true;

	(void)into;
	if (value->kind == COMPOSE_MAP || (value_bool(w, value, &is) && is))
		walk_notice(w, value->line,
			    "other applications are not on it: here it is one "
			    "of this application");
}

static void addresses_read(struct walk *w, const struct compose_node *value,
			   void *into)
{
	(void)w, (void)into;
	walk_notice(w, value->line,
		    "is not used: the node gives each container its address");
}

static void family_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	bool is = true;

	(void)into;
	if (value_bool(w, value, &is) && !is)
		walk_notice(w, value->line,
			    "is not used: containers have both");
}

/* Read where a service is on one. */
static void internal_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	bool is;

	(void)into;
	value_bool(w, value, &is);
}

void networks_top_read(struct walk *w, const struct compose_node *value,
		       void *into)
{
	static const struct walk_key keys[] = {
		{ "driver", driver_read },
		{ "name", walk_ignore },
		{ "labels", walk_ignore },
		{ "attachable", walk_ignore },
		{ "external", external_read },
		{ "ipam", addresses_read },
		{ "enable_ipv4", family_read },
		{ "enable_ipv6", family_read },
		{ "driver_opts", addresses_read },
		{ "internal", internal_read },
	};

	if (value->kind != COMPOSE_MAP && !compose_is_null(value))
		walk_fail(w, value->line, "want a map");
	for (unsigned i = 0; value->kind == COMPOSE_MAP && i < value->n; i++) {
		size_t used = walk_key(w, value->item[2 * i]->text.data);

		if (!compose_is_null(value->item[2 * i + 1]))
			walk_map(w, value->item[2 * i + 1], keys,
				 ARRAY_SIZE(keys), NULL, into);
		walk_back(w, used);
	}
}

/* ---- which there are ---- */

/* A bit for each; 0 where there is none. */
static uint64_t network_bit(const struct walk *w, const char *name)
{
	const struct compose_node *all = walk_member(w->root, "networks");

	if (!strcmp(name, "default"))
		return 1;
	for (unsigned i = 0;
	     all && all->kind == COMPOSE_MAP && i < all->n && i < 63; i++)
		if (!strcmp(all->item[2 * i]->text.data, name))
			return UINT64_C(2) << i;
	return 0;
}

bool networks_internal(struct walk *w, const struct service *s)
{
	const struct compose_node *all = walk_member(w->root, "networks");
	uint64_t open = s->seen->networks;

	for (unsigned i = 0; all && all->kind == COMPOSE_MAP && i < all->n;
	     i++) {
		const struct compose_node *value =
			walk_member(all->item[2 * i + 1], "internal");
		bool is = false;

		if (value && value_bool(w, value, &is) && is)
			open &= ~network_bit(w, all->item[2 * i]->text.data);
	}
	return s->seen->networks && !open;
}

static void network_add(struct walk *w, struct service *s,
			const struct compose_node *key)
{
	const char *name = key->text.data;
	uint64_t bit = network_bit(w, name);

	s->seen->networks |= bit;
	if (bit)
		return;
	walk_fail(w, key->line, "there is no network %.63s in networks:", name);
}

static void network_name(struct walk *w, const struct compose_node *value,
			 void *into)
{
	if (walk_text(w, value, "the name of a network"))
		network_add(w, into, value);
}

/* ---- addresses that the file gives ---- */

struct walk_address {
	struct walk_address *next;
	const char *text;
	unsigned line;
};

/* Whether the file can do without it is seen in the end. */
static void address_fixed_read(struct walk *w, const struct compose_node *value,
			       void *into)
{
	const char *text = walk_text(w, value, "an address");
	struct walk_address *a = compose_alloc(&w->arena, sizeof(*a));
	uint8_t address[16];

	(void)into;
	if (!text)
		return;
	if (!a || desired_address(span_of(text), address) < 0) {
		walk_fail(w, value->line,
			  "\"%.40s\": want an address in digits", text);
		return;
	}
	*a = (struct walk_address){ w->addresses, text, value->line };
	w->addresses = a;
	walk_notice(w, value->line,
		    "is not used: the node gives each container its address, "
		    "to which the service's name leads");
}

static bool is_of_address(char c)
{
	return isalnum((unsigned char)c) || c == '.' || c == ':';
}

/* Whether it is there, and no part of a longer one; a port may follow. */
static bool has_address(const char *text, const char *address)
{
	size_t n = strlen(address);

	for (const char *at = text; (at = strstr(at, address)); at++)
		if ((at == text || !is_of_address(at[-1])) &&
		    (!is_of_address(at[n]) || at[n] == ':'))
			return true;
	return false;
}

static const char *name_in_file(yyjson_mut_val *app,
				const struct service_seen *seen, unsigned n)
{
	const char *id = yyjson_mut_get_str(yyjson_mut_obj_get(app, "name"));
	unsigned i = 0;

	while (i < n && strcmp(seen[i].id, id) != 0)
		i++;
	return i < n ? seen[i].name : id;
}

/* What the service says of it, as it is sent. */
static void address_find(struct walk *w, const struct walk_address *a,
			 const char *service, yyjson_mut_val *app)
{
	yyjson_mut_obj_iter iter;
	yyjson_mut_val *key;

	yyjson_mut_obj_iter_init(app, &iter);
	while ((key = yyjson_mut_obj_iter_next(&iter))) {
		yyjson_mut_val *value = yyjson_mut_obj_iter_get_val(key);
		char *text = yyjson_mut_val_write(value, 0, NULL);

		if (text && strcmp(yyjson_mut_get_str(key), "ports") != 0 &&
		    has_address(text, a->text))
			walk_fail(w, a->line,
				  "services.%.63s says %.40s in its %.20s: "
				  "containers get their addresses from the "
				  "node; want the service's name there",
				  service, a->text, yyjson_mut_get_str(key));
		free(text);
	}
}

void addresses_check(struct walk *w, const struct service_seen *seen,
		     unsigned n)
{
	yyjson_mut_val *app;
	yyjson_mut_arr_iter iter;

	for (const struct walk_address *a = w->addresses; a; a = a->next) {
		yyjson_mut_arr_iter_init(
			yyjson_mut_doc_get_root(w->compose->apps), &iter);
		while ((app = yyjson_mut_arr_iter_next(&iter)))
			address_find(w, a, name_in_file(app, seen, n), app);
	}
}

void mac_address_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	(void)into;
	if (walk_text(w, value, "an address of a link"))
		walk_notice(w, value->line,
			    "is not used: a container has no link of that "
			    "kind");
}

/* ---- those of a service ---- */

/* Names, or a map whose values say more. */
void networks_read(struct walk *w, const struct compose_node *value, void *into)
{
	static const struct walk_key keys[] = {
		{ "aliases", aliases_read },
		{ "ipv4_address", address_fixed_read },
		{ "ipv6_address", address_fixed_read },
		{ "mac_address", mac_address_read },
		{ "gw_priority", walk_ignore },
		{ "priority", walk_ignore },
	};
	static const char *const others[] = { "interface_name",
					      "link_local_ips", "driver_opts",
					      NULL };
	struct service *s = into;

	if (compose_is_null(value) ||
	    (value->kind != COMPOSE_TEXT && !value->n))
		return; /* the default one */
	s->seen->networks = 0;
	s->seen->says_networks = true;
	if (value->kind != COMPOSE_MAP) {
		walk_list(w, value, network_name, into);
		return;
	}
	for (unsigned i = 0; i < value->n; i++) {
		const struct compose_node *key = value->item[2 * i];
		size_t used = walk_key(w, key->text.data);

		network_add(w, s, key);
		if (!compose_is_null(value->item[2 * i + 1]))
			walk_map(w, value->item[2 * i + 1], keys,
				 ARRAY_SIZE(keys), others, s);
		walk_back(w, used);
	}
}

void networks_check(struct walk *w, const struct service_seen *seen, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < i; j++) {
			if (seen[i].networks & seen[j].networks ||
			    (seen[i].shares | seen[j].shares) &
				    DESIRED_POD_NETWORK)
				continue;
			walk_notice(
				w, seen[i].line,
				"services.%.63s and services.%.63s share no "
				"network, but reach each other: networks "
				"keep nothing apart yet",
				seen[j].name, seen[i].name);
			return;
		}
}
