package lab

import (
	"os"
	"os/signal"
	"syscall"
)

// listen returns the signals to forward: given, or this process's own when
// that is nil. release gives the latter their meaning back.
func listen(given <-chan os.Signal) (signals <-chan os.Signal, release func()) {
	if given != nil {
		return given, func() {}
	}
	// Room for a few: a signal that finds the channel full is lost.
	own := make(chan os.Signal, 8)
	signal.Notify(own, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR2)
	return own, func() { signal.Stop(own) }
}
