package usernet

import (
	"bufio"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// nameservers reads the host's resolver configuration (resolv.conf(5)), again when the file has changed.
type nameservers struct {
	path string
	mu   sync.Mutex // guards what follows
	seen time.Time  // the file's time of modification
	list []netip.AddrPort
}

// maxNameservers is MAXNS of resolv.conf(5).
const maxNameservers = 3

// get is the present list; it is not to be changed.
func (r *nameservers) get() []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := os.Stat(r.path)
	if err != nil {
		return r.list
	}
	if info.ModTime().Equal(r.seen) {
		return r.list
	}
	f, err := os.Open(r.path)
	if err != nil {
		return r.list
	}
	defer f.Close()
	r.seen, r.list = info.ModTime(), nil
	for s := bufio.NewScanner(f); s.Scan() && len(r.list) < maxNameservers; {
		if a, ok := parseNameserver(s.Text()); ok {
			r.list = append(r.list, a)
		}
	}
	return r.list
}

// parseNameserver takes "nameserver ADDRESS", where the address may, beyond resolv.conf(5), have a port.
func parseNameserver(line string) (netip.AddrPort, bool) {
	w := strings.Fields(line)
	if len(w) < 2 || w[0] != "nameserver" {
		return netip.AddrPort{}, false
	}
	if a, err := netip.ParseAddrPort(w[1]); err == nil {
		return a, true
	}
	a, err := netip.ParseAddr(w[1])
	if err != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a, dnsPort), true
}
