package power

import (
	"bytes"
	"slices"
	"testing"
)

// device is what the bus sees of each model.
type device interface {
	Read(off uint64, p []byte)
	Write(off uint64, p []byte)
	RegisterName(off uint64, write bool) string
}

// log collects requests.
type log []string

func (l *log) add(reason string) { *l = append(*l, reason) }

const (
	hard = "reset control register 0xcf9: hard reset (RST_CPU, SYS_RST)"
	soft = "reset control register 0xcf9: processor reset (RST_CPU)"
	kbc  = "keyboard controller port 0x64: command 0xfe"
	off5 = "ACPI sleep control register: SLP_TYP 5 (soft off)"
)

func TestRequests(t *testing.T) {
	type write struct {
		off uint64
		p   []byte
	}
	reset := func(l *log) device { return NewResetControl(l.add) }
	command := func(l *log) device { return NewKeyboardCommand(l.add) }
	sleep := func(l *log) device { return NewSleep(l.add) }
	for _, tc := range []struct {
		name   string
		make   func(*log) device
		writes []write
		want   []string
	}{
		{"ACPI reset", reset, []write{{0, []byte{0x06}}}, []string{hard}},
		{"Linux's two steps", reset, []write{{0, []byte{0x02}}, {0, []byte{0x06}}}, []string{hard}},
		{"full reset", reset, []write{{0, []byte{0x0e}}}, []string{hard}},
		{"processor only", reset, []write{{0, []byte{0x04}}}, []string{soft}},
		{"type only", reset, []write{{0, []byte{0x02}}, {0, []byte{0xfb}}}, nil},
		{"again", reset, []write{{0, []byte{6}}, {0, []byte{6}}}, []string{hard, hard}},
		{"elsewhere", reset, []write{{1, []byte{6}}, {0, nil}, {^uint64(0), []byte{6, 6}}}, nil},
		{"keyboard reset", command, []write{{0, []byte{0xfe}}}, []string{kbc}},
		{"wide keyboard reset", command, []write{{0, []byte{0xfe, 0xff}}}, []string{kbc}},
		{"keyboard commands", command, []write{{0, []byte{0xd1}}, {0, []byte{0xaa}}, {0, []byte{0xff}}, {1, []byte{0xfe}}}, nil},
		{"soft off", sleep, []write{{0, []byte{0x34}}}, []string{off5}},
		{"Linux's soft off", sleep, []write{{1, []byte{0x80}}, {0, []byte{0x34}}}, []string{off5}},
		{"not enabled", sleep, []write{{0, []byte{0x14}}}, nil},
		{"S3", sleep, []write{{0, []byte{0x2c}}}, nil},
		{"S0", sleep, []write{{0, []byte{0x20}}}, nil},
		{"ignored bits", sleep, []write{{0, []byte{0xf7}}}, []string{off5}},
		{"status", sleep, []write{{1, []byte{0x34}}}, nil},
	} {
		var l log
		d := tc.make(&l)
		for _, w := range tc.writes {
			d.Write(w.off, w.p)
		}
		if !slices.Equal(l, tc.want) {
			t.Errorf("%s: requests %q, want %q", tc.name, l, tc.want)
		}
	}
}

func TestReads(t *testing.T) {
	none := func(string) {}
	rc := NewResetControl(none)
	rc.Write(0, []byte{0x0a | 0xf1})
	for _, tc := range []struct {
		name string
		d    device
		off  uint64
		want []byte
	}{
		{"reset control", rc, 0, []byte{0x0a}},
		{"reset control, wide", rc, 0, []byte{0x0a, 0xff}},
		{"reset control, after reset", func() device {
			d := NewResetControl(none)
			d.Write(0, []byte{6})
			return d
		}(), 0, []byte{0}},
		{"keyboard status", NewKeyboardCommand(none), 0, []byte{0xff}},
		{"keyboard data", KeyboardData{}, 0, []byte{0xff}},
		{"sleep control", NewSleep(none), 0, []byte{0}},
		{"both sleep registers", NewSleep(none), 0, []byte{0, 0, 0xff, 0xff}},
		{"sleep status", NewSleep(none), 1, []byte{0, 0xff}},
		{"beyond", NewSleep(none), ^uint64(0), []byte{0xff, 0xff}},
		{"nothing", rc, 0, []byte{}},
	} {
		p := make([]byte, len(tc.want))
		if tc.d.Read(tc.off, p); !bytes.Equal(p, tc.want) {
			t.Errorf("%s reads % x, want % x", tc.name, p, tc.want)
		}
	}
	KeyboardData{}.Write(0, []byte{0xfe})
}

func TestRegisterNames(t *testing.T) {
	for _, tc := range []struct {
		d           device
		off         uint64
		read, write string
	}{
		{&ResetControl{}, 0, "RST_CNT", "RST_CNT"},
		{&ResetControl{}, 3, "0x3", "0x3"},
		{&KeyboardCommand{}, 0, "KBC_STATUS", "KBC_COMMAND"},
		{&KeyboardCommand{}, 1, "0x1", "0x1"},
		{KeyboardData{}, 0, "KBC_DATA", "KBC_DATA"},
		{KeyboardData{}, 1, "0x1", "0x1"},
		{&Sleep{}, 0, "SLEEP_CONTROL_REG", "SLEEP_CONTROL_REG"},
		{&Sleep{}, 1, "SLEEP_STATUS_REG", "SLEEP_STATUS_REG"},
		{&Sleep{}, 2, "0x2", "0x2"},
	} {
		if r, w := tc.d.RegisterName(tc.off, false), tc.d.RegisterName(tc.off, true); r != tc.read || w != tc.write {
			t.Errorf("%T offset %d: %s and %s, want %s and %s", tc.d, tc.off, r, w, tc.read, tc.write)
		}
	}
}

// FuzzWrites: each request comes from exactly the writes that the data sheets
// name, whatever else is written.
func FuzzWrites(f *testing.F) {
	f.Add([]byte{0, 6, 1, 0xfe, 2, 0x34})
	f.Add([]byte{0, 2, 0, 4, 0, 0, 0, 4, 0x82, 0x80})
	f.Fuzz(func(t *testing.T, ops []byte) {
		var l log
		devices := []device{NewResetControl(l.add), NewKeyboardCommand(l.add), NewSleep(l.add), KeyboardData{}}
		rstCPU := false
		for ; len(ops) >= 2; ops = ops[2:] {
			which, off, v := ops[0]&3, uint64(ops[0]>>6), ops[1]
			want := 0
			switch {
			case which == 0 && off == 0:
				if v&4 != 0 && !rstCPU {
					want = 1
				}
				rstCPU = v&4 != 0 && want == 0 // cleared by the reset
			case which == 1 && off == 0 && v == 0xfe, which == 2 && off == 0 && v>>2&0xf == 0xd:
				want = 1
			}
			l = nil
			p := make([]byte, 1<<(ops[0]>>2&3))
			p[0] = v
			devices[which].Write(off, p)
			devices[which].Read(off, p)
			if len(l) != want {
				t.Fatalf("%s = %#02x made %d requests, want %d", devices[which].RegisterName(off, true), v, len(l), want)
			}
		}
	})
}
