#include "volume.h"

#include <stdio.h>

void volume_name(const struct desired_app *app, const struct desired_mount *m,
		 char name[VOLUME_NAME_SIZE])
{
	const char *of = m->external ? "" : app->application;

	snprintf(name, VOLUME_NAME_SIZE, "%s%s%s", of, of[0] ? "." : "",
		 m->source);
}
