/* All commands with their options, for main.c and --help. */
#include "cli.h"

#define CREATE_OPTIONS                                                        \
	"  -b, --bundle DIR           directory with config.json (.)\n"       \
	"  -f, --config FILE          in place of its config.json\n"          \
	"      --pid-file FILE        write the first process's id there\n"   \
	"      --console-socket SOCK  send the terminal's master there\n"     \
	"      --pidfd-socket SOCK    send the first process's pidfd there\n" \
	"      --preserve-fds N       pass descriptors 3 to 2+N on\n"         \
	"      --no-pivot             move the root mount, as on a ramfs\n"   \
	"      --no-new-keyring       keep the caller's session keyring\n"    \
	"      --no-subreaper         taken; zrun is none anyway\n"

#define CRIU_OPTIONS                                                    \
	"      --image-path DIR       (checkpoint)\n"                   \
	"      --work-path DIR        of criu's log (the image path)\n" \
	"      --manage-cgroups-mode soft|full|strict|ignore\n"         \
	"      --empty-ns network\n"                                    \
	"      --tcp-established, --ext-unix-sk, --shell-job,\n"        \
	"      --file-locks, --auto-dedup, --lazy-pages: see criu(8)\n"

const struct command commands[] = {
	{ "create", "ID", "make a container; its program waits for start",
	  CREATE_OPTIONS, command_create, true },
	{ "start", "ID", "start the program of a created container", "",
	  command_start, false },
	{ "run", "ID", "create and start; wait for the end",
	  "  -d, --detach               do not wait\n"
	  "      --keep                 do not delete at the "
	  "end\n" CREATE_OPTIONS,
	  command_run, true },
	{ "exec", "ID COMMAND [ARGS]", "run a further process in a container",
	  "  -p, --process FILE         OCI process object to run; \"-\": "
	  "from\n"
	  "                             standard input\n"
	  "  -d, --detach               do not wait\n"
	  "  -t, --tty                  with a terminal\n"
	  "  -e, --env NAME=VALUE       add to the environment\n"
	  "  -u, --user UID[:GID]       run as\n"
	  "  -g, --additional-gids GID  a further group\n"
	  "      --cwd DIR              in this directory\n"
	  "  -c, --cap CAP              with a further capability\n"
	  "      --no-new-privs         set no_new_privs\n"
	  "      --pid-file FILE        write its process id there\n"
	  "      --console-socket SOCK  send the terminal's master there\n"
	  "      --pidfd-socket SOCK    send its pidfd there\n"
	  "      --preserve-fds N       pass descriptors 3 to 2+N on\n"
	  "      --cgroup PATH          in this cgroup below the container's\n"
	  "      --apparmor PROFILE\n"
	  "      --process-label LABEL  of SELinux\n"
	  "      --ignore-paused        though it runs only after resume\n",
	  command_exec, true },
	{ "state", "ID", "print a container's state as JSON", "", command_state,
	  false },
	{ "list", "", "list the containers",
	  "  -f, --format table|json\n"
	  "  -q, --quiet                ids only\n",
	  command_list, false },
	{ "kill", "ID [SIGNAL]", "send a signal (TERM)",
	  "  -a, --all                  to every process of it\n", command_kill,
	  false },
	{ "delete", "ID", "remove a container that has ended",
	  "  -f, --force                kill it first\n", command_delete,
	  false },
	{ "update", "ID", "change a container's limits",
	  "  -r, --resources FILE       linux.resources as JSON; \"-\": from "
	  "standard input\n"
	  "      --memory BYTES         (512m, 2g; -1: none)\n"
	  "      --memory-reservation BYTES\n"
	  "      --memory-swap BYTES    memory and swap together\n"
	  "      --cpu-share N          weight, 2 to 262144\n"
	  "      --cpu-quota USEC       of each period\n"
	  "      --cpu-period USEC\n"
	  "      --cpu-burst USEC\n"
	  "      --cpu-idle 0|1\n"
	  "      --cpuset-cpus LIST\n"
	  "      --cpuset-mems LIST\n"
	  "      --pids-limit N\n"
	  "      --blkio-weight N       10 to 1000\n",
	  command_update, false },
	{ "ps", "ID [PS-OPTIONS]", "show the processes of a container",
	  "  -f, --format table|json    of ps; process ids alone\n", command_ps,
	  false },
	{ "events", "ID", "print what a container uses, as JSON lines",
	  "      --stats                once\n"
	  "      --interval TIME        every 5s, 100ms ...\n",
	  command_events, false },
	{ "checkpoint", "ID", "write it to files by criu, and remove it",
	  CRIU_OPTIONS
	  "      --leave-running        do not end and remove it\n"
	  "      --pre-dump             its memory alone; it runs on\n"
	  "      --parent-path DIR      of the pre-dump before\n"
	  "      --page-server ADDRESS:PORT\n"
	  "      --status-fd FD         tells when lazy pages are ready\n",
	  command_checkpoint, false },
	{ "restore", "ID", "make it from those files by criu",
	  "  -b, --bundle DIR           directory with config.json (.)\n"
	  "  -d, --detach               do not wait\n"
	  "      --pid-file FILE        write the first process's id "
	  "there\n" CRIU_OPTIONS "      --lsm-profile TYPE:NAME\n"
	  "      --lsm-mount-context CONTEXT\n"
	  "      --no-pivot, --no-subreaper: taken\n",
	  command_restore, false },
	{ "mounts", "add|remove ID FILE",
	  "attach or detach what FILE, an array as in config.json, says", "",
	  command_mounts, false },
	{ "pause", "ID", "freeze all processes", "", command_pause, false },
	{ "resume", "ID", "let them go on", "", command_resume, false },
	{ "spec", "", "write a config.json to begin with",
	  "  -b, --bundle DIR           into this directory (.)\n"
	  "      --rootless             for somebody without privilege\n",
	  command_spec, false },
	{ "features", "", "print what this runtime can do as JSON", "",
	  command_features, false },
	{ "serve", "", "be the resident runtime of a node", "", command_serve,
	  true },
};

const size_t n_commands = sizeof(commands) / sizeof(commands[0]);
