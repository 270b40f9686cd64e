/* config.json: which ids a mount shows for those of its file system: the
 * properties uidMappings and gidMappings, or the option that crun has for it,
 *
 *	idmap=uids=0-1-10#10-11-10;gids=@0-100-10
 *
 * each triplet file system id, id shown, number of ids; after "@" the id shown
 * is one inside the container's user namespace. */
#include <stdlib.h>
#include <string.h>

#include "runtime_parts.h"

enum { MAPS_MAX = 340 };

static int at_id_map(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "containerID", at_u32,
		  offsetof(struct runtime_id_map, container_id) },
		{ "hostID", at_u32, offsetof(struct runtime_id_map, host_id) },
		{ "size", at_u32, offsetof(struct runtime_id_map, size) },
	};
	struct runtime_id_map *map = out;
	uint32_t end;
	int r = at_object(in, at, fields, N_OF(fields), map);

	if (r < 0)
		return r;
	if (map->size == 0)
		return at_error(in, at, "size is missing or 0");
	if (__builtin_add_overflow(map->container_id, map->size, &end) ||
	    __builtin_add_overflow(map->host_id, map->size, &end))
		return at_error(in, at, "reaches past the last id");
	return 0;
}

int at_id_maps(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_id_maps *maps = out;
	int r = at_array(in, at, sizeof(*maps->item), at_id_map, &maps->item,
			 &maps->n);

	if (r == 0 && maps->n > MAPS_MAX)
		return at_error(in, at, "the kernel takes at most %d ranges",
				MAPS_MAX);
	return r;
}

/* One number of a triplet; false when there is none. */
static bool number_cut(const char **text, uint32_t *out)
{
	char *end;
	unsigned long long value = strtoull(*text, &end, 10);

	if (**text < '0' || **text > '9' || value >= UINT32_MAX)
		return false;
	*out = (uint32_t)value;
	*text = end;
	return true;
}

static bool triplet_cut(const char **text, struct runtime_id_map *map)
{
	uint32_t end;

	return number_cut(text, &map->container_id) && *(*text)++ == '-' &&
	       number_cut(text, &map->host_id) && *(*text)++ == '-' &&
	       number_cut(text, &map->size) && map->size &&
	       !__builtin_add_overflow(map->container_id, map->size, &end) &&
	       !__builtin_add_overflow(map->host_id, map->size, &end);
}

/* Triplets up to the end or a ";". */
static bool maps_cut(struct json_read *in, const char **text,
		     struct runtime_id_maps *maps)
{
	size_t room = 1;

	if (**text == '@') {
		maps->relative = true;
		++*text;
	}
	for (const char *c = *text; *c && *c != ';'; c++)
		room += *c == '#';
	if (room > MAPS_MAX)
		return false;
	maps->item = arena_take(&in->arena, room * sizeof(*maps->item));
	if (!maps->item)
		return false;
	while (triplet_cut(text, &maps->item[maps->n])) {
		maps->n++;
		if (**text != '#')
			return **text == '\0' || **text == ';';
		++*text;
	}
	return false;
}

int at_idmap_option(struct json_read *in, const struct at *at, const char *text,
		    struct runtime_mount *m)
{
	bool good = true;

	while (good && *text) {
		struct runtime_id_maps *maps = strncmp(text, "uids=", 5) == 0
						       ? &m->uid_maps
					       : strncmp(text, "gids=", 5) == 0
						       ? &m->gid_maps
						       : NULL;

		good = maps && !maps->n;
		if (good) {
			text += 5;
			good = maps_cut(in, &text, maps);
		}
		if (good && *text == ';')
			text++;
	}
	if (!good)
		return at_error(in, at,
				"is not like idmap=uids=0-1000-10;"
				"gids=0-1000-10");
	return 0;
}

int runtime_mount_maps_check(struct json_read *in, const struct at *at,
			     struct runtime_mount *m)
{
	if (!m->uid_maps.n != !m->gid_maps.n)
		return at_error(in, at, "want uidMappings and gidMappings");
	/* The properties ask for it without the word, too. */
	m->idmap |= m->uid_maps.n > 0;
	return 0;
}
