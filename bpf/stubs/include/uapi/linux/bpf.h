#pragma once
#include "/virtual/include/bcc/bpf.h" /* the copy that bcc carries */
