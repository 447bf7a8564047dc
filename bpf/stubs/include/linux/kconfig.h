/* bcc includes kernel headers in front of every program. These say just what it needs, so that it compiles on a node without any. */
#pragma once
#define CONFIG_BPF_SYSCALL 1
