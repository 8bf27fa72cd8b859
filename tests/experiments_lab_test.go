//go:build lab

package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorbell/internal/report"
)

// someRounds says whether it names an arm of which some rounds are missing, and not all.
func someRounds(what string) bool {
	var missing, all int
	_, err := fmt.Sscanf(what[strings.LastIndexByte(what, '(')+1:], "%d of %d rounds)", &missing, &all)
	return err == nil && missing < all
}

// experiment runs one by its name and returns it, with its rows by what names them.
func experiment(t testing.TB, name string, args ...string) report.Experiment {
	t.Helper()
	path := filepath.Join(t.TempDir(), "r.json")
	o := doorbell(t, "", append([]string{"measure", name, "--host", "here", "--report", "text,json=" + path}, args...)...)
	o.watch(t)
	b, err := os.ReadFile(path)
	var d report.Document
	if err == nil {
		err = json.Unmarshal(b, &d)
	}
	if err != nil || len(d.Experiments) != 1 || d.Experiments[0].Name != name {
		t.Fatalf("%v: %+v\n%s", err, d.Experiments, o.stderr)
	}
	e := d.Experiments[0]
	o.want(t, 0, o.stdout, name+": "+e.Finding, "run with: ", "seed ")
	for what, why := range e.Missing {
		// A host with two processors has none for a third vCPU, and a round of several may fail on a machine with other work.
		if what != "all but self of three" && !someRounds(what) {
			t.Errorf("not measured: %s: %s", what, why)
		}
	}
	return e
}

// number is a figure of a row.
func number(t testing.TB, row map[string]any, name string) float64 {
	t.Helper()
	v, ok := row[name].(float64)
	if !ok {
		t.Errorf("%v: %s was not measured", row, name)
	}
	return v
}

// TestMeasurePaths: without APIC virtualization an interrupt takes an exit to be delivered, a kick or its HLT's, and one to be ended, which PV EOI spares,
// by whichever way it comes; with the local APIC outside KVM it takes one more. Every interrupt that was sent was seen.
func TestMeasurePaths(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		e := experiment(t, "paths")
		const ways = 2*(4*2+2) + 3 // running and halted: four with and without PV EOI, a level pin, and our local APIC; polling: three
		if len(e.Rows) != ways {
			t.Errorf("%d rows, want %d", len(e.Rows), ways)
		}
		for _, row := range e.Rows {
			want, delivery, completion, userspace := 2.0, 1.0, 1.0, 0.0
			switch {
			case row["path"] == "KVM_INTERRUPT":
				want, delivery, userspace = 3, 2, 1
				if row["target"] == "halted" {
					userspace = 2
				}
			case row["eoi"] == "PV EOI":
				want, completion = 1, 0
			}
			for name, want := range map[string]float64{
				"exits_per_interrupt": want, "delivery_exits_per_interrupt": delivery, "completion_exits_per_interrupt": completion,
				"userspace_exits_per_interrupt": userspace,
			} {
				// An interrupt that finds a running vCPU outside its guest needs no kick: on a machine with other work its thread is not always let run.
				below := 0.2
				if row["target"] == "running" && (name == "exits_per_interrupt" || name == "delivery_exits_per_interrupt") {
					below = 0.8
				}
				if got := number(t, row, name); got < want-below || got > want+0.2 {
					t.Errorf("%v, %v, %v: %s %.2f, want %.0f", row["path"], row["target"], row["eoi"], name, got, want)
				}
			}
			if sent, seen := number(t, row, "sent"), number(t, row, "seen"); sent == 0 || sent != seen {
				t.Errorf("%v: %.0f sent, %.0f seen", row["path"], sent, seen)
			}
			// Only a vCPU that polls is woken from that: on a machine with other work it is not always let poll.
			if row["path"] != "KVM_INTERRUPT" && row["target"] != "running" {
				if polled := number(t, row, "wakeups_while_polling_per_interrupt"); row["target"] == "polling" && polled < 0.5 || row["target"] == "halted" && polled > 0 {
					t.Errorf("%v, %v: %.2f wake-ups while it polled", row["path"], row["target"], polled)
				}
			}
			for _, name := range []string{"latency_p50_ns", "latency_histogram_ns", "sender_wait_p99_ns", "vcpu_thread_wait_p99_ns"} {
				if why, _ := row["not_measured"].(map[string]any); row[name] != nil || why[name] != "emulated clock" {
					t.Errorf("%v: %s is %v on an emulated host, %v", row["path"], name, row[name], why)
				}
			}
		}
	})
}

// TestMeasureLedger: doorbell's own counting is a small part of an exit's round trip, and every exit that it makes is counted, or none.
func TestMeasureLedger(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		e := experiment(t, "ledger")
		if len(e.Rows) != 3 {
			t.Fatalf("%d rows", len(e.Rows))
		}
		// On a machine that has other work to do the rounds are further apart than the bound: then another run has its say.
		costs := func(e report.Experiment) float64 {
			return max(number(t, e.Rows[0], "round_trip_percent"), number(t, e.Rows[1], "round_trip_percent"))
		}
		cost := costs(e)
		for again := 0; cost > 2 && again < 2; again++ {
			cost = min(cost, costs(experiment(t, "ledger")))
		}
		if cost > 2 {
			t.Errorf("the ledger costs %.2f %% of a round trip", cost)
		}
		if cost := number(t, e.Rows[2], "round_trip_percent"); cost < 0 || cost > 100 {
			t.Errorf("the tracepoint costs %.2f %% of a round trip", cost)
		}
		if e.Rows[0]["round_trip_without_ns"] != nil {
			t.Error("a time on an emulated host")
		}
	})
}

// TestMeasureStorm: a handler in the right order takes each assertion of its line once; in the wrong order about twice; and where the device stays as it is
// both IOAPICs let the guest come to itself after 10,000 interrupts.
func TestMeasureStorm(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		e := experiment(t, "storm")
		if len(e.Rows) != 6 {
			t.Errorf("%d rows", len(e.Rows))
		}
		for i, row := range e.Rows {
			got := number(t, row, "deliveries_per_assertion")
			switch i % 3 {
			case 0:
				if got < 1 || got > 1.02 {
					t.Errorf("%v: %.2f deliveries per assertion", row["handler"], got)
				}
			case 1:
				if got < 1.5 || got > 3 {
					t.Errorf("%v: %.2f deliveries per assertion", row["handler"], got)
				}
			case 2:
				if throttled := number(t, row, "throttled"); got < 10_000 || throttled < 1 {
					t.Errorf("%v: %.0f deliveries, %.0f times throttled", row["handler"], got, throttled)
				}
			}
		}
	})
}

// TestMeasureBarrier: without a full barrier between the publish and the check a ring loses notifications; with it, none.
func TestMeasureBarrier(t *testing.T) {
	e := experiment(t, "barrier")
	if len(e.Rows) != 2 {
		t.Fatalf("%d rows", len(e.Rows))
	}
	if lost := number(t, e.Rows[0], "lost_per_million_high"); lost == 0 {
		t.Errorf("%v lost none", e.Rows[0]["arm"])
	}
	if lost := number(t, e.Rows[1], "lost_per_million_high"); lost != 0 {
		t.Errorf("%v lost %v per million", e.Rows[1]["arm"], lost)
	}
}

// TestMeasureCoalesce: coalescing lowers interrupts per packet, and exits with them, and a single packet waits for it. A guest that looks by itself has fewer
// interrupts, too. Under a flood NAPI needs few interrupts whatever the card does, and takes all packets.
func TestMeasureCoalesce(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		e := experiment(t, "coalesce", "-c", "2")
		if len(e.Rows) != 7 {
			t.Fatalf("%d rows", len(e.Rows))
		}
		none := e.Rows[0]
		for _, row := range e.Rows {
			if got, even := number(t, row, "flood_interrupts_per_packet"), number(t, none, "interrupts_per_packet"); got > even {
				t.Errorf("%v: %.3f interrupts per packet of a flood, %.2f of an even load without coalescing", row["arm"], got, even)
			}
			if got, even := number(t, row, "flood_exits_per_packet"), number(t, none, "exits_per_packet"); got >= even {
				t.Errorf("%v: %.2f exits per packet of a flood, %.2f of an even load without coalescing", row["arm"], got, even)
			}
			if got := number(t, row, "throughput_ratio"); got < 0.1 {
				t.Errorf("%v: %.2f of the packets a second", row["arm"], got)
			}
		}
		for _, row := range e.Rows[5:] {
			if got, without := number(t, row, "interrupts_per_packet"), number(t, none, "interrupts_per_packet"); got >= without {
				t.Errorf("%v: %.2f interrupts per packet, %.2f without", row["arm"], got, without)
			}
		}
		// On a machine with other work each interrupt tells of several packets anyway: the settings that put off most say most.
		for _, row := range []map[string]any{e.Rows[2], e.Rows[4]} {
			if got, without := number(t, row, "packets_per_interrupt"), number(t, none, "packets_per_interrupt"); got <= without {
				t.Errorf("%v: %.1f packets per interrupt, %.1f without", row["arm"], got, without)
			}
			if got, without := number(t, row, "exits_per_packet"), number(t, none, "exits_per_packet"); got >= without {
				t.Errorf("%v: %.2f exits per packet, %.2f without", row["arm"], got, without)
			}
			if got := number(t, row, "latency_ratio"); got <= 1 {
				t.Errorf("%v: a request took %.2f of the time without", row["arm"], got)
			}
		}
		if got := number(t, e.Rows[2], "packets_per_interrupt"); got < 8 || got > 32 {
			t.Errorf("%.1f packets per interrupt of 16 frames", got)
		}
	})
}

// TestMeasureAffinity: a packet whose interrupt is not at the vCPU of its reader takes an IPI, whoever sends it, the scheduler or RPS; next to none where both
// are on one.
func TestMeasureAffinity(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		e := experiment(t, "affinity", "-c", "2")
		if len(e.Rows) != 4 {
			t.Fatalf("%d rows", len(e.Rows))
		}
		for _, row := range e.Rows {
			if got := number(t, row, "interrupts_per_packet"); got < 0.8 || got > 1.5 {
				t.Errorf("%v: %.2f interrupts per packet", row["arm"], got)
			}
			// A reader that has not gone to sleep yet when the next request is there, as on a host that lets one vCPU wait, is not woken.
			if got := number(t, row, "wakeups_per_packet"); got < 0.3 || got > 1.2 {
				t.Errorf("%v: %.2f wake-ups per packet", row["arm"], got)
			}
			number(t, row, "exits_per_packet")
		}
		aligned := number(t, e.Rows[0], "ipis_per_packet")
		for _, row := range e.Rows[1:3] {
			if got := number(t, row, "ipis_per_packet"); got < aligned+0.25 {
				t.Errorf("%v: %.2f IPIs per packet, %.2f where all is on one vCPU", row["arm"], got, aligned)
			}
		}
	})
}

// TestMeasureTimer: a tickless guest idles with fewer exits than one with a periodic tick, and with nohz_full a vCPU that works has next to none. Where the
// PIT is the timer, the local APIC's does nothing, and idling takes more exits: it is never set for longer than 27 ms, and each time is several accesses.
func TestMeasureTimer(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		e := experiment(t, "timer", "-c", "2", "--rounds", "1")
		if len(e.Rows) != 6 {
			t.Fatalf("%d rows", len(e.Rows))
		}
		exits := func(row int) float64 { return number(t, e.Rows[row], "exits_per_second_and_vcpu") }
		if tickless, periodic := exits(0), exits(1); periodic < 150 || tickless*3 > periodic {
			t.Errorf("%.0f exits a second without a tick, %.0f with one of 250 Hz", tickless, periodic)
		}
		lapic, pit := number(t, e.Rows[3], "timer_interrupts_per_second_and_vcpu"), number(t, e.Rows[3], "pit_interrupts_per_second_and_vcpu")
		if lapic != 0 || pit < 10 || exits(3) < 3*pit || exits(3) < 2*exits(0) {
			t.Errorf("with a PIT %.0f exits a second for %.0f interrupts of it and %.0f of the local APIC's timer; with that alone %.0f exits", exits(3), pit, lapic, exits(0))
		}
		busy, isolated := number(t, e.Rows[4], "exits_per_second_of_last_vcpu"), number(t, e.Rows[5], "exits_per_second_of_last_vcpu")
		if busy < 150 || isolated*5 > busy {
			t.Errorf("a busy vCPU had %.0f exits a second, with nohz_full %.0f", busy, isolated)
		}
	})
}

// TestMeasureNotify: notifications that come together wake their waiter fewer times, without one being lost where they are counted; signals have no count;
// and of several that poll, each wakes for what only one can take.
func TestMeasureNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json")
	o := doorbell(t, "", "measure", "notify", "--host", "here", "--report", "json="+path)
	o.want(t, 0, o.stderr, "measure notify: 27 of 27")
	d, err := report.ReadDocument(path)
	if err != nil {
		t.Fatal(err)
	}
	ways := map[any]map[string]any{}
	for _, row := range d.Experiments[0].Rows {
		ways[row["way"]] = row
	}
	for _, way := range []string{"eventfd", "pipe", "futex"} {
		row := ways[way]
		if woke := number(t, row, "wakeups_per_notification"); woke < 0.5 || woke > 1.5 {
			t.Errorf("%s: %.2f wake-ups for a notification", way, woke)
		}
		if returns, taken := number(t, row, "returns_per_burst"), number(t, row, "taken_per_burst"); returns >= 12 || taken < 15.5 || taken > 16.5 {
			t.Errorf("%s: a burst of 16 gave %.1f wake-ups, which took %.1f", way, returns, taken)
		}
	}
	// A batch by one system call wakes once, or twice where its first completions come early.
	if row := ways["io_uring, 16 per enter"]; number(t, row, "taken_per_burst") != 16 || number(t, row, "returns_per_burst") > 2 {
		t.Errorf("a batch of 16 in an io_uring woke %v times and %v were taken", row["returns_per_burst"], row["taken_per_burst"])
	}
	if taken := number(t, ways["signal"], "taken_per_burst"); taken >= 16 {
		t.Errorf("a burst of 16 signals was taken as %.1f", taken)
	}
	if herd, one := number(t, ways["eventfd, 4 pollers"], "wakeups_per_notification"), number(t, ways["futex, 4 waiters"], "wakeups_per_notification"); herd < 2 || one > 1.5 {
		t.Errorf("of four that poll %.2f woke, of four at a futex %.2f", herd, one)
	}
	// Another experiment beside it has no difference. What was asked of the rounds is what runs, and what is printed.
	o = doorbell(t, "", "measure", "barrier", "--host", "here", "--report", "text", "--compare", path, "--rounds", "1", "--seed", "7")
	o.want(t, 0, o.stderr, "measure barrier: 2 of 2")
	o.want(t, 0, o.stdout, "rounds 1, seed 7", "Beside "+path, "No figure to compare", "In one only: barrier, now", "In one only: notify, before")
}

// TestMeasureIRQLine: of two devices on one line, each interrupt runs the other's handler in vain; with a vector each, none does, and it exits less.
func TestMeasureIRQLine(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		e := experiment(t, "irqline")
		if len(e.Rows) != 6 {
			t.Fatalf("%d rows", len(e.Rows))
		}
		for i, row := range e.Rows {
			vain := number(t, row, "in_vain_per_service")
			switch {
			case i == 0 && (vain < 0.95 || vain > 1.05), i == 1 && (vain < 0.4 || vain > 1.05), i == 2 && vain > 0.3, i >= 3 && vain > 0:
				t.Errorf("%v: %.2f handlers in vain", row["line"], vain)
			}
		}
		if shared, own := number(t, e.Rows[0], "exits_per_service"), number(t, e.Rows[3], "exits_per_service"); shared < own+0.7 {
			t.Errorf("%.2f exits with a shared line, %.2f without", shared, own)
		}
	})
}

// TestMeasureShootdown: two shootdowns for a page that another vCPU of the same address space could know, next to none without; each costs its sender an IPI's
// exit, and its target what an interrupt costs, at least the kick.
func TestMeasureShootdown(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		e := experiment(t, "shootdown", "-c", "2")
		if len(e.Rows) != 3 {
			t.Fatalf("%d rows", len(e.Rows))
		}
		control, shared := number(t, e.Rows[1], "shootdowns_per_page"), number(t, e.Rows[2], "shootdowns_per_page")
		if control > 0.5 || shared < 1.8 || shared > 2.5 {
			t.Errorf("%.2f shootdowns for a page, %.2f in another address space", shared, control)
		}
		// What the host has to do besides is more than a bound of its own on a machine with other work.
		if asks, forgets := number(t, e.Rows[2], "first_vcpu_exits_per_shootdown"), number(t, e.Rows[2], "other_vcpu_exits_per_shootdown"); asks < 0.4 || asks > 2.5 || forgets < 0.6 || forgets > 3 {
			t.Errorf("a shootdown costs %.2f exits and %.2f", asks, forgets)
		}
	})
}

// TestMeasureIPI: an IPI costs its sender an exit for each of the ICR's registers, two with an xAPIC and one with an x2APIC or by hypercall, and its target
// what any interrupt costs. Who sends one to itself pays for both.
func TestMeasureIPI(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		e := experiment(t, "ipi")
		arms := 2 + 2*4
		if _, two := e.Missing["all but self of three"]; !two {
			arms += 2 * 2
		}
		if len(e.Rows) != arms {
			t.Fatalf("%d rows", len(e.Rows))
		}
		for _, row := range e.Rows {
			name := row["ipi"].(string)
			sender, target := number(t, row, "sender_exits_per_ipi"), number(t, row, "target_exits_per_ipi")
			least := 1.0
			if strings.Contains(name, "xAPIC") {
				least = 2
			}
			switch {
			case strings.HasPrefix(name, "self"):
				if sender < least+0.7 || sender > least+1.3 || target > 0.2 {
					t.Errorf("%s: %.2f exits of the sender, %.2f of the other", name, sender, target)
				}
			case sender < least-0.3 || sender > least+1.2: // the host's own work on its processor
				t.Errorf("%s: %.2f exits of the sender", name, sender)
			case strings.HasSuffix(name, "halted") && (target < 1.7 || target > 2.3), target < 0.8 || target > 2.3:
				t.Errorf("%s: %.2f exits of the target", name, target)
			}
		}
	})
}
