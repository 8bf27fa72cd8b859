package network

import "flag"

// Sizes are how much each load carries.
type Sizes struct {
	Stream  uint64 // MiB in each direction
	Trips   int
	Packets uint64 // datagrams in each direction
	Copy    uint64 // MiB, half of them in each direction, while the heap is watched
	Arms    string // a regular expression for arms' names
}

// FlagPrefix is what the names of all flags begin with.
const FlagPrefix = "net-"

// Flags adds the flags.
func (s *Sizes) Flags(f *flag.FlagSet) {
	f.Uint64Var(&s.Stream, FlagPrefix+"stream", 32, "`MiB` of a TCP stream, in each direction")
	f.IntVar(&s.Trips, FlagPrefix+"trips", 500, "round trips")
	f.Uint64Var(&s.Packets, FlagPrefix+"packets", 10000, "datagrams, in each direction")
	f.Uint64Var(&s.Copy, FlagPrefix+"copy", 1024, "`MiB` to copy, half of them in each direction, while the VMM's heap is watched; 0 for none")
	f.StringVar(&s.Arms, FlagPrefix+"arms", "", "only arms whose names match a regular `expression`")
}
