/* inloop: so many reads from a port that a VMM answers in userspace, in a tight loop: the exit's round trip and nothing else. */
#include "bare.h"

int main(void)
{
	u32 n = argument(1, 100000);
	say("begin\n");
	for (u32 i = 0; i < n; i++)
		in8(0x80); /* nothing is there: the VMM says so */
	say("end\n");
	return 0;
}
