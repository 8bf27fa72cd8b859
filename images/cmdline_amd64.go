package images

// DefaultCmdline is the command line of the default guest. Each word is there
// because it was seen to shorten the boot, to spare exits, or to end a guest
// that would otherwise hang; none takes away what a guest can do.
const DefaultCmdline = "console=ttyS0 quiet panic=-1"
