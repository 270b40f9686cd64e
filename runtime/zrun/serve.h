/* The messages that `zrun serve` answers on /run/zooid/zrun.sock (seqpacket):
 * the one privileged hand of a node, and its policy point (DESIGN §4).
 *
 * Whoever asks, these hold: a root file system is named by image digest, never
 * by path; bind sources lie beneath /data/volumes; namespaces are private, or
 * those of a container of the same application (network, pid, ipc by the path
 * /proc/PID/ns/KIND, PID being its first process); capabilities are at most
 * OCI's default; devices are none of the node's. What the signed document
 * grants beyond that is had by a container whose annotation
 * ZRUN_ANNOTATION_APP, or without it ZRUN_ANNOTATION_SERVICE, names the app and
 * that is of its image; and where there is a hub, a network only as the
 * document says (grants_network.c). A config that asks for more is refused with
 * -EPERM and a message that names the JSON path.
 *
 * A connection has one request in hand at a time; the next is read after the
 * reply. Who wants two things at once connects twice. */
#ifndef ZRUN_SERVE_H
#define ZRUN_SERVE_H

#include <stdint.h>

#include "base/ipc.h"

#define ZRUN_ID_SIZE	 64
#define ZRUN_DIGEST_SIZE 72 /* "sha256:" + 64 hex digits + NUL */
#define ZRUN_TEXT_SIZE	 256
#define ZRUN_CONFIG_MAX	 (1 << 20)
/* Directory in path_run(): for each container a link, named by its id, to its
 * cgroup, which may have another name. */
#define ZRUN_CGROUP_LINKS	    "cgroups"
#define ZRUN_ANNOTATION_ADDRESS	    "org.zooid.address" /* "10.64.0.2" */
#define ZRUN_ANNOTATION_APPLICATION "org.zooid.application"
#define ZRUN_ANNOTATION_SERVICE	    "org.zooid.service"
#define ZRUN_ANNOTATION_POLICY	    "org.zooid.policy" /* oci/net_policy.h */
#define ZRUN_ANNOTATION_APP	    "org.zooid.app"    /* unless its service */
#define ZRUN_ANNOTATION_INIT	    "org.zooid.init"   /* "true" */
#define ZRUN_ANNOTATION_STDIN	    "org.zooid.stdin"  /* "open" */

enum zrun_verb {
	/* Creates and starts container `id` from the OCI config in the sealed
	 * memfd sent along; its root is an overlay over the layers of image
	 * `digest` (an OCI image manifest in the store), with a writable layer
	 * of its own that lives as long as the container. `note` is kept with
	 * the pidfd in init. Replies once the process has called execve, with
	 * its pid. Output goes to pipes that init holds (kind OUTPUT, n 1 and
	 * 2). The exit is told by init. znode.
	 *
	 * What the config says beyond the OCI text: annotation
	 * ZRUN_ANNOTATION_ADDRESS is the container's address for its `lo`,
	 * and gives it a TUN, which init holds for znet (net/outlet.h);
	 * ZRUN_ANNOTATION_APPLICATION and _SERVICE say whom it may meet
	 * there, and under which names, with a space between;
	 * ZRUN_ANNOTATION_POLICY where it may go beyond; ZRUN_ANNOTATION_INIT
	 * puts the node's zreap before the program, as the process that reaps;
	 * with ZRUN_ANNOTATION_STDIN nothing ever comes from its standard
	 * input, which is else at its end;
	 * root.path is ignored; process.user.username, when there, is the
	 * image's User ("name", "name:group", "1000", "1000:100"; behind a
	 * second colon more groups, with commas between) that serve
	 * resolves in /etc/passwd and /etc/group of the root, in place of
	 * uid and gid; additionalGids come on top. A mount of type "file" is
	 * a file whose text is its source, with options mode=OCTAL, uid=N,
	 * gid=N, or owner=user for the process's own; one of type "device" is
	 * the node's device at its source, with options read, write, mknod;
	 * option "volume-copy" of a bind mount fills a volume that is empty
	 * with what the image has in that place.
	 *
	 * flags: ZRUN_START_KEEP: serve keeps the config for ZRUN_CHECKPOINT.
	 */
	ZRUN_START = 1,
	/* Sends signal `arg` to the first process of `id`, or with
	 * ZRUN_KILL_ALL to every process; flags from ZRUN_KILL_EXEC on are
	 * that times the number of a ZRUN_EXEC, which gets it. znode. */
	ZRUN_KILL,
	/* Removes cgroup, mounts, writable layer of an ended container.
	 * -EBUSY while it runs, -ENOENT. znode. */
	ZRUN_DELETE,
	/* Starts the process described by the OCI process object in the memfd
	 * inside `id`; fds 1.. of the message, pipes or the null device,
	 * become its 0, 1, 2. Its parent is init, which keeps its pidfd and
	 * `note` under pidfd/id/`arg`: the asker chooses arg, 1 to
	 * ZRUN_EXECS_MAX, learns from init how the process ended, and then
	 * drops the record; what it leaves goes with ZRUN_DELETE. Replies, with
	 * its pid and a pidfd, once the process has called execve; after an
	 * error there is no record. -EEXIST: arg is in use. A frozen container
	 * is thawed. znode. */
	ZRUN_EXEC,
	/* Takes image `digest` out of the OCI layout in directory `path`,
	 * beneath the ZOOID partition, into the image store: the manifest,
	 * config and layers are verified, layers unpacked in the confined
	 * worker. Replies when all is on stable storage. A layer already
	 * there is not unpacked again. flags: ZRUN_UNPACK_PULLED: `path` is
	 * beneath /data/pull instead, where zpull puts what it fetched. With
	 * the read end of a pipe in the message it need not be whole: layers
	 * are waited for until the pipe hangs up (-ECANCELED). znode.
	 */
	ZRUN_UNPACK,
	/* Removes image `digest` and the layers that no other image has.
	 * -EBUSY while a container has it. znode. */
	ZRUN_FORGET,
	/* Replies with up to `arg` TCP sockets (at most ZRUN_SOCKETS_MAX)
	 * made inside the network namespace of `id`, each with IP_TRANSPARENT
	 * and the mark set, so that znet may bind it to a client's address.
	 * flags: ZRUN_SOCKETS_V6 for AF_INET6, ZRUN_SOCKETS_UDP. znet. */
	ZRUN_SOCKETS,
	/* Container number `arg` of those that exist, in any order:
	 * reply.id, pid, text = state as in the OCI specification, or
	 * "asleep", and then the note of ZRUN_SLEEP.
	 * -ENOENT past the end. znode, console. */
	ZRUN_LIST,
	/* Image number `arg` of those that are whole, in any order: reply.text
	 * = digest of its manifest. -ENOENT past the end. znode. */
	ZRUN_IMAGES,
	/* Makes volume `path` ([a-z0-9.-], at most ZRUN_VOLUME_NAME_MAX) where
	 * there is none, and limits it to `arg` MiB (0: no limit; no limit is
	 * kept where /data is not btrfs). What it holds is never touched.
	 * flags: ZRUN_VOLUME_THERE: it is not made, and its limit stays;
	 * -ENOENT. znode. */
	ZRUN_VOLUME,
	/* Volume number `arg` of those that exist, in any order: reply.text =
	 * name and, where /data has quotas, the bytes that it uses and may use
	 * (2^64 - 1: no limit of its own), with spaces between.
	 * -ENOENT past the end. znode. */
	ZRUN_VOLUMES,
	/* A read-only snapshot of volume `path` as it is now, on stable storage
	 * when the reply comes: reply.text = its name,
	 * ".snapshots/VOLUME/TIME". -ENOTSUP where /data is not btrfs. znode.
	 */
	ZRUN_SNAPSHOT,
	/* Removes volume `path` and its snapshots for ever. -EBUSY while a
	 * container has it, -ENOENT. znode. */
	ZRUN_VOLUME_REMOVE,
	/* Puts running container `id` to sleep: its processes are written to
	 * /data/checkpoints and end; memory, cgroup and network namespace are
	 * given back, the writable layer stays. The memfd holds the config it
	 * was started from; `note` is what ZRUN_LIST tells of it from then on.
	 * Its exit is told by init before the reply comes; then init's records
	 * of it are gone. -EBUSY: a process of ZRUN_EXEC
	 * runs in it, or it shares a namespace with another container. After an
	 * error it runs as before, or frozen if it was, or has ended where criu
	 * was killed meanwhile (LIST tells); the text is criu's own where it
	 * cannot save it, as with a TCP connection that is open. A checkpoint
	 * does not outlive the machine's run. znode. */
	ZRUN_SLEEP,
	/* Makes sleeping container `id` run again where it was, from the same
	 * config and digest as ZRUN_START; `note` and reply as there. After an
	 * error of the config it sleeps on; after any other it is gone, as
	 * after ZRUN_DELETE, for there is only a colder start then. znode. */
	ZRUN_WAKE,
	/* Replies with a descriptor to write to the freezer (cgroup.freeze) of
	 * `id` with. znode. */
	ZRUN_FREEZER,
	/* Reads /data/desired/document again, checks who signed it and that it
	 * is this node's and none older than was seen, and takes what it grants
	 * for the starts to come (grants.h). -ESTALE, -EKEYREJECTED ... znode.
	 */
	ZRUN_GRANTS,
	/* Pushes the memory of frozen container `id` out to swap, and stops
	 * when it is thawed. Replies when that is done, after some 20 s at
	 * most. -EBUSY: it is not frozen; -EOPNOTSUPP: its cgroup has no
	 * memory controller; -ENOSPC: there is no swap, or no more. znode. */
	ZRUN_RECLAIM,
	/* Number `arg` of what has used up what it may write, all but a
	 * sixteenth, in any order: reply.text = what, name, used and limit in
	 * MiB, with spaces between. What is "volume" or "container" (its
	 * writable layer) for one that has reached its own limit, or with
	 * "all-" before it for the one that holds most when all of that kind
	 * together have. -ENOENT past the end. znode. */
	ZRUN_FULL,
	/* Replies with a descriptor that hangs up when a process of `id` has
	 * begun to listen on TCP port `arg` (0: any), which it may have done
	 * already, when the container has ended, and with serve. znode. */
	ZRUN_LISTEN,
	/* Writes running container `id`, started with ZRUN_START_KEEP, to
	 * checkpoint `path` (an id), on stable storage when the reply comes, in
	 * place of what has that name. It runs on; after an error there is no
	 * checkpoint, and it runs as before, or has ended where criu was killed
	 * meanwhile. -ESTALE: serve was started anew since; -EBUSY: as with
	 * ZRUN_SLEEP; -EINVAL: it may write a volume, or listens on its own
	 * address alone. Which image, config, kernel and processor it is of is
	 * noted with it. znode. */
	ZRUN_CHECKPOINT,
	/* The same as ZRUN_START, but from checkpoint `path`, if that is of the
	 * same image and config (but for the address), of this kernel and
	 * processor, and not older than `arg` s (0: no matter). Processes go on
	 * where they were when it was written, with the writable layer of then.
	 * After an error there is no container. -ENOENT: there is no such
	 * checkpoint. One that is stale (-ESTALE), is damaged or could not be
	 * restored is removed. znode. */
	ZRUN_RESTORE,
	/* Checkpoint number `arg`, in any order: reply.id is its name. -ENOENT
	 * past the end. znode. */
	ZRUN_CHECKPOINTS,
	/* Removes checkpoint `path`. -ENOENT. znode. */
	ZRUN_CHECKPOINT_REMOVE,
};

enum {
	ZRUN_START_KEEP = 1,
	ZRUN_VOLUME_THERE = 1,
	ZRUN_KILL_ALL = 1,
	ZRUN_KILL_EXEC = 256,
	ZRUN_VOLUME_NAME_MAX = 127,
	ZRUN_SOCKETS_V6 = 1,
	ZRUN_SOCKETS_UDP = 2,
	ZRUN_UNPACK_PULLED = 1,
	ZRUN_SOCKETS_MAX = 16,
	ZRUN_EXECS_MAX = 16, /* of one container, exit records included */
};

struct zrun_request {
	struct ipc_head head; /* verb: enum zrun_verb */
	uint32_t arg;
	uint32_t flags;
	char id[ZRUN_ID_SIZE];
	char digest[ZRUN_DIGEST_SIZE];
	char path[ZRUN_TEXT_SIZE];
	uint8_t note[192]; /* INIT_NOTE_SIZE */
};

struct zrun_reply {
	struct ipc_head head; /* verb: that of the request */
	int32_t error;	      /* 0 or -errno */
	uint32_t pid;
	char id[ZRUN_ID_SIZE];
	char text[ZRUN_TEXT_SIZE]; /* one line that names the object and the
				    * reason when error is set */
	uint8_t note[192];	   /* ZRUN_LIST: of one that sleeps */
};

#endif
