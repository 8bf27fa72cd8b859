package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"doorbell/internal/device/mailbox"
	"doorbell/internal/guestreport"

	"golang.org/x/sys/unix"
)

// This program runs itself for the workload spin, and so does the test.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == shootdownCommand {
		os.Exit(shootdownMain(os.Args[2]))
	}
	if len(os.Args) == 3 && os.Args[1] == spinCommand {
		os.Exit(spinMain(os.Args[2]))
	}
	os.Exit(m.Run())
}

// host makes both ends of a mailbox in ordinary memory.
func host(t *testing.T) (*mailbox.Port, *channel, *int) {
	t.Helper()
	shared := make([]byte, mailbox.SharedSize)
	h, err := mailbox.NewHost(shared)
	if err != nil {
		t.Fatal(err)
	}
	g, err := mailbox.NewGuest(shared)
	if err != nil {
		t.Fatal(err)
	}
	rings := 0
	g.OnSend(func() { rings++ })
	return h, &channel{port: g}, &rings
}

func received(t *testing.T, h *mailbox.Port) []mailbox.Message {
	t.Helper()
	var all []mailbox.Message
	for {
		m, ok, err := h.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return all
		}
		all = append(all, m)
	}
}

// The host sees every stage, and a report of what happened between two of them.
func TestMeasureAndSend(t *testing.T) {
	h, c, rings := host(t)
	a := &agent{mailbox: c, options: options{workload: "idle=0.02", end: endPowerOff}, modules: []string{"tun"}, uptime: 5}
	if err := c.announce(); err != nil {
		t.Fatal(err)
	}
	report, err := a.measure()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.send(report); err != nil {
		t.Fatal(err)
	}
	c.bye()
	var stages []string
	var got guestreport.Report
	messages := received(t, h)
	for _, m := range messages {
		if m.Type == mailbox.Report {
			if err := json.Unmarshal(m.Payload, &got); err != nil {
				t.Fatal(err)
			}
			stages = append(stages, "report")
			continue
		}
		stages = append(stages, m.Type.String()+" "+string(m.Payload))
	}
	want := []string{"Hello " + version, "Phase userspace", "Phase workload-start", "Phase workload-end", "report", "Bye "}
	if !slices.Equal(stages, want) {
		t.Errorf("stages %q, want %q", stages, want)
	}
	if *rings != len(messages) {
		t.Errorf("the doorbell rang %d times for %d messages", *rings, len(messages))
	}
	if got.CPUsOnline < 1 || got.MemoryBytes == 0 || got.Kernel == "" || got.UserspaceUptimeNs != 5 || !slices.Equal(got.Modules, []string{"tun"}) {
		t.Errorf("report %+v", got)
	}
	if w := got.Workload; w.Spec != "idle=0.02" || w.Error != "" || w.DurationNs < 20e6 {
		t.Errorf("workload %+v", w)
	}
	if delta := got.Delta(); delta.UptimeNs < 20e6 || len(delta.Interrupts.CPUs) != got.CPUsOnline {
		t.Errorf("%d ns and %d CPUs between the snapshots", delta.UptimeNs, len(delta.Interrupts.CPUs))
	}
}

func TestMeasureFailures(t *testing.T) {
	a := &agent{options: options{workload: "exec=/no/such/program"}}
	report, err := a.measure()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(report.Workload.Error, "run /no/such/program: no such file") {
		t.Errorf("workload %+v", report.Workload)
	}
	a.options.workload = "exec=/bin/sh /dev/null/x"
	if report, err = a.measure(); err != nil {
		t.Fatal(err)
	}
	if w := report.Workload; w.ExitStatus == 0 || !strings.HasPrefix(w.Error, "exit status ") {
		t.Errorf("workload %+v", w)
	}
}

func TestJob(t *testing.T) {
	tests := []struct {
		name, job string
		want      options
		err       string
	}{
		{name: "both", job: `{"workload":"spin=1","end":"reboot"}`, want: options{workload: "spin=1", end: "reboot"}},
		{name: "nothing", job: `{}`, want: options{workload: "none", end: "poweroff"}},
		{name: "no document", job: "spin", err: "job: invalid character"},
		{name: "unknown field", job: `{"wrkload":"spin=1"}`, err: `job: json: unknown field "wrkload"`},
		{name: "unknown end", job: `{"end":"explode"}`, err: `job: end "explode" is not known`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, c, _ := host(t)
			if err := h.Send(mailbox.Job, []byte(tt.job)); err != nil {
				t.Fatal(err)
			}
			a := &agent{mailbox: c, options: defaultOptions()}
			err := a.waitForJob()
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil || a.options != tt.want {
				t.Errorf("got %+v, %v, want %+v", a.options, err, tt.want)
			}
		})
	}
	t.Run("host leaves", func(t *testing.T) {
		h, c, _ := host(t)
		if err := h.Send(mailbox.Bye, nil); err != nil {
			t.Fatal(err)
		}
		a := &agent{mailbox: c, options: defaultOptions()}
		if err := a.waitForJob(); err != nil || a.options != defaultOptions() {
			t.Errorf("got %+v, %v", a.options, err)
		}
	})
	t.Run("no mailbox", func(t *testing.T) {
		a := &agent{options: defaultOptions()}
		if err := a.waitForJob(); err == nil || !strings.Contains(err.Error(), "there is no mailbox") {
			t.Errorf("error %v", err)
		}
	})
}

// Under another VMM there is no mailbox: nothing happens.
func TestNoMailbox(t *testing.T) {
	c, err := openMailbox(0)
	if c != nil || err != nil {
		t.Fatalf("got %v, %v on a machine without one", c, err)
	}
	c.phase("x")
	c.log("x")
	c.bye()
	if err := errors.Join(c.announce(), (&agent{}).send(&guestreport.Report{})); err != nil {
		t.Error(err)
	}
}

func TestStoreWritesTheRegister(t *testing.T) {
	page := make([]byte, 8)
	store(register(page, 4), 0x01020304)
	if !slices.Equal(page, []byte{0, 0, 0, 0, 4, 3, 2, 1}) {
		t.Errorf("page is % x", page)
	}
}

func TestPrograms(t *testing.T) {
	// Orphans come to this process, as they come to process 1.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	for want, argv := range map[int][]string{
		0:   {"/bin/sh", "-c", "true"},
		7:   {"/bin/sh", "-c", "exit 7"},
		143: {"/bin/sh", "-c", "kill -TERM $$"},
		// An orphan that ends first is not taken for the program.
		3: {"/bin/sh", "-c", "(true &) ; true & exit 3"},
	} {
		if got, err := runProgram(argv); got != want || err != nil {
			t.Errorf("%q: status %d, %v, want %d", argv, got, err, want)
		}
	}
}

func TestSpinUsesEveryCPU(t *testing.T) {
	const d = 100 * time.Millisecond
	start := time.Now()
	if status, err := spin(d); status != 0 || err != nil {
		t.Fatalf("status %d, %v", status, err)
	}
	if took := time.Since(start); took < d {
		t.Errorf("took %v, want %v", took, d)
	}
	if status := spinMain("soon"); status != 1 {
		t.Errorf("status %d of a duration that is none", status)
	}
}

func TestWriteConsole(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 1000} {
		path := filepath.Join(t.TempDir(), "console")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		err = writeConsole(f, n)
		f.Close()
		b, _ := os.ReadFile(path)
		if err != nil || len(b) != n || n > 0 && b[n-1] != '\n' {
			t.Errorf("%d bytes: wrote %d, %v", n, len(b), err)
		}
	}
}

func TestModaliases(t *testing.T) {
	root := t.TempDir()
	for name, alias := range map[string]string{
		"pci/devices/0000:00:01.0/modalias": "pci:v00001AF4d00001041\n",
		"acpi/devices/PNP0501:00/modalias":  "acpi:PNP0501:\n",
		"acpi/devices/device:00/modalias":   "\n",
		"usb/devices/1-1/modalias":          "usb:v1\n",
		"pci/devices/0000:00:02.0/vendor":   "0x8086\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(alias), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := modaliases(root, []string{"acpi", "pci", "virtio"})
	if want := []string{"acpi:PNP0501:", "pci:v00001AF4d00001041"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBanner(t *testing.T) {
	r := &guestreport.Report{Kernel: "6.1.0", CPUsOnline: 2, MemoryBytes: 482 << 20, UserspaceUptimeNs: 612345678}
	if got, want := banner(r), "Linux 6.1.0, 2 CPUs online, 482 MiB of memory, userspace 0.61 s after the kernel's start\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r.CPUsOnline = 1
	if got := banner(r); !strings.Contains(got, "1 CPU online") {
		t.Errorf("got %q", got)
	}
}
