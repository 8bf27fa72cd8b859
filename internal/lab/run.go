package lab

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Run starts the emulated host, runs the command in it, and waits for both to
// end. An error means that the command did not run to its end, or that a
// written file could not be put at its place; it reads as one line.
//
// Reading Config.Stdin may go on after Run has returned, until that Read
// returns.
func Run(ctx context.Context, cfg Config) (Result, error) {
	start := time.Now()
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Result{ExitStatus: 1}, err
	}
	signals, release := listen(cfg.Signals)
	defer release()

	q, err := findQEMU(ctx, cfg.QEMU)
	if err != nil {
		return Result{ExitStatus: 1}, err
	}
	p, err := newPlan(cfg)
	if err != nil {
		return Result{ExitStatus: 1}, err
	}
	initramfs, err := p.image()
	if err != nil {
		return Result{ExitStatus: 1}, err
	}
	defer initramfs.Close()
	progress := newProgress(cfg.Progress, describe(cfg, q), start)
	defer progress.fail()
	starts, retries := 0, cfg.Retries
	for {
		m, err := q.start(cfg, initramfs)
		if err != nil {
			return Result{ExitStatus: 1}, err
		}
		s := newSession(cfg, p, m, progress, start)
		result, err := s.run(ctx, signals, time.Duration(float64(cfg.StartTimeout)*attempts[starts]))
		s.restoreTerminal()
		s.home.abort()
		m.stop()
		var notUp *notUpError
		var died *HostError
		switch {
		case errors.As(err, &notUp) && starts < len(attempts)-1:
			starts++
			progress.again("hangs while it starts")
		case errors.As(err, &died) && notUp == nil && retries > 0:
			retries--
			starts = 0
			progress.again("died under the command (" + died.Error() + ")")
		default:
			return result, err
		}
	}
}

// attempts are the shares of Config.StartTimeout that each start gets. QEMU's
// emulation now and then hangs a machine that boots (see l1's steady); nothing
// of the command has run by then, and starting again costs only time.
var attempts = []float64{0.25, 0.25, 0.5}

// describe names what is being started.
func describe(cfg Config, q qemu) string {
	cpus := fmt.Sprintf("%d CPUs", cfg.CPUs)
	if cfg.CPUs == 1 {
		cpus = "1 CPU"
	}
	memory := fmt.Sprintf("%d MiB", cfg.Memory>>20)
	if cfg.Memory%gib == 0 {
		memory = fmt.Sprintf("%d GiB", cfg.Memory/gib)
	}
	return fmt.Sprintf("lab: starting an emulated AMD host (%v, %s, %s)", q, cpus, memory)
}
