package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestNMITarget: the button is that of the only guest, or of the one that is named; nothing else is ever signalled.
func TestNMITarget(t *testing.T) {
	proc := t.TempDir()
	for pid, cmdline := range map[int]string{
		10: "/usr/bin/doorbell\x00boot\x00-c\x002\x00", 11: "doorbell\x00probe\x00", 12: "/bin/sh\x00-c\x00doorbell boot\x00", 13: "", 14: "doorbell\x00",
	} {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cmdline"), []byte(cmdline), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	os.Mkdir(filepath.Join(proc, "self"), 0o755)
	one, err := runningGuests(proc)
	if err != nil || len(one) != 1 || one[0].pid != 10 || one[0].command != "boot -c 2" {
		t.Fatalf("%v, %v", one, err)
	}
	two := append(one, guestProcess{20, "measure boot"})
	for _, c := range []struct {
		running []guestProcess
		args    string
		pid     int
		err     string
	}{
		{one, "", 10, ""}, {two, "20", 20, ""}, {two, "10", 10, ""},
		{nil, "", 0, "no doorbell"}, {two, "", 0, "10 (boot -c 2), 20 (measure boot)"},
		{two, "11", 0, "process 11 is not"}, {two, "x", 0, `"x" is not`}, {two, "-1", 0, `"-1" is not`}, {two, "0", 0, `"0" is not`},
	} {
		got, err := chooseGuest(c.running, strings.Fields(c.args))
		if got.pid != c.pid || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%v %q: %v, %v", c.running, c.args, got, err)
		}
	}
	if long, _ := runningGuests("/nowhere"); long != nil {
		t.Error(long)
	}
}
