//go:build lab

package tests

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBadInput: one line that names the flag or the file, the right status, nothing written.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	image, err := os.ReadFile(filepath.Join(os.Getenv("DOORBELL_GUEST"), "kernel"))
	if err != nil {
		t.Fatal(err)
	}
	truncated := write("truncated", image[:len(image)/2])
	empty := write("empty", nil)
	fifo := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	text := write("text", []byte("this is no kernel\n"))
	arm := make([]byte, 4096)
	copy(arm[56:], "ARM\x64") // the magic of an arm64 Image (Documentation/arm64/booting.rst)
	armImage := write("Image.arm64", arm)
	huge := filepath.Join(dir, "huge-initrd")
	f, err := os.Create(huge)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(1 << 30); err != nil {
		t.Fatal(err)
	}
	f.Close()

	for _, c := range []struct {
		name   string
		args   []string
		status int
		parts  []string
	}{
		{"missing kernel", []string{"boot", "-k", "/nonexistent/vmlinuz"}, 2, []string{"/nonexistent/vmlinuz", "no such file"}},
		{"missing initrd", []string{"boot", "-i", "/nonexistent/initrd"}, 2, []string{"/nonexistent/initrd", "no such file"}},
		{"kernel is a folder", []string{"boot", "-k", dir}, 2, []string{dir, "directory"}},
		{"kernel is a pipe", []string{"boot", "-k", fifo}, 2, []string{fifo, "no regular file"}},
		{"initrd is a pipe", []string{"boot", "-i", fifo}, 2, []string{fifo, "no regular file"}},
		{"command line too long", []string{"boot", "-p", strings.Repeat("x", 5000)}, 2, []string{"-p", "2047"}},
		{"more memory than KVM maps", []string{"boot", "-m", "60T"}, 2, []string{"-m", "60"}},
		{"more processors than the lab has", []string{"lab", "-c", "9999", "--", "doorbell"}, 2, []string{"-c 9999"}},
		{"more memory than the lab has", []string{"lab", "-m", "9223372036854775808", "--", "doorbell"}, 2, []string{"-m"}},
		{"truncated kernel", []string{"boot", "-k", truncated}, 1, []string{truncated, "truncated"}},
		{"empty kernel", []string{"boot", "-k", empty}, 1, []string{empty, "empty"}},
		{"text as kernel", []string{"boot", "-k", text}, 1, []string{text}},
		{"arm64 kernel", []string{"boot", "-k", armImage}, 1, []string{armImage, "arm64"}},
		{"initrd larger than memory", []string{"boot", "-i", huge, "-m", "512M"}, 1, []string{huge, "512 MiB"}},
		{"no memory", []string{"boot", "-m", "0"}, 2, []string{"-m"}},
		{"memory is no number", []string{"boot", "-m", "lots"}, 2, []string{"-m", "lots"}},
		{"too little memory", []string{"boot", "-m", "1M"}, 2, []string{"-m"}},
		{"too much memory", []string{"boot", "-m", "9999999T"}, 2, []string{"-m"}},
		{"no vCPU", []string{"boot", "-c", "0"}, 2, []string{"-c: 0 vCPUs"}},
		{"negative vCPUs", []string{"boot", "-c", "-3"}, 2, []string{"-c"}},
		{"too many vCPUs", []string{"boot", "-c", "100000"}, 2, []string{"-c", "100000", "1024"}},
		{"unknown irqchip", []string{"boot", "--irqchip", "8259"}, 2, []string{"--irqchip", "8259"}},
		{"unknown host", []string{"boot", "--host", "mars"}, 2, []string{"--host", "mars"}},
		{"unknown flag", []string{"boot", "--frobnicate"}, 2, []string{"--frobnicate"}},
		{"unknown command", []string{"fly"}, 2, []string{"fly"}},
		{"unknown experiment", []string{"measure", "nothing"}, 2, []string{"nothing", "boot"}},
		{"no round", []string{"measure", "paths", "--rounds", "0"}, 2, []string{`--rounds "0"`, "1 to 1000"}},
		{"too many rounds", []string{"measure", "--rounds", "1001"}, 2, []string{`--rounds "1001"`, "1 to 1000"}},
		{"negative seed", []string{"measure", "paths", "--seed", "-1"}, 2, []string{`--seed "-1"`, "a number"}},
		{"an experiment twice", []string{"measure", "barrier", "barrier"}, 2, []string{"barrier is named twice"}},
		{"no file to compare with", []string{"measure", "barrier", "--compare="}, 2, []string{"--compare"}},
		{"no card to pass through", []string{"measure", "vfio"}, 2, []string{"--device vfio="}},
		{"two reports in one file", []string{"measure", "barrier", "--report", "json=" + dir + "/r,html=" + dir + "/r"}, 2, []string{"two reports in one file"}},
		{"unknown report", []string{"boot", "--report", "xml"}, 2, []string{"--report", "xml"}},
		{"report without a folder", []string{"boot", "--report", "json=/nonexistent/r.json"}, 1, []string{"/nonexistent/r.json"}},
		{"report to a folder", []string{"boot", "--report", "json=" + dir}, 1, []string{dir, "directory"}},
		{"report to a full device", []string{"boot", "--report", "json=/dev/full"}, 1, []string{"/dev/full", "no space"}},
		{"extra argument", []string{"boot", "vmlinuz"}, 2, []string{"vmlinuz"}},
		{"an emulated host that is not there", []string{"lab", "--host", "bosch", "--", "doorbell"}, 2, []string{`--host "bosch"`, "tcg and bochs"}},
		{"devices of Bochs", []string{"lab", "--host", "bochs", "--device", "nvme", "--", "doorbell"}, 2, []string{"--device nvme", "no IOMMU"}},
		{"more processors than Bochs has", []string{"lab", "--host", "bochs", "-c", "3", "--", "doorbell"}, 2, []string{"-c 3", "1 to 2"}},
		{"more memory than Bochs has", []string{"lab", "--host", "bochs", "-m", "4G", "--", "doorbell"}, 2, []string{"-m 4G", "at most 2G"}},
		{"lab without a command", []string{"lab"}, 2, []string{"lab"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := c.args
			if args[0] == "boot" && !strings.Contains(strings.Join(args, " "), "--host") {
				args = append(args, "--host", "here")
			}
			o := doorbell(t, "", args...)
			o.want(t, c.status, o.stderr, c.parts...)
			oneLine(t, o)
		})
	}
}

// oneLine checks that doorbell said one line that is no stack trace. A guest that ran adds the line of its end.
func oneLine(t testing.TB, o outcome) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(o.stderr), "\n")
	if len(lines) == 2 && strings.Contains(lines[0], "the guest ended") {
		lines = lines[1:]
	}
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "doorbell: ") || strings.Contains(o.stderr, "goroutine") {
		t.Errorf("stderr is not one line:\n%s", o.stderr)
	}
}

// TestFullDisk: a report that does not fit leaves the old one alone and nothing beside it.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, 0)
	path := filepath.Join(dir, "r.json")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := doorbell(t, "", "boot", "--host", "here", "--report", "json="+path)
	o.want(t, 1, o.stderr, path, "no space left")
	oneLine(t, o)
	if b, _ := os.ReadFile(path); string(b) != "old" {
		t.Errorf("the old report is now %q", b)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

// TestUnreadableKVM: without rights to the device the line says what to do.
func TestUnreadableKVM(t *testing.T) {
	c := command(t, "boot", "--host", "here")
	c.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	c.Dir = "/"
	if err := os.Chmod("/dev/kvm", 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := c.CombinedOutput()
	if err == nil || c.ProcessState.ExitCode() != 1 || !strings.Contains(string(b), "/dev/kvm is not accessible") {
		t.Errorf("%v:\n%s", err, b)
	}
}

// TestHelp: every command's help shows an example.
func TestHelp(t *testing.T) {
	for _, cmd := range []string{"", "boot", "measure", "probe", "lab"} {
		args := []string{"--help"}
		if cmd != "" {
			args = []string{cmd, "--help"}
		}
		o := doorbell(t, "", args...)
		o.want(t, 0, o.stdout, "Examples:", "doorbell "+cmd)
	}
}

// TestProbe: the lab's host runs Linux, and says how that is known.
func TestProbe(t *testing.T) {
	o := doorbell(t, "", "probe")
	o.want(t, 0, o.stdout, "hardware virtualization", "flag", "runs stock Linux", "irqchip split", "no device is in an IOMMU group")
	o = doorbell(t, "", "probe", "--report", "json")
	o.want(t, 0, o.stdout, `"name": "linux_guests"`, `"answer": "yes"`, `"environment"`)
}
