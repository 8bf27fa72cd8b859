package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"doorbell/guest/memory"
	"doorbell/images"
	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/vmm"
)

// Experiment is one that `doorbell measure` can run.
type Experiment struct {
	Name     string
	Question string           // what it answers, for --list
	Arms     string           // what it compares or breaks down
	Named    bool             // it runs only if it is named: it needs a device, or all of them together would take too long
	Bare     bool             // it makes its own guests and takes none of the flags that describe one; it has no result
	Guests   []images.Release // guests that it boots besides the one of the flags
	Run      func(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error)
}

// Experiments are all of them, in the order in which they run.
func Experiments() []Experiment {
	return []Experiment{
		{Name: "boot", Run: Boot, Question: "what does a boot cost?", Arms: "exits by reason, vCPU and device; a time line of phases"},
		{Name: "paths", Run: Paths, Bare: true, Question: "what does one interrupt cost, by the way that it takes?",
			Arms: "IRQ_LINE edge and level, SIGNAL_MSI, irqfd MSI and pin, KVM_INTERRUPT; running, polling, halted; EOI that exits, PV EOI"},
		{Name: "posted", Run: Posted, Bare: true, Question: "are interrupts posted to a running vCPU, and what do they cost?",
			Arms: "running, halted; SIGNAL_MSI, irqfd; xAPIC, x2APIC; APIC virtualization on and off"},
		{Name: "storm", Run: Storm, Bare: true, Question: "what if the handler ends its interrupt before it quiets the device?",
			Arms: "right order, wrong order, never; KVM's IOAPIC and doorbell's, with their throttles"},
		{Name: "irqline", Run: IRQLine, Bare: true, Named: true, Question: "what does sharing an interrupt line cost?",
			Arms: "two devices on one level pin, two with a vector each; one alone, in turns, both at once: handlers run in vain"},
		{Name: "ipi", Run: IPI, Bare: true, Named: true, Question: "what does an interrupt from one vCPU to another cost?",
			Arms: "self, one, all but self; xAPIC, x2APIC, PV IPI; running, halted; exits of the sender and of the target"},
		{Name: "shootdown", Run: Shootdown, Named: true, Question: "what does it cost a guest to have another vCPU forget a translation?",
			Arms: "a page mapped, protected, unmapped; the other vCPU idle, spinning in another address space, in the same: TLB shootdowns"},
		{Name: "coalesce", Run: Coalesce, Question: "what does it spare to put interrupts off, and what does it cost?",
			Arms: "none, 4 and 16 frames, 5 and 20 ms, NAPI's deferral, busy polling; packets per interrupt, exits per packet, a request's time, packets a second of a flood"},
		{Name: "affinity", Run: Affinity, Named: true, Question: "does steering pay?",
			Arms: "queue, vector and application on one vCPU; crossed; RPS; one queue for all; IPIs and wakeups per packet"},
		{Name: "barrier", Run: Barrier, Bare: true, Question: "why does a doorbell need a barrier?",
			Arms: "a ring's publish-then-check by two threads, with a full barrier and without; lost notifications per million"},
		{Name: "notify", Run: Notify, Bare: true, Question: "what does it take to wake a thread on the host?",
			Arms: "eventfd, pipe, futex, signal, io_uring; one waiter, several; alone, in bursts: coalesced wake-ups"},
		{Name: "timer", Run: Timer, Named: true, Question: "what does idling cost, and a tick those that work?",
			Arms: "tickless, periodic tick, LAPIC one-shot, PIT; busy with a tick, busy with nohz_full"},
		{Name: "zerocopy", Run: ZeroCopy, Bare: true, Named: true, Question: "from which size does remapping beat copying?",
			Arms: "64 B to 4 MiB; copying, remapping, exchanging pages; one thread, two, one for each processor: times in proportion, faults, TLB shootdowns"},
		{Name: "ledger", Run: Ledger, Bare: true, Named: true, Question: "what does doorbell's own counting cost?",
			Arms: "exits to doorbell with its ledger and with none, with KVM's tracepoint and without: parts of an exit's round trip"},
		{Name: "threaded", Run: Threaded, Named: true, Guests: ThreadedGuests, Question: "where does an interrupt's handler run in Linux, and where the work that it puts off?",
			Arms: "Debian's cloud kernel, the same with threadirqs, PREEMPT_RT; softirq, tasklet, workqueue, threaded handler; idle, busy"},
		{Name: "modes", Run: Modes, Named: true, Question: "what do three sets of interrupt controllers cost the same guest?", Arms: "kernel, split, user; exits, vectors, EOIs, kicks"},
		{Name: "vfio", Run: VFIO, Named: true, Question: "what does a network card cost that is passed through?",
			Arms: "passed through; the same card behind virtio-net; needs --device vfio=ADDRESS"},
	}
}

// Find returns the experiments named, or those that need no naming.
func Find(names []string) (Set, error) {
	all := Experiments()
	if len(names) == 0 {
		return slices.DeleteFunc(all, func(e Experiment) bool { return e.Named }), nil
	}
	var found Set
	for _, n := range names {
		i := indexOf(all, n)
		if i < 0 {
			known := make([]string, len(all))
			for i, e := range all {
				known[i] = e.Name
			}
			return nil, fmt.Errorf("no experiment is named %q; there is: %s", n, strings.Join(known, ", "))
		}
		if indexOf(found, n) >= 0 {
			return nil, fmt.Errorf("%s is named twice", n)
		}
		found = append(found, all[i])
	}
	return found, nil
}

// Set is experiments that run one after the other, into one report, the longer ones with fewer rounds than alone.
type Set []Experiment

// Guests are those that they boot besides the one of a user's flags.
func (s Set) Guests() (all []images.Release) {
	for _, e := range s {
		all = append(all, e.Guests...)
	}
	return all
}

// Run runs them. One that fails, or that ctx's end keeps from running, has its reason in the report; the error is for a set of which nothing ran. The result
// is the last guest's, nil if there was none.
func (s Set) Run(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error) {
	if len(s) == 1 {
		return s[0].run(ctx, cfg)
	}
	ctx = oneSeed(short(ctx))
	doc := &report.Document{Environment: probe.Host()}
	var last *vmm.Result
	var failures []error
	progress := setProgress{set: s}
	for i, e := range s {
		cfg := cfg
		progress.begin(i, time.Now())
		if warn, here := cfg.Warn, progress; warn != nil {
			cfg.Warn = func(format string, args ...any) {
				prefix := fmt.Sprintf("(%d of %d) ", i+1, len(s))
				if ctx.Err() == nil {
					prefix = here.prefix(time.Now())
				}
				warn("%s", prefix+fmt.Sprintf(format, args...))
			}
		}
		var d *report.Document
		var res *vmm.Result
		err := context.Cause(ctx)
		if err == nil {
			d, res, err = e.run(ctx, cfg)
		}
		if res != nil {
			last = res
		}
		if err != nil {
			cfg.Warn("measure %s: %v", e.Name, err)
			failures = append(failures, fmt.Errorf("%s: %w", e.Name, err))
			doc.Experiments = append(doc.Experiments, notMeasured(e.Name, err))
			continue
		}
		progress.ran(time.Now())
		doc.Experiments = append(doc.Experiments, d.Experiments...)
		if d.VM != nil {
			doc.VM, doc.Guest = d.VM, d.Guest
		}
	}
	if len(failures) == len(s) {
		return nil, nil, errors.Join(failures...)
	}
	return doc, last, nil
}

// run runs it. What a signal has kept from measuring anything is in the report, with that for its reason.
func (e Experiment) run(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error) {
	doc, res, err := e.Run(ctx, cfg)
	switch {
	case err != nil && context.Cause(ctx) != nil:
		return &report.Document{Environment: probe.Host(), Experiments: []report.Experiment{notMeasured(e.Name, err)}}, res, nil
	case err != nil:
		return nil, res, err
	}
	for i := range doc.Experiments {
		x := &doc.Experiments[i]
		if n := x.FewestRounds(); n > 0 && x.Parameters != nil {
			x.Parameters["fewest_rounds_of_an_arm"], x.Parameters["confidence_of_least_to_most"] = n, confidenceText(n)
		}
	}
	if !e.Bare {
		for i := range doc.Experiments {
			e.describeGuest(&doc.Experiments[i], cfg, res)
		}
	}
	return doc, res, nil
}

func notMeasured(name string, why error) report.Experiment {
	return report.Experiment{Name: name, Finding: "not measured", Rows: []map[string]any{}, Missing: map[string]string{name: strings.ReplaceAll(why.Error(), "\n", "; ")}}
}

// describeGuest says which guest an experiment had by a user's flags, where it has not said so itself.
func (e Experiment) describeGuest(x *report.Experiment, cfg vmm.Config, res *vmm.Result) {
	if x.Parameters == nil {
		x.Parameters = map[string]any{}
	}
	said := func(name string, value any) {
		if _, ok := x.Parameters[name]; !ok {
			x.Parameters[name] = value
		}
	}
	said("irqchip", cfg.IRQChip)
	said("vcpus", cfg.VCPUs)
	said("memory", memory.FormatSize(cfg.Memory))
	said("pinned", "no")
	if len(e.Guests) == 0 && res != nil && res.Agent != nil { // others say it with each arm
		said("guest_kernel", res.Agent.Kernel)
	}
}

func indexOf(all []Experiment, name string) int {
	for i, e := range all {
		if e.Name == name {
			return i
		}
	}
	return -1
}

// Run runs a machine to its end and documents it. The document is there even if the guest crashed or was stopped.
func Run(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error) {
	m, err := vmm.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	defer m.Close()
	res, err := m.Run(ctx)
	if err != nil {
		return nil, nil, err
	}
	return &report.Document{
		Environment: probe.Host(), VM: &res.Account, Guest: report.NewGuest(res.Agent, res.AgentMissing), Experiments: []report.Experiment{},
	}, res, nil
}
