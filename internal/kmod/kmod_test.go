package kmod

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var virtio = Manifest{
	{Name: "tun", Path: "/lib/modules/tun.ko", Always: true},
	{Name: "virtio_ring", Path: "/lib/modules/virtio_ring.ko"},
	{Name: "virtio", Path: "/lib/modules/virtio.ko", Needs: []string{"virtio_ring"}},
	{Name: "virtio_pci", Path: "/lib/modules/virtio_pci.ko", Needs: []string{"virtio_ring", "virtio"}, Aliases: []string{"pci:v00001AF4d*sv*sd*bc*sc*i*"}},
	{Name: "failover", Path: "/lib/modules/failover.ko"},
	{Name: "virtio_net", Path: "/lib/modules/virtio_net.ko", Needs: []string{"failover", "virtio"}, Aliases: []string{"virtio:d00000001v*"}},
	{Name: "pvpanic_mmio", Path: "/lib/modules/pvpanic_mmio.ko", Aliases: []string{"acpi*:QEMU0001:*", "of:N*T*Cqemu,pvpanic-mmioC*"}},
}

func TestManifestRoundTrip(t *testing.T) {
	got, err := Parse(virtio.String())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(virtio, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"always tun\n":                        "line 1 is not of the form",
		"\nnever a /a -\n":                    "line 2 is not of the form",
		"always a /a b\n":                     `"a" needs "b", which is not above it`,
		"always a /a a\n":                     `"a" needs "a"`,
		"always a /a -\n" + "device a /a -\n": `"a" is there twice`,
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}

func names(m Manifest) []string {
	var out []string
	for _, e := range m {
		out = append(out, e.Name)
	}
	return out
}

// A machine with a network card: the bus driver comes first, the card's driver
// when the bus shows the card.
func TestPlanFollowsDevices(t *testing.T) {
	loaded := map[string]bool{}
	devices := []string{"acpi:PNP0501:", "pci:v00001AF4d00001041sv00001AF4sd00000001bc02sc00i00"}
	steps := [][]string{{"tun", "virtio_ring", "virtio", "virtio_pci"}, {"failover", "virtio_net"}, nil}
	for i, want := range steps {
		plan := virtio.Plan(devices, loaded)
		if got := names(plan); !slices.Equal(got, want) {
			t.Fatalf("round %d loads %v, want %v", i, got, want)
		}
		for _, e := range plan {
			loaded[e.Name] = true
		}
		devices = append(devices, "virtio:d00000001v00001AF4")
	}
}

func TestPlanWithoutDevices(t *testing.T) {
	if got := names(virtio.Plan(nil, nil)); !slices.Equal(got, []string{"tun"}) {
		t.Errorf("loads %v, want tun alone", got)
	}
	if got := names(virtio.Plan([]string{"acpi:QEMU0001:"}, nil)); !slices.Equal(got, []string{"tun", "pvpanic_mmio"}) {
		t.Errorf("loads %v, want pvpanic_mmio too", got)
	}
}

func TestBuses(t *testing.T) {
	if got := virtio.Buses(); !slices.Equal(got, []string{"acpi", "of", "pci", "virtio"}) {
		t.Errorf("buses %v", got)
	}
}

func TestCanonical(t *testing.T) {
	if got := Canonical("kvm-amd"); got != "kvm_amd" {
		t.Errorf("got %q", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(virtio.String(), "pci:v00001AF4d00001041sv00001AF4sd00000001bc02sc00i00")
	f.Add("device a /a - [ *[a-z]*\n", "x")
	f.Fuzz(func(t *testing.T, text, modalias string) {
		m, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(m.String())
		if err != nil {
			t.Fatalf("what String wrote is refused: %v", err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		m.Buses()
		done := map[string]bool{}
		for _, e := range m.Plan([]string{modalias}, nil) {
			for _, need := range e.Needs {
				if !done[need] {
					t.Errorf("%q is loaded before %q, which it needs", e.Name, need)
				}
			}
			done[e.Name] = true
		}
	})
}
