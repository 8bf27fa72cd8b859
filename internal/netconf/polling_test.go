package netconf

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPolling(t *testing.T) {
	f := pollingFiles{t.TempDir(), t.TempDir()}
	for path, text := range map[string]string{
		filepath.Join(f.link, "napi_defer_hard_irqs"): "3\n", filepath.Join(f.link, "gro_flush_timeout"): "20000000000\n", filepath.Join(f.core, "busy_read"): "50\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := f.read(); err != nil || p != (Polling{3, 20_000_000_000, 50}) {
		t.Errorf("%+v, %v", p, err)
	}
	want := Polling{DeferHardIRQs: 1, GROFlushTimeoutNs: 5_000_000, BusyReadUsecs: 0}
	if err := f.write(want); err != nil {
		t.Fatal(err)
	}
	if p, err := f.read(); err != nil || p != want {
		t.Errorf("%+v, %v", p, err)
	}
	// A kernel before 5.8 has no napi_defer_hard_irqs.
	if err := os.Remove(filepath.Join(f.link, "napi_defer_hard_irqs")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.read(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(filepath.Join(f.link, "napi_defer_hard_irqs"), []byte("-1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if p, err := f.read(); err == nil {
		t.Errorf("%+v of a number that is none", p)
	}
}

// Names are the other side's, and paths are made of them.
func TestBadNames(t *testing.T) {
	for _, name := range []string{"", "..", ".", "../eth0", "a/b", "none0"} {
		if _, err := ReadPolling(name); err == nil {
			t.Errorf("%q has polling", name)
		}
		if err := SetPolling(name, Polling{}); err == nil {
			t.Errorf("%q has polling", name)
		}
		if err := SetRPS(name, "rx-0", "0"); err == nil {
			t.Errorf("%q has queues", name)
		}
	}
	for _, queue := range []string{"", "rx-", "tx-0", "rx-0/../../..", "rx-x"} {
		if err := SetRPS("lo", queue, "0"); err == nil || !strings.Contains(err.Error(), "is not a receive queue") {
			t.Errorf("%q: error %v", queue, err)
		}
	}
}
