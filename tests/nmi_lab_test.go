//go:build lab

package tests

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"doorbell/internal/report"
	"doorbell/irqchip"
)

// TestNMI: doorbell nmi reaches a guest that does nothing. With unknown_nmi_panic it panics; without, it says that it knows no reason and goes
// on. The first processor gets it, since Linux masks the others' LINT1.
func TestNMI(t *testing.T) {
	for _, chip := range irqchip.Names {
		t.Run(chip, func(t *testing.T) { testNMI(t, chip) })
	}
}

func testNMI(t *testing.T, chip string) {
	for _, c := range []struct {
		name, cmdline, console string
		status                 int
	}{
		{"panic", "unknown_nmi_panic ", "Kernel panic - not syncing: NMI: Not continuing", 3},
		{"go on", "", "NMI received for unknown reason", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			guestTest(t, func(t testing.TB) {
				path := filepath.Join(t.TempDir(), "r.json")
				cmd := command(t, "boot", "--host", "here", "-c", "2", "--irqchip", chip, "-p", quiet+c.cmdline+"doorbell.end=halt", "--report", "text", "--report", "json="+path)
				var said bytes.Buffer
				cmd.Stderr = &said
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				var console strings.Builder
				pressed := false
				for lines := bufio.NewScanner(out); lines.Scan(); {
					console.WriteString(lines.Text() + "\n")
					switch {
					case !pressed && strings.Contains(lines.Text(), "online"):
						pressed = true
						button := doorbell(t, "", "nmi", strconv.Itoa(cmd.Process.Pid))
						button.want(t, 0, button.stderr, "pressed the NMI button of process "+strconv.Itoa(cmd.Process.Pid))
					case c.cmdline == "" && strings.Contains(lines.Text(), c.console):
						cmd.Process.Signal(syscall.SIGTERM)
					}
				}
				cmd.Wait()
				o := outcome{console.String(), said.String(), cmd.ProcessState.ExitCode()}
				if c.cmdline == "" {
					o.watch(t)
				}
				o.want(t, c.status, o.stdout, c.console)
				o.want(t, c.status, o.stdout, "The NMI button was pressed: vCPU 0 got 1 NMIs.")
				b, err := os.ReadFile(path)
				d := new(report.Document)
				if err == nil {
					err = json.Unmarshal(b, d)
				}
				if err != nil {
					t.Fatal(err)
				}
				if n := d.VM.NMIs; len(n) != 2 || n[0].Queued != 1 || n[0].Masked != 0 || n[1].Queued != 0 || n[1].Masked != 1 {
					t.Errorf("%+v", n)
				}
			})
		})
	}
}
