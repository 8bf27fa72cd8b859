package netconf

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Polling is how long Linux looks for a card's packets by itself before the card may interrupt it again (the kernel's Documentation/networking/napi.rst).
type Polling struct {
	// DeferHardIRQs is how many looks in a row have to find nothing before interrupts are on again; GROFlushTimeoutNs is the time from one to the next.
	// Either does nothing without the other.
	DeferHardIRQs     uint32 `json:"napi_defer_hard_irqs"`
	GROFlushTimeoutNs uint64 `json:"gro_flush_timeout_ns"`
	// BusyReadUsecs is how long a read looks before it sleeps: what SO_BUSY_POLL is for sockets that are made from then on, whatever the interface.
	BusyReadUsecs uint32 `json:"busy_read_usecs"`
}

// pollingFiles are where the settings are.
type pollingFiles struct {
	link string // the interface's folder in sysfs
	core string // the folder of net.core's sysctls
}

func pollingOf(name string) (pollingFiles, error) {
	link, err := linkFolder(name)
	return pollingFiles{link, "/proc/sys/net/core"}, err
}

// linkFolder is an interface's in sysfs.
func linkFolder(name string) (string, error) {
	if name == "" || filepath.Base(name) != name || strings.Trim(name, ".") == "" {
		return "", fmt.Errorf("%.16q is not the name of a network interface", name)
	}
	return filepath.Join("/sys/class/net", name), nil
}

// ReadPolling returns what is set.
func ReadPolling(name string) (Polling, error) {
	f, err := pollingOf(name)
	var p Polling
	if err == nil {
		p, err = f.read()
	}
	if err != nil {
		return Polling{}, fmt.Errorf("%s: polling: %w", name, err)
	}
	return p, nil
}

// SetPolling changes all of it.
func SetPolling(name string, p Polling) error {
	f, err := pollingOf(name)
	if err == nil {
		err = f.write(p)
	}
	if err != nil {
		return fmt.Errorf("%s: set polling: %w", name, err)
	}
	return nil
}

func (f pollingFiles) read() (p Polling, err error) {
	value := func(folder, file string, bits int) (v uint64) {
		if err != nil {
			return 0
		}
		var text []byte
		if text, err = os.ReadFile(filepath.Join(folder, file)); err == nil {
			v, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, bits)
		}
		return v
	}
	p.DeferHardIRQs = uint32(value(f.link, "napi_defer_hard_irqs", 32))
	p.GROFlushTimeoutNs = value(f.link, "gro_flush_timeout", 64)
	p.BusyReadUsecs = uint32(value(f.core, "busy_read", 32))
	return p, err
}

func (f pollingFiles) write(p Polling) error {
	for _, v := range []struct {
		folder, file string
		value        uint64
	}{
		{f.link, "gro_flush_timeout", p.GROFlushTimeoutNs}, {f.link, "napi_defer_hard_irqs", uint64(p.DeferHardIRQs)}, {f.core, "busy_read", uint64(p.BusyReadUsecs)},
	} {
		if err := os.WriteFile(filepath.Join(v.folder, v.file), strconv.AppendUint(nil, v.value, 10), 0o644); err != nil {
			return err
		}
	}
	return nil
}
