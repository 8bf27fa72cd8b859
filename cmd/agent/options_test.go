package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseCommandLine(t *testing.T) {
	tests := []struct {
		text       string
		want       options
		complaints []string
	}{
		{text: "", want: options{workload: "none", end: "poweroff"}},
		{text: "console=ttyS0 quiet panic=-1\n", want: options{workload: "none", end: "poweroff"}},
		{
			text: "doorbell.workload=spin=0.5 doorbell.wait=1 doorbell.show=interrupts doorbell.end=reboot",
			want: options{workload: "spin=0.5", wait: true, showInterrupts: true, end: "reboot"},
		},
		{
			text: "doorbell.net=static=10.0.0.5/24,10.0.0.1,10.0.0.1 doorbell.workload=fetch=http://10.0.0.1:8000/x",
			want: options{net: "static=10.0.0.5/24,10.0.0.1,10.0.0.1", workload: "fetch=http://10.0.0.1:8000/x", end: "poweroff"},
		},
		{
			text: "doorbell.net=dhcp doorbell.net=off doorbell.net=pigeon doorbell.net=static=10.0.0.5",
			want: options{net: "off", workload: "none", end: "poweroff"},
			complaints: []string{
				`network "pigeon" is not dhcp, off or static=ADDRESS/LENGTH[,GATEWAY[,DNS]]`,
				`network: "10.0.0.5" is not ADDRESS/LENGTH`,
			},
		},
		{text: "acpi=off doorbell.mailbox=0xd0000000", want: options{workload: "none", end: "poweroff", mailbox: 0xd0000000}},
		{
			text: "doorbell.mailbox=0xd0000001 doorbell.mailbox=0 doorbell.mailbox=there",
			want: options{workload: "none", end: "poweroff"},
			complaints: []string{
				`parameter "doorbell.mailbox=0xd0000001" on the kernel's command line is not known`,
				`parameter "doorbell.mailbox=0" on the kernel's command line is not known`,
				`parameter "doorbell.mailbox=there" on the kernel's command line is not known`,
			},
		},
		{text: "doorbell.end=panic doorbell.end=halt", want: options{workload: "none", end: "halt"}},
		{text: `"doorbell.workload=exec=/bin/echo a  b" quiet`, want: options{workload: "exec=/bin/echo a  b", end: "poweroff"}},
		{text: `doorbell.workload="exec=/bin/echo a"`, want: options{workload: "exec=/bin/echo a", end: "poweroff"}},
		{
			text: "doorbell.workload=dance doorbell.end=never doorbell.speed=11 doorbell.wait=yes",
			want: options{workload: "none", end: "poweroff"},
			complaints: []string{
				`workload "dance" is not one of ` + workloads,
				`parameter "doorbell.end=never" on the kernel's command line is not known`,
				`parameter "doorbell.speed=11" on the kernel's command line is not known`,
				`parameter "doorbell.wait=yes" on the kernel's command line is not known`,
			},
		},
	}
	for _, tt := range tests {
		got, complaints := parseCommandLine(tt.text)
		if got != tt.want {
			t.Errorf("%q: got %+v, want %+v", tt.text, got, tt.want)
		}
		if !slices.Equal(complaints, tt.complaints) {
			t.Errorf("%q: complaints %q, want %q", tt.text, complaints, tt.complaints)
		}
	}
}

func TestParseWorkload(t *testing.T) {
	for _, spec := range []string{"none", "idle=0", "idle=1.5", "spin=86400", "console=0", "console=1073741824", "exec=/init",
		"traffic=10.0.2.2:5201", "traffic=gateway.doorbell:1", "fetch=http://a/", "fetch=http://a:8000/b?c=d", "ping=a", "ping=10.0.2.2,1000"} {
		w, err := parseWorkload(spec)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
		}
		if (w.run == nil) != (spec == "none") {
			t.Errorf("%s: does nothing is %v", spec, w.run == nil)
		}
	}
	for _, spec := range []string{
		"", "none=1", "idle", "idle=", "idle=-1", "idle=NaN", "idle=1e99", "spin=86401", "spin=1s",
		"console=-1", "console=1e3", "console=1073741825", "exec", "exec=", "exec=init",
		"traffic", "traffic=", "traffic=a", "traffic=:1", "traffic=a:0", "traffic=a:65536", "fetch", "fetch=", "fetch=https://a/", "fetch=a",
		"ping", "ping=", "ping=,3", "ping=a,0", "ping=a,1001", "ping=a,b",
	} {
		if _, err := parseWorkload(spec); err == nil {
			t.Errorf("%q is accepted", spec)
		}
	}
	if d, err := parseSeconds("0.25"); err != nil || d != 250*time.Millisecond {
		t.Errorf("0.25 s is %v, %v", d, err)
	}
}

func FuzzParseCommandLine(f *testing.F) {
	f.Add(`console=ttyS0 doorbell.workload=idle=1 "doorbell.workload=exec=/a b" doorbell.end=halt doorbell.net=static=1.2.3.4/5 x="`)
	f.Fuzz(func(t *testing.T, text string) {
		o, complaints := parseCommandLine(text)
		if _, err := parseWorkload(o.workload); err != nil {
			t.Errorf("workload %q is not one: %v", o.workload, err)
		}
		if o.net != netAuto && parseNet(o.net) != nil {
			t.Errorf("network %q is not one", o.net)
		}
		if !isEnd(o.end) {
			t.Errorf("end %q is not one", o.end)
		}
		for _, c := range complaints {
			if strings.ContainsAny(c, "\n\r") {
				t.Errorf("complaint %q has more than one line", c)
			}
		}
	})
}

func TestFindResource(t *testing.T) {
	const iomem = "00000000-00000fff : Reserved\n" +
		"00001000-1fffffff : System RAM\n" +
		"  01000000-01ffffff : Kernel code\n" +
		"d0000000-d0100fff : pnp 00:01\n" +
		"  d0000000-d0100fff : DBEL0001:00\n" +
		"fec00000-fec003ff : IOAPIC 0\n"
	start, size, ok := findResource(iomem, "DBEL0001:00")
	if !ok || start != 0xd0000000 || size != 0x101000 {
		t.Errorf("got %#x, %#x, %v", start, size, ok)
	}
	for _, text := range []string{"", "00000000-00000000 : DBEL0001:00\n", "zz-ff : DBEL0001:00", "ff : DBEL0001:00", "d0000000-d0100fff : DBEL0001:01\n"} {
		if _, _, ok := findResource(text, "DBEL0001:00"); ok {
			t.Errorf("%q: found", text)
		}
	}
}

func FuzzFindResource(f *testing.F) {
	f.Add("  d0000000-d0100fff : DBEL0001:00\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, size, ok := findResource(text, "DBEL0001:00"); ok && size < 2 {
			t.Errorf("size %d", size)
		}
	})
}

func TestOneLine(t *testing.T) {
	if got := oneLine("one\r\ntwo\n"); got != "one; two" {
		t.Errorf("got %q", got)
	}
}
