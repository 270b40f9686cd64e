"""The memory that a node has free when it must give back all that it can.

Dropping the caches is not enough: btrfs keeps its metadata in pages that
drop_caches passes by and that only the kernel's reclaim lets go, 0.15 MB for
each container that was put to sleep. So a file in memory takes what is
free or lies in the page cache but for the 12 MB that the daemons run from,
without any page being swapped out for it, and is removed again; what then is
not free is held by somebody. (MemAvailable would not do: it takes half of the
inodes and dentries that are in use for available.)"""

import time

PRESS_S = 300
DROP = "sync; echo 3 >/proc/sys/vm/drop_caches"
PRESS = DROP + """
echo 0 >/proc/sys/vm/swappiness
mkdir -p /tmp/press && mount -t tmpfs -o size=100% press /tmp/press || exit 1
left() { # KB
	a=0
	while read -r name kb unit; do
		case $name in MemFree:|*"(file):") a=$((a + kb)) ;; esac
	done </proc/meminfo
}
i=0
while left && [ $a -gt 12288 ]
do
	n=2
	[ $a -gt 40960 ] && n=16
	i=$((i + 1))
	dd if=/dev/zero of=/tmp/press/$i bs=1M count=$n 2>/dev/null || break
done
umount /tmp/press
[ $i -gt 0 ] || exit 1
echo 60 >/proc/sys/vm/swappiness
""" + DROP


def free_kb(node):
    """Until it does not grow any more: namespaces are taken apart late."""
    node.agent.ask("exec", "/bin/busybox", "sh", "-c", PRESS,
                   deadline_s=PRESS_S)
    free, before = 0, -1
    while free > before:
        node.agent.run("/bin/busybox", "sh", "-c", DROP)
        time.sleep(3)
        before, free = free, node.agent.memory_kb()["MemFree"]
    return max(free, before)
