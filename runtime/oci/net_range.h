/* The addresses of containers, for all who name them. */
#ifndef OCI_NET_RANGE_H
#define OCI_NET_RANGE_H

/* 10.64.0.0/16: containers, but for the first address, where each of them
 * finds its resolver. */
#define NET_RANGE	  0x0a400000
#define NET_RANGE_MASK	  0xffff0000
#define NET_RANGE_TEXT	  "10.64.0.0/16"
#define NET_RESOLVER	  (NET_RANGE | 1)
#define NET_RESOLVER_TEXT "10.64.0.1"
/* fd7a:6f6f:6964::/96, a unique local prefix (RFC 4193). */
#define NET_PREFIX6	  0xfd, 0x7a, 0x6f, 0x6f, 0x69, 0x64
#define NET_PREFIX6_BYTES 12
#define NET_PREFIX6_TEXT  "fd7a:6f6f:6964::/96"

#endif
