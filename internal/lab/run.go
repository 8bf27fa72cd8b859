package lab

import (
	"context"
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
	progress := newProgress(cfg.Progress, describe(cfg, q), start)
	defer progress.fail()
	m, err := q.start(cfg, initramfs)
	initramfs.Close()
	if err != nil {
		return Result{ExitStatus: 1}, err
	}
	defer m.stop()
	s := newSession(cfg, p, m, progress, start)
	defer s.home.abort()
	defer s.restoreTerminal()
	return s.run(ctx, signals)
}

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
