package irqchip

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorbell/internal/pci"
)

func TestPosting(t *testing.T) {
	defer func(was []string) { apicvParameters = was }(apicvParameters)
	dir := t.TempDir()
	on, off := filepath.Join(dir, "enable_apicv"), filepath.Join(dir, "avic")
	for path, text := range map[string]string{on: "Y\n", off: "N\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	one := pci.Message{Address: 0xfee01000, Data: 0x40}
	for _, c := range []struct {
		parameters []string
		message    pci.Message
		chip, want string
	}{
		{[]string{on}, one, KernelName, ""},
		{[]string{filepath.Join(dir, "absent"), on}, one, SplitName, ""},
		{[]string{on}, one, UserName, "doorbell's own"},
		{[]string{off}, one, KernelName, "avic=N: KVM does not"},
		{nil, one, KernelName, "do not say"},
		{[]string{on}, pci.Message{Address: 0xfee03004, Data: 0x40}, KernelName, "several destinations"},
		{[]string{on}, pci.Message{Address: 0xfee02004, Data: 0x140}, KernelName, ""}, // lowest priority, of one
		{[]string{on}, pci.Message{Address: 0xfee01000, Data: 0x440}, KernelName, "delivery mode is NMI"},
		{[]string{on}, pci.Message{Address: 0x1000}, KernelName, "no local APIC"},
	} {
		apicvParameters = c.parameters
		if got := NewPosting(c.chip).WhyNot(c.message); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%v on %s: %q, want %q", c.message, c.chip, got, c.want)
		}
	}
}
