package main

import (
	"fmt"
	"strconv"
	"strings"

	"doorbell/internal/device/mailbox"
)

// How the machine ends.
const (
	endPowerOff = "poweroff"
	endReboot   = "reboot"
	endPanic    = "panic"
	endShell    = "shell"
	endHalt     = "halt"
)

func isEnd(s string) bool {
	switch s {
	case endPowerOff, endReboot, endPanic, endShell, endHalt:
		return true
	}
	return false
}

// options are the parameters on the kernel's command line.
type options struct {
	workload       string
	net            string // as parseNet accepts it, or netAuto
	wait           bool
	showInterrupts bool
	end            string
	mailbox        uint64 // its address, for a kernel that has no ACPI to learn it from; 0 without
}

func defaultOptions() options { return options{workload: workloadNone, end: endPowerOff} }

// parseCommandLine reads our parameters; the last of equal ones counts. Of what
// it cannot make sense it complains and keeps the default, so that a guest with
// a misspelled parameter still ends.
func parseCommandLine(text string) (options, []string) {
	o := defaultOptions()
	var complaints []string
	for _, word := range splitParameters(text) {
		name, value, _ := strings.Cut(word, "=")
		name, ours := strings.CutPrefix(name, "doorbell.")
		if !ours {
			continue
		}
		ok := true
		switch name {
		case "workload":
			_, err := parseWorkload(value)
			if ok = err == nil; ok {
				o.workload = value
			} else {
				complaints = append(complaints, err.Error())
				continue
			}
		case "net":
			err := parseNet(value)
			if ok = err == nil; ok {
				o.net = value
			} else {
				complaints = append(complaints, err.Error())
				continue
			}
		case "wait":
			if ok = value == "1" || value == "0"; ok {
				o.wait = value == "1"
			}
		case "show":
			if ok = value == "interrupts"; ok {
				o.showInterrupts = true
			}
		case "end":
			if ok = isEnd(value); ok {
				o.end = value
			}
		case "mailbox":
			address, err := strconv.ParseUint(value, 0, 64)
			if ok = err == nil && address != 0 && address%mailbox.PageSize == 0; ok {
				o.mailbox = address
			}
		default:
			ok = false
		}
		if !ok {
			complaints = append(complaints, fmt.Sprintf("parameter %.80q on the kernel's command line is not known", word))
		}
	}
	return o, complaints
}

// splitParameters splits at white space outside of double quotes, and takes the
// quotes off, as next_arg in the kernel's lib/cmdline.c does.
func splitParameters(text string) []string {
	var words []string
	var word strings.Builder
	quoted, inside := false, false
	flush := func() {
		if inside {
			words = append(words, word.String())
		}
		word.Reset()
		inside = false
	}
	for _, r := range text {
		switch {
		case r == '"':
			quoted, inside = !quoted, true
		case !quoted && (r == ' ' || r == '\t' || r == '\n'):
			flush()
		default:
			word.WriteRune(r)
			inside = true
		}
	}
	flush()
	return words
}

// oneLine is for texts that come from elsewhere.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
