/* How a restored hub takes the place of the one in its folder.
 *
 * All of it is made in STAGED, which nobody reads; then STAGED is renamed to
 * READY, and that is the moment. READY is moved into place by steps that each
 * may be the last before a power cut: whoever takes the folder's lock next goes
 * on with them. A folder therefore holds the old hub, or the new one, or READY,
 * and command_folder() lets nobody in while READY is there. */
#ifndef HUB_RESTORE_H
#define HUB_RESTORE_H

#include <stdbool.h>
#include <stddef.h>

#define RESTORE_STAGED ".restore.new"
#define RESTORE_READY  ".restore.ready"

/* What a hub is besides store.db and blobs/. */
struct hub_file {
	const char *name;
	/* Made anew by the hub when it is missed, or kept elsewhere. */
	bool may_lack;
};
enum { HUB_FILES = 9 };
extern const struct hub_file hub_files[HUB_FILES];

/* STAGED, complete and on stable storage, becomes the hub: the moment. 0, or
 * -errno and then nothing has happened. */
int restore_commit(int dir);

/* Whether a restore was cut short after its moment. */
bool restore_is_due(int dir);

/* With the folder's lock held: goes on with READY, removes a STAGED that was
 * not completed. 0 or -errno after one log line. */
int restore_settle(int dir);

#endif
