/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What /dev/irqprobe and its user agree on. doorbell's agent has the same structure in Go
 * (cmd/agent/irqprobe.go); its size is part of the request's number.
 */
#ifndef IRQPROBE_H
#define IRQPROBE_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* The ways in which a driver can put off the long part of its work, its bottom half. */
enum irqprobe_kind {
	IRQPROBE_HARD,		/* none: the handler does it all */
	IRQPROBE_SOFTIRQ,	/* NAPI: the handler schedules a poll, NET_RX_SOFTIRQ runs it */
	IRQPROBE_TASKLET,	/* TASKLET_SOFTIRQ */
	IRQPROBE_WORK,		/* a workqueue: a kworker runs it, as any task */
	IRQPROBE_THREAD,	/* request_threaded_irq: the interrupt's own thread, SCHED_FIFO */
	IRQPROBE_KINDS,
};

/* What code found itself in. */
#define IRQPROBE_IN_HARDIRQ	(1 << 0)
#define IRQPROBE_IN_SOFTIRQ	(1 << 1)
#define IRQPROBE_IRQS_OFF	(1 << 2)
#define IRQPROBE_REALTIME	(1 << 3)	/* the task has a real-time policy */

struct irqprobe_stage {
	__u64 at;		/* ns on CLOCK_MONOTONIC, of its first run */
	__u32 runs;
	__u32 context;		/* IRQPROBE_IN_... of its first run */
	__u32 cpu;
	char task[20];		/* the task it ran in, or interrupted */
};

/*
 * One experiment: the device interrupts count times in a row, and the call returns when the last
 * bottom half has run. With IRQPROBE_HARD the handler runs both stages.
 */
struct irqprobe_run {
	__u32 kind;		/* in: enum irqprobe_kind */
	__u32 count;		/* in: 1 to IRQPROBE_MOST */
	__u32 served;		/* out: interrupts that the handler saw */
	__u32 raised;		/* out: interrupts that the device says it raised */
	__u64 start;		/* out: ns, before the device was told */
	__u64 end;		/* out: ns, when the caller ran again */
	struct irqprobe_stage top;	/* out */
	struct irqprobe_stage bottom;	/* out */
};

#define IRQPROBE_MOST	1000
#define IRQPROBE_RUN	_IOWR('d', 1, struct irqprobe_run)

#endif
