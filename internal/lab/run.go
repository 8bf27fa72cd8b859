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

	e, err := cfg.emulator(ctx)
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
	progress := newProgress(cfg.Progress, describe(cfg, e), start)
	defer progress.fail()
	starts, retries, attempts := 0, cfg.Retries, e.attempts()
	for {
		m, err := e.start(cfg, initramfs)
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
			progress.again(notUp.does)
		case errors.As(err, &died) && notUp == nil && retries > 0:
			retries--
			starts = 0
			progress.again("died under the command (" + died.Error() + ")")
		default:
			return result, err
		}
	}
}

// describe names what is being started.
func describe(cfg Config, e emulator) string {
	cpus := fmt.Sprintf("%d CPUs", cfg.CPUs)
	if cfg.CPUs == 1 {
		cpus = "1 CPU"
	}
	memory := fmt.Sprintf("%d MiB", cfg.Memory>>20)
	if cfg.Memory%gib == 0 {
		memory = fmt.Sprintf("%d GiB", cfg.Memory/gib)
	}
	return fmt.Sprintf("lab: starting %s, %s, %s)", e.describe(), cpus, memory)
}
