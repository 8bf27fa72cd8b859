package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"doorbell/internal/device/mailbox"
	"doorbell/internal/guestreport"

	"golang.org/x/sys/unix"
)

// Names of the Phase messages.
const (
	phaseUserspace     = "userspace"
	phaseWorkloadStart = "workload-start"
	phaseWorkloadEnd   = "workload-end"
)

// agent is one boot of the guest.
type agent struct {
	uptime  int64 // bootClock at the first instructions
	options options
	mailbox *channel             // nil without a mailbox
	modules []string             // that were loaded
	network *guestreport.Network // nil where there is none
}

// run does everything but the end of the machine. What is needed by the host's
// clock comes first.
func (a *agent) run() error {
	if err := mountProc(); err != nil {
		return err
	}
	mountErr := mountRest()
	text, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	var complaints []string
	a.options, complaints = parseCommandLine(string(text))
	var mailboxErr error
	if a.mailbox, mailboxErr = openMailbox(a.options.mailbox); mailboxErr == nil {
		mailboxErr = a.mailbox.announce()
	}
	if err := errors.Join(mountErr, mailboxErr); err != nil {
		a.complain(err)
	}
	for _, c := range complaints {
		a.complain(errors.New(c))
	}
	if err := a.loadModules(); err != nil {
		a.complain(err)
	}
	a.bringUpNetwork()
	if a.options.wait {
		if err := a.waitForJob(); err != nil {
			return err
		}
	}
	report, err := a.measure()
	if err != nil {
		return err
	}
	if report.Workload.Error != "" {
		a.complain(fmt.Errorf("workload %s: %s", report.Workload.Spec, report.Workload.Error))
	}
	if a.options.showInterrupts {
		if err := show("/proc/interrupts"); err != nil {
			return err
		}
	}
	return a.send(report)
}

// measure runs the workload between two snapshots.
func (a *agent) measure() (*guestreport.Report, error) {
	work, err := parseWorkload(a.options.workload)
	if err != nil {
		return nil, err
	}
	report := &guestreport.Report{
		Kernel:            kernelRelease(),
		MemoryBytes:       totalMemory(),
		UserspaceUptimeNs: a.uptime,
		Modules:           a.modules,
		Network:           a.network,
	}
	if report.Before, err = takeSnapshot(); err != nil {
		return nil, err
	}
	report.CPUsOnline = len(report.Before.Interrupts.CPUs)
	os.Stdout.WriteString(banner(report))
	if work.run != nil {
		// The console is written by interrupts: let the banner's pass.
		drain(os.Stdout)
		if report.Before, err = takeSnapshot(); err != nil {
			return nil, err
		}
	}
	a.mailbox.phase(phaseWorkloadStart)
	start := time.Now()
	report.Workload.Spec = a.options.workload
	if work.run != nil {
		err = work.run(&report.Workload)
	}
	report.Workload.DurationNs = time.Since(start).Nanoseconds()
	switch status := report.Workload.ExitStatus; {
	case err != nil:
		report.Workload.Error = err.Error()
	case status != 0:
		report.Workload.Error = fmt.Sprintf("exit status %d", status)
	}
	report.After, err = takeSnapshot()
	a.mailbox.phase(phaseWorkloadEnd)
	return report, err
}

// send gives the host the report.
func (a *agent) send(report *guestreport.Report) error {
	if a.mailbox == nil {
		return nil
	}
	document, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return a.mailbox.port.Send(mailbox.Report, document)
}

// waitForJob takes over what the host asks for.
func (a *agent) waitForJob() error {
	if a.mailbox == nil {
		return errors.New("doorbell.wait=1: there is no mailbox to get a job from")
	}
	document, err := a.mailbox.job()
	if err != nil {
		return err
	}
	if document == nil { // the host said goodbye: there is no work
		return nil
	}
	var job guestreport.Job
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&job); err != nil {
		return fmt.Errorf("job: %w", err)
	}
	if job.Workload != "" {
		a.options.workload = job.Workload
	}
	if job.End != "" {
		if !isEnd(job.End) {
			return fmt.Errorf("job: end %.32q is not known", job.End)
		}
		a.options.end = job.End
	}
	return nil
}

// complain tells a person and the host, in one line.
func (a *agent) complain(err error) {
	line := "doorbell-agent: " + oneLine(err.Error())
	os.Stdout.WriteString(line + "\n")
	a.mailbox.log(line)
}

// banner is the line for a person.
func banner(r *guestreport.Report) string {
	plural := "s"
	if r.CPUsOnline == 1 {
		plural = ""
	}
	return fmt.Sprintf("Linux %s, %d CPU%s online, %d MiB of memory, userspace %.2f s after the kernel's start\n",
		r.Kernel, r.CPUsOnline, plural, r.MemoryBytes>>20, float64(r.UserspaceUptimeNs)/1e9)
}

func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(name.Release[:])
}

// totalMemory is /proc/meminfo's MemTotal, in bytes.
func totalMemory() uint64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return info.Totalram * uint64(info.Unit)
}
