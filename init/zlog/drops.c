#include "drops.h"

void drops_begin(struct drops *d)
{
	for (struct source *s = NULL; (s = source_next(s));)
		d->told[source_slot(s)] = s->dropped_told;
}

bool drops_make(struct drops *d, struct zlog_drops *message)
{
	for (struct source *s = NULL; (s = source_next(s));) {
		uint64_t told = d->told[source_slot(s)];

		if (s->service || s->dropped_told == told)
			continue;
		*message = (struct zlog_drops){
			.head = { sizeof(*message), ZLOG_DROPS },
			.lines = s->dropped_told - told,
		};
		text_copy(message->name, sizeof(message->name), s->name);
		d->made = s;
		return true;
	}
	return false;
}

void drops_told(struct drops *d)
{
	d->told[source_slot(d->made)] = d->made->dropped_told;
}
