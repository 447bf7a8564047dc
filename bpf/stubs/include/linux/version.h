#pragma once
#define LINUX_VERSION_CODE 0
#define KERNEL_VERSION(a, b, c) 0
