package netdev

import "time"

var epoch = time.Now()

// now is the monotonic time in nanoseconds, never 0.
func now() int64 { return int64(time.Since(epoch)) + 1 }
