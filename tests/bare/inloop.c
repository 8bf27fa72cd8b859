/*
 * inloop: so many reads from a port that a VMM answers in userspace, in a tight loop: the exit's round trip and nothing else.
 * Arguments: how many, and which port: 0x80, where a PC has nothing to read, unless told.
 */
#include "bare.h"

int main(void)
{
	u32 n = argument(1, 100000), port = argument(2, 0x80);
	say("begin\n");
	for (u32 i = 0; i < n; i++)
		in8(port);
	say("end\n");
	return 0;
}
