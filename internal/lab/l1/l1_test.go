package l1

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"doorbell/internal/lab/wire"
)

func TestEnvironment(t *testing.T) {
	got := environment([]string{"A=1", "PATH=/opt", "A=2", "nonsense", "=x", "B="})
	want := []string{"HOME=/root", "PATH=/opt:/usr/bin", "TERM=dumb", "A=2", "B="}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, v := range environment(nil) {
		if path, ok := strings.CutPrefix(v, "PATH="); ok && !strings.Contains(path, "/usr/bin") {
			t.Errorf("PATH is %s", path)
		}
	}
}

func TestExitStatus(t *testing.T) {
	for _, test := range []struct {
		status unix.WaitStatus
		exit   int
		signal syscall.Signal
	}{{0, 0, 0}, {7 << 8, 7, 0}, {255 << 8, 255, 0}, {9, 137, syscall.SIGKILL}, {6 | 0x80, 134, syscall.SIGABRT}} {
		exit, signal := exitStatus(test.status)
		if exit != test.exit || signal != test.signal {
			t.Errorf("%#x: %d, %v; want %d, %v", test.status, exit, signal, test.exit, test.signal)
		}
	}
}

func TestFindPort(t *testing.T) {
	class := t.TempDir()
	for name, content := range map[string]string{"vport0p1/name": "org.other.agent\n", "vport0p2/name": PortName + "\n", "vport0p3/dev": "1:2"} {
		write(t, filepath.Join(class, name), content)
	}
	if got, err := findPort(class, PortName); err != nil || got != "vport0p2" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := findPort(class, "nosuch"); err == nil || !strings.Contains(err.Error(), "3 ports") {
		t.Errorf("%v", err)
	}
}

// TestChangedFiles lets a command write below several roots, and reads what
// would be sent home.
func TestChangedFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"work/kept", "work/changed", "work/same-length", "work/same-time", "work/removed", "outside"} {
		write(t, at(name), "old")
	}
	r := roots{at("work"), at("reports/r.json"), at("missing"), at("made")}
	before, err := r.snapshot()
	if err != nil {
		t.Fatal(err)
	}

	for name, content := range map[string]string{
		"work/changed": "longer than before", "work/same-length": "new", "work/new/file": "new", "work/empty": "",
		"outside": "changed", "reports/r.json": "{}", "reports/other": "x", "made/a": "a",
	} {
		waitForTick(t, dir)
		write(t, at(name), content)
	}
	info, err := os.Stat(at("work/same-time"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, at("work/same-time"), "new")
	if err := os.Chtimes(at("work/same-time"), info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(at("work/removed")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("kept", at("work/link")); err != nil {
		t.Fatal(err)
	}

	got := sent(t, func(conn *wire.Conn) error { return r.sendChanged(conn, before) })
	want := map[string]string{
		at("work/changed"): "longer than before", at("work/same-length"): "new", at("work/same-time"): "new",
		at("work/new/file"): "new", at("work/empty"): "", at("reports/r.json"): "{}", at("made/a"): "a",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// waitForTick returns when the file system's clock, which is coarse, has moved
// on: L1's files are older than the command by far more.
func waitForTick(t *testing.T, dir string) {
	t.Helper()
	probe := filepath.Join(dir, "probe")
	var first syscall.Timespec
	for i := 0; ; i++ {
		write(t, probe, "x")
		info, err := os.Lstat(probe)
		if err != nil {
			t.Fatal(err)
		}
		now := stampOf(info).ctime
		if i == 0 {
			first = now
		} else if now != first {
			return
		}
	}
}

// sent collects the files that send sends.
func sent(t *testing.T, send func(*wire.Conn) error) map[string]string {
	t.Helper()
	ours, theirs := net.Pipe()
	result := make(chan error, 1)
	go func() {
		result <- send(wire.NewConn(theirs))
		theirs.Close()
	}()
	files := map[string]string{}
	conn := wire.NewConn(ours)
	var m wire.FileMessage
	var content strings.Builder
	for {
		typ, payload, err := conn.Receive()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch typ {
		case wire.File:
			if m, err = wire.ParseFile(payload); err != nil {
				t.Fatal(err)
			}
			content.Reset()
		case wire.FileData:
			content.Write(payload)
		case wire.FileEnd:
			if int64(content.Len()) != m.Size {
				t.Errorf("%s: %d bytes, announced %d", m.Path, content.Len(), m.Size)
			}
			files[string(m.Path)] = content.String()
		default:
			t.Fatalf("unexpected %v", typ)
		}
	}
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	return files
}

// TestFeedGrantsCreditForEveryFrame stands for a command that reads a little
// and then closes its input: the caller must get every credit back.
func TestFeedGrantsCreditForEveryFrame(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	std := &stdio{in: w}
	ours, theirs := net.Pipe()
	input := make(chan []byte, wire.StdinWindow+1)
	go std.feed(wire.NewConn(theirs), input)
	conn := wire.NewConn(ours)
	receiveCredit := func() {
		t.Helper()
		if typ, _, err := conn.Receive(); err != nil || typ != wire.StdinCredit {
			t.Fatalf("%v, %v", typ, err)
		}
	}
	input <- []byte("first")
	receiveCredit()
	got := make([]byte, 5)
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "first" {
		t.Fatalf("%q, %v", got, err)
	}
	r.Close()
	for range wire.StdinWindow {
		input <- []byte("nobody reads this")
	}
	for range wire.StdinWindow {
		receiveCredit()
	}
	input <- nil
	close(input)
}

func TestIsInit(t *testing.T) {
	if IsInit() {
		t.Error("a test is not the first process of an emulated host")
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
