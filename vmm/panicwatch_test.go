package vmm

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPanicWatch(t *testing.T) {
	for _, c := range []struct {
		name   string
		chunks []string
		want   string
	}{
		{"none", []string{"Linux version 6.1\r\n", "doorbell-agent: userspace\r\n"}, ""},
		{"whole", []string{"[    1.0] Kernel panic - not syncing: No working init found.\r\n"}, "Kernel panic - not syncing: No working init found."},
		{"split", []string{"[    1.0] Kernel pa", "nic - not sync", "ing: x\n", "more\n"}, "Kernel panic - not syncing: x"},
		{"long line before", []string{strings.Repeat("x", 1000) + "\nKernel panic - not syncing: y\n"}, "Kernel panic - not syncing: y"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fired := ""
				w := &panicWatch{fire: func(l string) { fired = l }}
				defer w.stop()
				for _, s := range c.chunks {
					w.observe([]byte(s))
				}
				if got, _ := w.panicked(); got != c.want {
					t.Errorf("panic line %q, want %q", got, c.want)
				}
				time.Sleep(panicGrace + time.Millisecond)
				synctest.Wait()
				if fired != c.want {
					t.Errorf("fired with %q, want %q", fired, c.want)
				}
			})
		})
	}
}
