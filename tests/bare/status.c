/* status: what a Multiboot loader gives, and the status that its first argument asks for. */
#include "bare.h"

int main(void)
{
	say("command line: %s\n", (const char *)multiboot->cmdline);
	say("loader: %s; lower %u KiB, upper %u KiB\n", (const char *)multiboot->loader_name, multiboot->mem_lower, multiboot->mem_upper);
	for (u32 at = multiboot->mmap_addr; at < multiboot->mmap_addr + multiboot->mmap_length; at += 4 + *(u32 *)at) {
		u32 *e = (u32 *)(at + 4);
		say("memory: 0x%x%s0x%x bytes, type %u\n", e[0], e[1] ? " and above, " : ", ", e[2], e[4]);
	}
	for (u32 i = 0; i < multiboot->mods_count; i++) {
		struct module *m = (struct module *)multiboot->mods_addr + i;
		say("module %s: %u bytes, page offset %u: ", (const char *)m->string, m->end - m->start, m->start & 0xfff);
		for (u32 at = m->start; at < m->end && at < m->start + 64; at++)
			say("%s", (char[]){*(char *)at, 0});
		say("\n");
	}
	exit(argument(1, 0));
}
