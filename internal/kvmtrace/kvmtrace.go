// Package kvmtrace counts hardware exits with the kernel's kvm_exit tracepoint: a histogram that the kernel keeps, keyed by
// exit reason and vCPU, for the threads of one machine only. It needs tracefs and the right to write to it.
//
// The histogram lives in a trace instance of its own, so that nobody else's tracing is disturbed, and is counted in the
// kernel: no event is copied to userspace (Documentation/trace/histogram.rst).
package kvmtrace

import (
	"errors"
	"fmt"
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
	instance instance
	vendor   kvm.Vendor
}

const exitEvent = "kvm_exit"

// Exits counts hardware exits by vCPU and by the reason's name (asm/svm.h or asm/vmx.h).
type Exits map[int]map[string]uint64

// initialPIDs is the link of the initial PID namespace, whose inode number is fixed (include/linux/proc_ns.h, PROC_PID_INIT_INO).
const initialPIDs = "pid:[4026531836]"

// maxTrigger bounds a filter: the kernel takes a definition as one write of at most a page.
const maxTrigger = 3900

// Start begins to count the exits of the threads tids, which run vCPUs of one machine; without any, of all machines.
func Start(vendor kvm.Vendor, tids []int) (*Counter, error) {
	root, err := Find()
	if err != nil {
		return nil, err
	}
	if err := initialNamespace(); err != nil {
		return nil, err
	}
	filter, err := threads(tids)
	if err != nil {
		return nil, err
	}
	// kvm_exit has had a vcpu_id field since Linux 5.12; before that the thread alone tells vCPUs apart.
	if !hasField(root, exitEvent, "vcpu_id") {
		return nil, &kvm.NotSupportedError{Feature: feature, Reason: "it has no vcpu_id field before Linux 5.12"}
	}
	removeStale(root)
	c := &Counter{vendor: vendor}
	if c.instance, err = newInstance(root); err != nil {
		return nil, err
	}
	if err := c.instance.count(exitEvent, "hist:keys=vcpu_id,exit_reason:size=4096"+filter); err != nil {
		c.Close()
		return nil, fmt.Errorf("%s: %w", feature, err)
	}
	return c, nil
}

// serial tells one process's instances apart.
var serial atomic.Int64

// initialNamespace is an error in a container, where threads have other numbers than the tracepoints know them by.
func initialNamespace() error {
	if ns, err := os.Readlink("/proc/self/ns/pid"); err == nil && ns != initialPIDs {
		return &kvm.NotSupportedError{Feature: feature, Reason: "this process is in a PID namespace (a container): the tracepoint knows its threads by other numbers"}
	}
	return nil
}

// hasField says whether an event of this kernel has a field.
func hasField(root, event, field string) bool {
	format, err := os.ReadFile(filepath.Join(root, "events/kvm", event, "format"))
	return err == nil && regexp.MustCompile(`\b`+field+`;`).Match(format)
}

// threads is the filter that a histogram's definition ends with, for the threads tids; without any, of all.
func threads(tids []int) (string, error) {
	if len(tids) == 0 {
		return "", nil
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
	filter := " if " + strings.Join(conditions, "||")
	if len(filter) > maxTrigger {
		return "", &kvm.NotSupportedError{Feature: feature, Reason: fmt.Sprintf("its filter has no room for %d vCPUs' threads", len(tids))}
	}
	return filter, nil
}

// Read returns the counts so far, and how many exits the histogram had no room for.
func (c *Counter) Read() (exits Exits, dropped uint64, err error) {
	rows, dropped, err := c.instance.histogram(exitEvent)
	if err != nil {
		return nil, 0, err
	}
	return byReason(rows, c.vendor), dropped, nil
}

func byReason(rows []row, vendor kvm.Vendor) Exits {
	exits := Exits{}
	for _, r := range rows {
		vcpu := int(r.keys["vcpu_id"])
		if exits[vcpu] == nil {
			exits[vcpu] = map[string]uint64{}
		}
		exits[vcpu][kvm.HardwareExitName(vendor, r.keys["exit_reason"])] += r.n
	}
	return exits
}

// Close removes the histogram and its instance.
func (c *Counter) Close() error { return c.instance.close() }

var dropped = regexp.MustCompile(`^\s*Dropped:\s*(\d+)`)

// removeStale takes away the instances of processes that were killed before they could.
func removeStale(root string) {
	names, _ := filepath.Glob(filepath.Join(root, "instances", "doorbell-*-*"))
	for _, n := range names {
		pid, err := strconv.Atoi(strings.Split(filepath.Base(n), "-")[1])
		if err == nil && unix.Kill(pid, 0) == unix.ESRCH {
			_ = instance{n}.close()
		}
	}
}
