package measure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"doorbell/internal/ioctl"

	"golang.org/x/sys/unix"
)

const (
	// Between two looks at the clock this much is in flight, so that it stays in a cache, and at most that many messages: a small one takes less than a look.
	batchBytes    = 256 << 10
	batchMessages = 64
	// A page table maps this much; mremap(2) moves a whole table at once where both addresses are aligned to it.
	tableBytes = 2 << 20
)

// buffers are a sender's and a receiver's for a batch of messages, outside the Go heap, whose pages nobody else may move. Each is a mapping of its own
// between pages without access: mappings that split and merge with their neighbours would be in the time. The sides have different offsets in their page
// tables, as buffers have that are only page-aligned: the kernel moves page by page.
type buffers struct {
	size                    int // of a message
	region                  []byte
	sender, receiver, spare [][]byte
	pattern                 []byte // what messages are cut from
	sent                    int    // so far
	seen                    byte   // of what was read, so that it is read
}

func newBuffers(size int) (*buffers, error) {
	page := os.Getpagesize()
	n := min(max(batchBytes/size, 1), batchMessages)
	length := (size + page - 1) / page * page
	b := &buffers{size: size, pattern: make([]byte, size+page)}
	sides := []*[][]byte{&b.sender, &b.receiver, &b.spare}
	pitch := (n*(length+page) + len(sides)*page + tableBytes - 1) / tableBytes * tableBytes
	var err error
	if b.region, err = unix.Mmap(-1, 0, tableBytes+len(sides)*pitch, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		return nil, fmt.Errorf("map %d messages of %d bytes: %w", n, size, err)
	}
	table := int(-ioctl.Address(b.region) % tableBytes)
	for side, list := range sides {
		for i := range n {
			at := table + side*pitch + (side+1)*page + i*(length+page)
			buffer := b.region[at : at+length : at+length]
			if err := unix.Mprotect(buffer, unix.PROT_READ|unix.PROT_WRITE); err != nil {
				return nil, errors.Join(fmt.Errorf("make %d bytes accessible: %w", length, err), b.close())
			}
			*list = append(*list, buffer)
		}
	}
	random := rand.New(rand.NewPCG(uint64(size), 0))
	for i := range b.pattern {
		b.pattern[i] = byte(random.Uint32())
	}
	return b, nil
}

func (b *buffers) close() error {
	if err := unix.Munmap(b.region); err != nil {
		return fmt.Errorf("unmap messages of %d bytes: %w", b.size, err)
	}
	return nil
}

// message is what the i-th one says: not what its neighbours do, nor what was in its buffers before.
func (b *buffers) message(i int) []byte {
	from := i * 37 % (len(b.pattern) - b.size)
	return b.pattern[from : from+b.size]
}

// touch has a page put wherever there is none.
func touch(all [][]byte) {
	page := os.Getpagesize()
	for _, buffer := range all {
		for at := 0; at < len(buffer); at += page {
			buffer[at] = 0
		}
	}
}

// batch fills all of the sender's buffers, hands them over and gives the time that a message took, in nanoseconds. In the time are the transfer, a write to
// each page of the sender's before it, which faults where a remap has left none, and a read of each page of the receiver's after it, whose translation is
// gone where pages have moved. One read for each cache line would be more of what costs the same whichever way the message came. Filling and checking are
// not in the time.
func (b *buffers) batch(f transfer) (ns float64, err error) {
	page := os.Getpagesize()
	start := time.Now()
	touch(b.sender)
	took := time.Since(start)
	for i, from := range b.sender {
		copy(from, b.message(b.sent+i))
	}
	start = time.Now()
	for i, from := range b.sender {
		to := b.receiver[i]
		if err := f(to, from, b.spare[i], b.size); err != nil {
			return 0, err
		}
		for at := 0; at < len(to); at += page {
			b.seen += to[at]
		}
	}
	took += time.Since(start)
	for i, to := range b.receiver {
		if !bytes.Equal(to[:b.size], b.message(b.sent+i)) {
			return 0, fmt.Errorf("message %d of %d bytes did not arrive as it was sent", b.sent+i, b.size)
		}
	}
	b.sent += len(b.sender)
	return float64(took.Nanoseconds()) / float64(len(b.sender)), nil
}

// transferCounts are what an arm gave in a round.
type transferCounts struct {
	messages   int
	ns         float64  // of a message, in the batch in the middle
	faults     float64  // per message
	shootdowns *float64 // per message, of the whole host; nil where it does not count them
}

// run measures a number of batches after one that does not count. ctx is looked at between them, every few milliseconds.
func (b *buffers) run(ctx context.Context, f transfer, batches int) (*transferCounts, error) {
	touch(b.receiver) // an exchange is of pages that are there
	if _, err := b.batch(f); err != nil {
		return nil, err
	}
	before, err := hostInterrupts()
	if err != nil {
		return nil, err
	}
	var first, last unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &first); err != nil {
		return nil, fmt.Errorf("count page faults: %w", err)
	}
	var times spread
	for range batches {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		ns, err := b.batch(f)
		if err != nil {
			return nil, err
		}
		times = append(times, ns)
	}
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &last); err != nil {
		return nil, fmt.Errorf("count page faults: %w", err)
	}
	after, err := hostInterrupts()
	if err != nil {
		return nil, err
	}
	c := &transferCounts{messages: batches * len(b.sender), ns: times.median()}
	c.faults = float64(last.Minflt-first.Minflt) / float64(c.messages)
	during := after.Since(before)
	if row := during.Row("TLB"); row != nil {
		n := float64(row.Total) / float64(c.messages)
		c.shootdowns = &n
	}
	return c, nil
}
