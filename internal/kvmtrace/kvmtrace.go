// Package kvmtrace counts hardware exits with the kernel's kvm_exit tracepoint: a histogram that the kernel keeps, keyed by
// exit reason and vCPU, for the threads of one machine only. It needs tracefs and the right to write to it.
//
// The histogram lives in a trace instance of its own, so that nobody else's tracing is disturbed, and is counted in the
// kernel: no event is copied to userspace (Documentation/trace/histogram.rst).
package kvmtrace

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"doorbell/internal/kvm"

	"golang.org/x/sys/unix"
)

// mounts are where tracefs is mounted, newer place first.
var mounts = []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}

const feature = "the kvm_exit tracepoint"

// Find returns the tracefs in which kvm_exit can be counted, or a *kvm.NotSupportedError with the reason.
func Find() (string, error) {
	reason := "tracefs is not mounted at " + mounts[0]
	for _, m := range mounts {
		_, err := os.Stat(filepath.Join(m, "events/kvm/kvm_exit/trigger"))
		switch {
		case err == nil:
			if err := unix.Access(filepath.Join(m, "instances"), unix.W_OK); err != nil {
				return "", &kvm.NotSupportedError{Feature: feature, Reason: fmt.Sprintf("%s/instances is not writable for this user: run as root", m)}
			}
			if _, err := os.Stat(filepath.Join(m, "events/kvm/kvm_exit/hist")); err != nil {
				return "", &kvm.NotSupportedError{Feature: feature, Reason: "the kernel was built without CONFIG_HIST_TRIGGERS"}
			}
			return m, nil
		case errors.Is(err, fs.ErrPermission):
			reason = m + " is not readable for this user: run as root"
		case isTracefs(m):
			reason = m + " has no kvm events: the kernel was built without them, or kvm is not loaded"
		}
	}
	return "", &kvm.NotSupportedError{Feature: feature, Reason: reason}
}

func isTracefs(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "trace"))
	return err == nil
}

// Counter is a running histogram.
type Counter struct {
	dir    string // the instance
	vendor kvm.Vendor
}

// Exits counts hardware exits by vCPU and by the reason's name (asm/svm.h or asm/vmx.h).
type Exits map[int]map[string]uint64

// initialPIDs is the link of the initial PID namespace, whose inode number is fixed (include/linux/proc_ns.h, PROC_PID_INIT_INO).
const initialPIDs = "pid:[4026531836]"

// maxTrigger bounds the histogram's definition, which the kernel takes as one write of at most a page.
const maxTrigger = 4000

// Start begins to count the exits of the threads tids, which run vCPUs of one machine; without any, of all machines.
func Start(vendor kvm.Vendor, tids []int) (*Counter, error) {
	root, err := Find()
	if err != nil {
		return nil, err
	}
	if ns, err := os.Readlink("/proc/self/ns/pid"); err == nil && ns != initialPIDs {
		return nil, &kvm.NotSupportedError{Feature: feature, Reason: "this process is in a PID namespace (a container): the tracepoint knows its threads by other numbers"}
	}
	definition := trigger(tids)
	if len(definition) > maxTrigger {
		return nil, &kvm.NotSupportedError{Feature: feature, Reason: fmt.Sprintf("its filter has no room for %d vCPUs' threads", len(tids))}
	}
	removeStale(root)
	dir := filepath.Join(root, "instances", fmt.Sprintf("doorbell-%d-%d", os.Getpid(), serial.Add(1)))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("trace instance: %w", err)
	}
	c := &Counter{dir: dir, vendor: vendor}
	// kvm_exit has had a vcpu_id field since Linux 5.12; before that the thread alone tells vCPUs apart.
	format, err := os.ReadFile(c.event("format"))
	if err == nil && !strings.Contains(string(format), "vcpu_id") {
		err = &kvm.NotSupportedError{Feature: feature, Reason: "it has no vcpu_id field before Linux 5.12"}
	}
	if err == nil {
		err = os.WriteFile(c.event("trigger"), []byte(definition), 0)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("%s: %w", feature, err)
	}
	return c, nil
}

// serial tells one process's instances apart.
var serial atomic.Int64

// trigger is the histogram's definition.
func trigger(tids []int) string {
	const hist = "hist:keys=vcpu_id,exit_reason:size=4096"
	if len(tids) == 0 {
		return hist
	}
	tids = slices.Sorted(slices.Values(tids))
	var conditions []string
	for i := 0; i < len(tids); {
		n := 1
		for i+n < len(tids) && tids[i+n] == tids[i]+n {
			n++
		}
		if n > 2 { // threads made one after the other are numbered so
			conditions = append(conditions, fmt.Sprintf("(common_pid>=%d&&common_pid<=%d)", tids[i], tids[i]+n-1))
			i += n
			continue
		}
		conditions = append(conditions, fmt.Sprintf("common_pid==%d", tids[i]))
		i++
	}
	return hist + " if " + strings.Join(conditions, "||")
}

func (c *Counter) event(file string) string {
	return filepath.Join(c.dir, "events/kvm/kvm_exit", file)
}

// Read returns the counts so far, and how many exits the histogram had no room for.
func (c *Counter) Read() (exits Exits, dropped uint64, err error) {
	f, err := os.Open(c.event("hist"))
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", feature, err)
	}
	defer f.Close()
	return parse(f, c.vendor)
}

// Close removes the histogram and its instance.
func (c *Counter) Close() error {
	trigger, err := os.ReadFile(c.event("trigger"))
	if err == nil && strings.HasPrefix(string(trigger), "hist:") {
		_ = os.WriteFile(c.event("trigger"), []byte("!"+strings.TrimSpace(string(trigger))), 0)
	}
	return os.Remove(c.dir)
}

var (
	entry   = regexp.MustCompile(`^\{ vcpu_id:\s*(\d+), exit_reason:\s*(\d+) \} hitcount:\s*(\d+)`)
	dropped = regexp.MustCompile(`^\s*Dropped:\s*(\d+)`)
)

// parse reads the kernel's rendering of the histogram, one entry a line.
func parse(r io.Reader, vendor kvm.Vendor) (Exits, uint64, error) {
	exits, lost := Exits{}, uint64(0)
	s := bufio.NewScanner(r)
	for s.Scan() {
		if m := dropped.FindStringSubmatch(s.Text()); m != nil {
			lost, _ = strconv.ParseUint(m[1], 10, 64)
		}
		m := entry.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		vcpu, err1 := strconv.Atoi(m[1])
		reason, err2 := strconv.ParseUint(m[2], 10, 64)
		n, err3 := strconv.ParseUint(m[3], 10, 64)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, 0, fmt.Errorf("%s: histogram line %q: %w", feature, s.Text(), err)
		}
		if exits[vcpu] == nil {
			exits[vcpu] = map[string]uint64{}
		}
		exits[vcpu][kvm.HardwareExitName(vendor, reason)] += n
	}
	return exits, lost, s.Err()
}

// removeStale takes away the instances of processes that were killed before they could.
func removeStale(root string) {
	names, _ := filepath.Glob(filepath.Join(root, "instances", "doorbell-*-*"))
	for _, n := range names {
		pid, err := strconv.Atoi(strings.Split(filepath.Base(n), "-")[1])
		if err == nil && unix.Kill(pid, 0) == unix.ESRCH {
			(&Counter{dir: n}).Close()
		}
	}
}
