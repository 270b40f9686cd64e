/* What several commands' options have in common. */
#ifndef ZRUN_OPTION_H
#define ZRUN_OPTION_H

#include <getopt.h>
#include <sys/types.h>

#include "fault.h"
#include "oci/runtime_config.h"

/* "--preserve-fds N": descriptors 3 to 2+N must be open. 0 or -errno with
 * fault set. */
int option_preserve_fds(const char *text, unsigned *n, struct fault *fault);

/* getopt_long(3), but a flag may also be given as --flag=true or --flag=false,
 * as scripts for runc have it; the latter is as if it were not there. */
int option_next(int argc, char **argv, const char *letters,
		const struct option *options, int *index);

/* What to open of a file that the command line names: "-" is standard input. */
const char *option_file(const char *path);

/* Makes a path of the command line, which starts from where we are now,
 * absolute in out: reading the bundle goes elsewhere. NULL stays. 0 or
 * -ENAMETOOLONG. */
int path_absolute(const char **path, char *out, size_t size);

/* Adds variables to the process's; later ones win. 0 or -ENOMEM. */
int environment_add(struct runtime_config *config, const char *const *more,
		    size_t n);
/* Adds room for HOME, which the child fills in by the container's /etc/passwd,
 * unless the config sets it; *home (HOME_SIZE bytes) is NULL then. 0 or
 * -ENOMEM. */
int environment_home(struct runtime_config *config, char **home);
/* When whoever started zrun passes sockets on (sd_listen_fds(3)) the container
 * gets them too, before those of --preserve-fds. 0 or -errno with fault set. */
int environment_listen(struct runtime_config *config, unsigned *preserve_fds,
		       struct fault *fault);

#endif
