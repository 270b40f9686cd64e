#include "volume.h"

#include <stdio.h>

void volume_name(const struct desired_app *app, const struct desired_mount *m,
		 char name[VOLUME_NAME_SIZE])
{
	snprintf(name, VOLUME_NAME_SIZE, "%s%s%s", app->application,
		 app->application[0] ? "." : "", m->source);
}
