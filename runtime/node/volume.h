/* Volumes of applications: directories in /data/volumes that zrun serve makes
 * and removes. */
#ifndef NODE_VOLUME_H
#define NODE_VOLUME_H

#include "oci/desired.h"

enum { VOLUME_NAME_SIZE = 128 };

/* "shop.db": volume db of application shop. No id has a dot, so no other
 * application can name it. */
void volume_name(const struct desired_app *app, const struct desired_mount *m,
		 char name[VOLUME_NAME_SIZE]);

#endif
