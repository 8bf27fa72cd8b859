// SPDX-License-Identifier: GPL-2.0
/*
 * irqprobe drives doorbell's PCI device of the same name, which interrupts when it is told to. It is an
 * experiment: how long until an interrupt's handler runs, and until the work does that the handler puts
 * off, by each of the ways that Linux has. It is also a driver to read: probe, BARs, vectors, handlers,
 * a character device, and their end in the opposite order.
 *
 * The device has IRQPROBE_KINDS sources, one for each kind of bottom half, and a vector for each, or a
 * level pin for all (parameter intx=1). Its registers are in BAR 0; internal/device/irqprobe has the
 * other side of them.
 */
#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/hardirq.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/sched/rt.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/workqueue.h>

#include "irqprobe.h"

/* Registers: 32 bits each. A source is a bit. */
#define REG_RAISE	0x08	/* write: these sources interrupt */
#define REG_STATUS	0x0c	/* sources that hold the pin active; write 1 to quiet them */
#define REG_ENABLE	0x10	/* sources that may hold it */
#define REG_COUNT(n)	(0x40 + 4 * (n))	/* how often source n was raised */

/* The pin was renamed in Linux 6.8. */
#ifdef PCI_IRQ_INTX
#define PIN	PCI_IRQ_INTX
#else
#define PIN	PCI_IRQ_LEGACY
#endif

static bool intx;
module_param(intx, bool, 0444);
MODULE_PARM_DESC(intx, "interrupt by the level pin instead of MSI-X");

struct irqprobe;

/* One source of interrupts, and what is done when it interrupts. */
struct source {
	struct irqprobe *dev;
	unsigned int kind;
	int irq;
	char name[32];

	/*
	 * What the stages say of the run that is on. top belongs to the handler, bottom to the bottom half,
	 * neither of which runs twice at once while the interrupt stays on one CPU; the caller reads them when
	 * settle has waited for both.
	 */
	struct irqprobe_stage top, bottom;
	u32 wanted;		/* interrupts of this run */
	atomic_t served;
	struct completion done;
};

struct irqprobe {
	struct kref users;	/* the driver, and each open file: a file may outlive the device */
	struct pci_dev *pdev;
	void __iomem *regs;
	struct source sources[IRQPROBE_KINDS];
	struct mutex lock;	/* one run at a time, and none when the device has gone */
	bool gone;

	struct net_device *netdev;	/* NAPI wants one to belong to */
	struct napi_struct napi;
	struct tasklet_struct tasklet;
	struct workqueue_struct *wq;
	struct work_struct work;

	struct miscdevice misc;
};

static u64 now(void)
{
	return ktime_get_mono_fast_ns();
}

/* note is called by each stage as its first act. */
static void note(struct irqprobe_stage *s)
{
	if (s->runs++)
		return;
	s->at = now();
	s->context = (in_hardirq() ? IRQPROBE_IN_HARDIRQ : 0) |
		     (in_serving_softirq() ? IRQPROBE_IN_SOFTIRQ : 0) |
		     (irqs_disabled() ? IRQPROBE_IRQS_OFF : 0) |
		     (rt_task(current) ? IRQPROBE_REALTIME : 0);
	s->cpu = raw_smp_processor_id();
	strscpy(s->task, current->comm, sizeof(s->task));
}

/* finish lets the caller go on when a bottom half has run after the run's last interrupt. */
static void finish(struct source *s, u32 served)
{
	if (served == READ_ONCE(s->wanted))
		complete(&s->done);
}

/* bottom is what every bottom half does. */
static void bottom(struct source *s)
{
	/* Before the work: an interrupt from here on starts another bottom half. */
	u32 served = atomic_read(&s->served);

	note(&s->bottom);
	finish(s, served);
}

static int poll(struct napi_struct *napi, int budget)
{
	struct irqprobe *dev = container_of(napi, struct irqprobe, napi);

	/* Complete first: what is scheduled from here on is polled again. */
	napi_complete_done(napi, 0);
	bottom(&dev->sources[IRQPROBE_SOFTIRQ]);
	return 0;
}

static void tasklet(struct tasklet_struct *t)
{
	struct irqprobe *dev = from_tasklet(dev, t, tasklet);

	bottom(&dev->sources[IRQPROBE_TASKLET]);
}

static void work(struct work_struct *w)
{
	struct irqprobe *dev = container_of(w, struct irqprobe, work);

	bottom(&dev->sources[IRQPROBE_WORK]);
}

static irqreturn_t thread(int irq, void *data)
{
	struct source *s = data;

	/* With a line that is shared the thread runs for all that asked for it, here for one. */
	bottom(s);
	return IRQ_HANDLED;
}

/*
 * handler is the top half: it notes that it ran and puts the rest off. Where the line is shared it first
 * asks the device whether it was this source, and quiets it before the interrupt is ended: in the other
 * order the line would still be active at the EOI, and interrupt again.
 */
static irqreturn_t handler(int irq, void *data)
{
	struct source *s = data;
	struct irqprobe *dev = s->dev;

	if (intx) {
		if (!(readl(dev->regs + REG_STATUS) & BIT(s->kind)))
			return IRQ_NONE;
		writel(BIT(s->kind), dev->regs + REG_STATUS);
	}
	note(&s->top);
	atomic_inc(&s->served);
	switch (s->kind) {
	case IRQPROBE_HARD:
		bottom(s);
		break;
	case IRQPROBE_SOFTIRQ:
		napi_schedule(&dev->napi);
		break;
	case IRQPROBE_TASKLET:
		tasklet_schedule(&dev->tasklet);
		break;
	case IRQPROBE_WORK:
		queue_work_on(raw_smp_processor_id(), dev->wq, &dev->work);
		break;
	case IRQPROBE_THREAD:
		return IRQ_WAKE_THREAD;
	}
	return IRQ_HANDLED;
}

/*
 * settle waits until nothing of a source runs any more: a bottom half that was scheduled once too often
 * would otherwise be taken for one of the next run's.
 */
static void settle(struct irqprobe *dev, struct source *s)
{
	synchronize_irq(s->irq);
	switch (s->kind) {
	case IRQPROBE_SOFTIRQ:
		napi_disable(&dev->napi);
		napi_enable(&dev->napi);
		break;
	case IRQPROBE_TASKLET:
		tasklet_kill(&dev->tasklet);
		break;
	case IRQPROBE_WORK:
		flush_work(&dev->work);
		break;
	}
}

/* run has a source interrupt count times and waits for its bottom half. */
static int run(struct irqprobe *dev, struct irqprobe_run *r)
{
	struct source *s = &dev->sources[r->kind];
	unsigned long done;
	u32 before, i;

	memset(&s->top, 0, sizeof(s->top));
	memset(&s->bottom, 0, sizeof(s->bottom));
	atomic_set(&s->served, 0);
	WRITE_ONCE(s->wanted, r->count);
	reinit_completion(&s->done);

	before = readl(dev->regs + REG_COUNT(s->kind));
	r->start = now();
	for (i = 0; i < r->count; i++)
		writel(BIT(s->kind), dev->regs + REG_RAISE);

	/*
	 * Interrupts that were raised faster than they were served are one, so that the last may never
	 * come: then the run ends with what there was.
	 */
	done = wait_for_completion_timeout(&s->done, r->count == 1 ? HZ : HZ / 20);
	r->end = now();
	settle(dev, s);
	if (!done && r->count == 1)
		return -ETIMEDOUT;
	r->raised = readl(dev->regs + REG_COUNT(s->kind)) - before;
	r->served = atomic_read(&s->served);
	r->top = s->top;
	r->bottom = s->bottom;
	return 0;
}

static void irqprobe_free(struct kref *users)
{
	kfree(container_of(users, struct irqprobe, users));
}

static int irqprobe_open(struct inode *inode, struct file *file)
{
	/* misc_open leaves the miscdevice here, and keeps misc_deregister, with remove, waiting until we return. */
	struct irqprobe *dev = container_of(file->private_data, struct irqprobe, misc);

	kref_get(&dev->users);
	file->private_data = dev;
	return 0;
}

static int irqprobe_release(struct inode *inode, struct file *file)
{
	struct irqprobe *dev = file->private_data;

	kref_put(&dev->users, irqprobe_free);
	return 0;
}

static long irqprobe_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct irqprobe *dev = file->private_data;
	struct irqprobe_run r;
	int err;

	if (cmd != IRQPROBE_RUN)
		return -ENOTTY;
	if (copy_from_user(&r, (void __user *)arg, sizeof(r)))
		return -EFAULT;
	if (r.kind >= IRQPROBE_KINDS || r.count < 1 || r.count > IRQPROBE_MOST)
		return -EINVAL;
	if (mutex_lock_interruptible(&dev->lock))
		return -ERESTARTSYS;
	err = dev->gone ? -ENODEV : run(dev, &r);
	mutex_unlock(&dev->lock);
	if (err)
		return err;
	return copy_to_user((void __user *)arg, &r, sizeof(r)) ? -EFAULT : 0;
}

static const struct file_operations fops = {
	.owner = THIS_MODULE,
	.open = irqprobe_open,
	.release = irqprobe_release,
	.unlocked_ioctl = irqprobe_ioctl,
};

/* request asks for a source's interrupt. */
static int request(struct irqprobe *dev, unsigned int kind)
{
	struct source *s = &dev->sources[kind];
	static const char *const names[] = { "hard", "softirq", "tasklet", "work", "thread" };

	s->dev = dev;
	s->kind = kind;
	init_completion(&s->done);
	snprintf(s->name, sizeof(s->name), "irqprobe-%s", names[kind]);
	s->irq = pci_irq_vector(dev->pdev, intx ? 0 : kind);
	if (s->irq < 0)
		return s->irq;
	/* Without IRQF_ONESHOT: the handler has quieted its source, so the line need not stay masked until the thread has run. */
	return request_threaded_irq(s->irq, handler, kind == IRQPROBE_THREAD ? thread : NULL,
				    intx ? IRQF_SHARED : 0, s->name, s);
}

static int bottom_halves(struct irqprobe *dev)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
	dev->netdev = alloc_netdev_dummy(0);
	if (!dev->netdev)
		return -ENOMEM;
#else
	dev->netdev = kzalloc(sizeof(*dev->netdev), GFP_KERNEL);
	if (!dev->netdev)
		return -ENOMEM;
	init_dummy_netdev(dev->netdev);
#endif
	netif_napi_add(dev->netdev, &dev->napi, poll);
	napi_enable(&dev->napi);
	tasklet_setup(&dev->tasklet, tasklet);
	INIT_WORK(&dev->work, work);
	dev->wq = alloc_workqueue("irqprobe", 0, 0);
	return dev->wq ? 0 : -ENOMEM;
}

static void end_bottom_halves(struct irqprobe *dev)
{
	if (dev->wq)
		destroy_workqueue(dev->wq);
	if (!dev->netdev)
		return;
	tasklet_kill(&dev->tasklet);
	napi_disable(&dev->napi);
	netif_napi_del(&dev->napi);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
	free_netdev(dev->netdev);
#else
	kfree(dev->netdev);
#endif
}

static int irqprobe_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct irqprobe *dev;
	int err, kind = 0;

	dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	if (!dev)
		return -ENOMEM;
	dev->pdev = pdev;
	kref_init(&dev->users);
	mutex_init(&dev->lock);
	pci_set_drvdata(pdev, dev);

	/* What the pcim_ functions take is given back when the driver leaves. */
	err = pcim_enable_device(pdev);
	if (err)
		goto free;
	err = pcim_iomap_regions(pdev, BIT(0), KBUILD_MODNAME);
	if (err)
		goto free;
	dev->regs = pcim_iomap_table(pdev)[0];
	pci_set_master(pdev);	/* a message is a write to memory */

	err = bottom_halves(dev);
	if (err)
		goto halves;
	err = intx ? pci_alloc_irq_vectors(pdev, 1, 1, PIN) :
		     pci_alloc_irq_vectors(pdev, IRQPROBE_KINDS, IRQPROBE_KINDS, PCI_IRQ_MSIX);
	if (err < 0)
		goto halves;
	for (kind = 0; kind < IRQPROBE_KINDS; kind++) {
		err = request(dev, kind);
		if (err)
			goto irqs;
	}
	/* A handler is there for each source: now they may interrupt. */
	writel(BIT(IRQPROBE_KINDS) - 1, dev->regs + REG_ENABLE);

	dev->misc.minor = MISC_DYNAMIC_MINOR;
	dev->misc.name = KBUILD_MODNAME;
	dev->misc.fops = &fops;
	err = misc_register(&dev->misc);
	if (!err)
		return 0;

	writel(0, dev->regs + REG_ENABLE);
irqs:
	while (kind--)
		free_irq(dev->sources[kind].irq, &dev->sources[kind]);
	pci_free_irq_vectors(pdev);
halves:
	end_bottom_halves(dev);
free:
	kfree(dev);
	return err;
}

static void irqprobe_remove(struct pci_dev *pdev)
{
	struct irqprobe *dev = pci_get_drvdata(pdev);
	int kind;

	misc_deregister(&dev->misc);
	/* Who has the file open still keeps it; a run that is on comes to its end, and no other begins. */
	mutex_lock(&dev->lock);
	dev->gone = true;
	mutex_unlock(&dev->lock);
	writel(0, dev->regs + REG_ENABLE);
	for (kind = IRQPROBE_KINDS - 1; kind >= 0; kind--)
		free_irq(dev->sources[kind].irq, &dev->sources[kind]);
	pci_free_irq_vectors(pdev);
	end_bottom_halves(dev);
	kref_put(&dev->users, irqprobe_free);
}

static const struct pci_device_id ids[] = {
	{ PCI_DEVICE(0x1b36, 0x0bee) },
	{}
};
MODULE_DEVICE_TABLE(pci, ids);

static struct pci_driver irqprobe_driver = {
	.name = KBUILD_MODNAME,
	.id_table = ids,
	.probe = irqprobe_probe,
	.remove = irqprobe_remove,
};
module_pci_driver(irqprobe_driver);

MODULE_DESCRIPTION("How long an interrupt's halves take");
MODULE_LICENSE("GPL");
