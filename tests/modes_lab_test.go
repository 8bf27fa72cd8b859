//go:build lab

package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"doorbell/internal/report"
	"doorbell/irqchip"
)

// TestMeasureModes: one command puts the three sets of controllers side by side, as a table and as JSON. Under the same load, what is outside KVM
// exits more and is kicked; what is inside knows neither kicks for interrupts nor windows.
func TestMeasureModes(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		path := filepath.Join(t.TempDir(), "r.json")
		o := doorbell(t, "", "measure", "modes", "--host", "here", "-c", "2", "--report", "text,json="+path)
		o.watch(t)
		o.want(t, 0, o.stdout, "kernel", "split", "user", "exits per interrupt", "kicks sent", "interrupt windows", "vectors by KVM_INTERRUPT")
		b, err := os.ReadFile(path)
		var d report.Document
		if err == nil {
			err = json.Unmarshal(b, &d)
		}
		if err != nil || len(d.Experiments) != 1 {
			t.Fatalf("%v: %+v", err, d.Experiments)
		}
		e := d.Experiments[0]
		if e.Name != "modes" || e.Finding == "" || len(e.Rows) != len(irqchip.Names) || len(e.Missing) != 0 {
			t.Fatalf("%s: %q, %d rows, missing %v", e.Name, e.Finding, len(e.Rows), e.Missing)
		}
		for i, row := range e.Rows {
			figure := func(name string) float64 {
				v, ok := row[name].(float64)
				if !ok {
					t.Errorf("%v: %s was not measured", row["irqchip"], name)
				}
				return v
			}
			if row["irqchip"] != irqchip.Names[i] {
				t.Errorf("row %d is %v", i, row["irqchip"])
			}
			// KVM's tracepoints do not say of a vector that it was in IRR already.
			if raised, delivered := figure("vectors_raised"), figure("vectors_delivered"); raised < delivered || delivered == 0 {
				t.Errorf("%v: %.0f vectors raised, %.0f delivered", row["irqchip"], raised, delivered)
			}
			if eois, delivered := figure("eois"), figure("vectors_delivered"); eois > delivered {
				t.Errorf("%v: %.0f EOIs of %.0f vectors", row["irqchip"], eois, delivered)
			}
			if asked, sent := figure("kicks_asked"), figure("kicks_sent"); sent > asked {
				t.Errorf("%v: %.0f kicks asked, %.0f sent", row["irqchip"], asked, sent)
			}
			switch user := row["irqchip"] == irqchip.UserName; {
			case user && (figure("kvm_interrupt") == 0 || figure("interrupt_windows") == 0 || figure("kicks_sent") == 0):
				t.Errorf("user: %v", row)
			case user && figure("exits_per_interrupt") <= e.Rows[0]["exits_per_interrupt"].(float64):
				t.Errorf("user costs %v exits per interrupt, kernel %v", row["exits_per_interrupt"], e.Rows[0]["exits_per_interrupt"])
			case row["irqchip"] == irqchip.KernelName && (figure("kvm_interrupt") != 0 || figure("interrupt_windows") != 0):
				t.Errorf("kernel: %v", row)
			}
			if d.Environment.Emulated && row["boot_to_userspace_s"] != nil {
				t.Errorf("a time of an emulated clock: %v", row["boot_to_userspace_s"])
			}
		}
	})
}
