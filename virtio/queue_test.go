package virtio

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// wait blocks until an eventfd is signalled.
func wait(e *eventFD) bool {
	fds := []unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, int((20 * time.Second).Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if n == 1 {
			e.take()
		}
		return n == 1
	}
}

// TestStream sends numbered requests through a queue between two threads, which sleep whenever the other side says that it
// would wake them. A lost wake-up ends in a timeout, a race in a report of the race detector.
func TestStream(t *testing.T) {
	for _, k := range ringKinds {
		for _, indirect := range []bool{false, true} {
			name := k.name
			if indirect {
				name += " indirect"
			}
			t.Run(name, func(t *testing.T) {
				r := newRig(t, k, 8)
				const total = 20000
				done := make(chan string, 1)
				go func() { done <- echo(r, total) }()
				offered, answered := 0, 0
				for answered < total {
					for offered < total {
						at := uint64(buffersAt + offered%64*64)
						binary.LittleEndian.PutUint32(r.ram[at:], uint32(offered))
						if !r.driver.add(offered, []part{{at, 4, false}, {at + 8, 8, true}, {at + 16, 8, true}}[:2+offered%2], indirect) {
							break
						}
						offered++
						if offered%3 == 0 && r.driver.needsKick() {
							r.queue.kick.signal()
						}
					}
					if r.driver.needsKick() {
						r.queue.kick.signal()
					}
					r.driver.disableInterrupts()
					for {
						token, written, ok := r.driver.reap()
						if !ok {
							if r.driver.enableInterrupts() {
								continue
							}
							break
						}
						at := buffersAt + token%64*64
						if got := binary.LittleEndian.Uint32(r.ram[at+8:]); written != 8 || got != ^uint32(token) {
							t.Fatalf("request %d: %d bytes, answer %#x", token, written, got)
						}
						answered++
					}
					if offered > answered && !wait(r.port.interrupts) {
						t.Fatalf("the device sleeps: %d offered, %d answered", offered, answered)
					}
				}
				if e := <-done; e != "" {
					t.Fatal(e)
				}
				s := r.queue.stats
				if s.Chains.Load() != total || s.Batches.Load() < s.Interrupts.Load() {
					t.Errorf("%d chains, %d batches, %d interrupts", s.Chains.Load(), s.Batches.Load(), s.Interrupts.Load())
				}
			})
		}
	}
}

// echo is a device that answers total requests with their complement.
func echo(r *rig, total int) string {
	q := r.queue
	c := q.NewChain()
	for n := 0; n < total; {
		q.DisableKicks()
		for more := true; more; more = q.EnableKicks() {
			for {
				ok, err := q.Pop(c)
				if err != nil {
					return err.Error()
				}
				if !ok {
					break
				}
				v := binary.LittleEndian.Uint32(c.Readable()[0])
				binary.LittleEndian.PutUint32(c.Writable()[0], ^v)
				q.Push(c, 8)
				if n++; n%3 == 0 {
					q.Publish()
					q.Notify()
				}
			}
			q.Publish()
			q.Notify()
		}
		if n < total {
			if !wait(q.kick) {
				return "the driver sleeps"
			}
		}
	}
	return ""
}

// TestQueueAgainstModel: whatever order both sides act in, chains arrive as they were offered, come back as they were pushed, and an
// interrupt is wanted exactly when a chain is published that the driver waits for.
func TestQueueAgainstModel(t *testing.T) {
	for _, k := range ringKinds {
		t.Run(k.name, func(tt *testing.T) {
			rapid.Check(tt, func(t *rapid.T) { queueModel(t, tt, k) })
		})
	}
}

func queueModel(t *rapid.T, tb testing.TB, k ringKind) {
	size := 8
	if k.packed {
		size = rapid.IntRange(1, 9).Draw(t, "size")
	}
	r := newRig(tb, k, size)
	type chain struct {
		token   int
		parts   []part
		written uint32
	}
	var offered, published []chain
	popped := map[int]*Chain{}
	info := map[int]chain{}
	var order []int
	var staged []chain
	tokens, slots := 0, 0
	// Numbers of chains, counted from the first: published, last asked about, reaped, and the one waited for.
	var nPublished, nAsked, nReaped, waitedFor int
	enabled := true
	if k.eventIdx {
		r.driver.enableInterrupts()
	}
	t.Repeat(map[string]func(*rapid.T){
		"offer": func(t *rapid.T) {
			readable := rapid.IntRange(0, 3).Draw(t, "readable")
			writable := rapid.IntRange(0, 3).Draw(t, "writable")
			indirect := rapid.Bool().Draw(t, "indirect")
			var parts []part
			for i := range readable + writable {
				parts = append(parts, part{uint64(buffersAt + tokens%64*256 + 32*i), uint32(i + 1), i >= readable})
			}
			if len(parts) == 0 || len(parts) > size {
				return
			}
			need := len(parts)
			if indirect {
				need = 1
			}
			ok := r.driver.add(tokens, parts, indirect)
			if ok != (slots+need <= size) {
				t.Fatalf("room for %d of %d with %d taken: %v", need, size, slots, ok)
			}
			if ok {
				slots += need
				c := chain{token: tokens, parts: parts}
				offered = append(offered, c)
				info[tokens] = chain{token: need}
				tokens++
			}
		},
		"pop": func(t *rapid.T) {
			c := r.queue.NewChain()
			ok, err := r.queue.Pop(c)
			if err != nil || ok != (len(offered) > 0) {
				t.Fatalf("pop: %v, %v with %d offered", ok, err, len(offered))
			}
			if !ok {
				return
			}
			want := offered[0]
			offered = offered[1:]
			var got []part
			for i, s := range c.segments {
				got = append(got, part{uint64(addressOf(s) - addressOf(r.ram)), uint32(len(s)), i >= len(c.Readable())})
			}
			if len(got) != len(want.parts) {
				t.Fatalf("chain %v, want %v", got, want.parts)
			}
			for i := range got {
				if got[i] != want.parts[i] {
					t.Fatalf("chain %v, want %v", got, want.parts)
				}
			}
			popped[want.token] = c
			order = append(order, want.token)
		},
		"push": func(t *rapid.T) {
			if len(order) == 0 {
				return
			}
			i := rapid.IntRange(0, len(order)-1).Draw(t, "which")
			token := order[i]
			order = append(order[:i:i], order[i+1:]...)
			written := rapid.Uint32().Draw(t, "written")
			r.queue.Push(popped[token], written)
			staged = append(staged, chain{token: token, written: written})
		},
		"publish": func(t *rapid.T) {
			r.queue.Publish()
			published = append(published, staged...)
			nPublished += len(staged)
			staged = nil
		},
		"reap": func(t *rapid.T) {
			token, written, ok := r.driver.reap()
			if ok != (len(published) > 0) {
				t.Fatalf("reap: %v with %d published", ok, len(published))
			}
			if !ok {
				return
			}
			if want := published[0]; token != want.token || written != want.written {
				t.Fatalf("reaped chain %d with %d bytes, want %d with %d", token, written, want.token, want.written)
			}
			published = published[1:]
			nReaped++
			slots -= info[token].token
		},
		"ask": func(t *rapid.T) {
			want := nPublished > nAsked && enabled
			if k.eventIdx {
				want = want && waitedFor >= nAsked && waitedFor < nPublished
			}
			if got := r.queue.NeedsInterrupt(); got != want {
				t.Fatalf("interrupt wanted: %v, model says %v (published %d, asked %d, waited for %d)", got, want, nPublished, nAsked, waitedFor)
			}
			nAsked = nPublished
		},
		"wait": func(t *rapid.T) {
			if more := r.driver.enableInterrupts(); more != (len(published) > 0) {
				t.Fatalf("more: %v with %d published", more, len(published))
			}
			enabled, waitedFor = true, nReaped
		},
		"do not wait": func(t *rapid.T) {
			r.driver.disableInterrupts()
			// Split rings with EVENT_IDX have no such thing.
			enabled = k.eventIdx && !k.packed
		},
		"kicks": func(t *rapid.T) {
			if rapid.Bool().Draw(t, "on") {
				if more := r.queue.EnableKicks(); more != (len(offered) > 0) {
					t.Fatalf("more: %v with %d offered", more, len(offered))
				}
				r.driver.needsKick()
				if len(offered) == 0 && r.driver.add(tokens, []part{{buffersAt, 1, false}}, false) {
					slots++
					offered = append(offered, chain{token: tokens, parts: []part{{buffersAt, 1, false}}})
					info[tokens] = chain{token: 1}
					tokens++
					if !r.driver.needsKick() {
						t.Fatal("the driver does not kick for the first chain after EnableKicks")
					}
				}
			} else {
				r.queue.DisableKicks()
				if !k.eventIdx {
					if r.driver.needsKick() {
						t.Fatal("the driver kicks after DisableKicks")
					}
				}
			}
		},
		"": func(t *rapid.T) {
			if len(r.port.errs) > 0 {
				t.Fatal(r.port.errs)
			}
		},
	})
}

func TestSegmentsShareMemory(t *testing.T) {
	for _, k := range ringKinds {
		r := newRig(t, k, 4)
		copy(r.ram[buffersAt:], "from the driver")
		r.driver.add(1, []part{{buffersAt, 4, false}, {buffersAt + 4, 11, false}, {buffersAt + 64, 6, true}}, false)
		c := r.queue.NewChain()
		if ok, err := r.queue.Pop(c); !ok || err != nil {
			t.Fatalf("%s: %v, %v", k.name, ok, err)
		}
		if got := string(bytes.Join(c.Readable(), nil)); got != "from the driver" || c.ReadableLen() != 15 || c.WritableLen() != 6 {
			t.Errorf("%s: %q, %d and %d bytes", k.name, got, c.ReadableLen(), c.WritableLen())
		}
		copy(c.Writable()[0], "answer")
		r.queue.Push(c, 6)
		r.queue.Publish()
		if _, n, ok := r.driver.reap(); !ok || n != 6 || string(r.ram[buffersAt+64:buffersAt+70]) != "answer" {
			t.Errorf("%s: reaped %v, %d bytes", k.name, ok, n)
		}
	}
}

// cycle is a packet's way through a queue and back.
func cycle(r *rig, c *Chain) {
	q := r.queue
	if ok, err := q.Pop(c); !ok || err != nil {
		panic("nothing to pop")
	}
	q.Push(c, 1)
	q.Publish()
	q.Notify()
	q.EnableKicks()
	q.DisableKicks()
	q.TakeKicks()
}

var twoParts = []part{{buffersAt, 64, false}, {buffersAt + 4096, 1500, true}}

// refill offers as many chains as the ring takes, with what came back.
func refill(r *rig, indirect bool) {
	for {
		if _, _, ok := r.driver.reap(); !ok {
			break
		}
	}
	for r.driver.add(0, twoParts, indirect) {
	}
}

func TestPacketPathDoesNotAllocate(t *testing.T) {
	for _, k := range ringKinds {
		for _, indirect := range []bool{false, true} {
			r := newRig(t, k, 1024)
			refill(r, indirect)
			c := r.queue.NewChain()
			if n := testing.AllocsPerRun(400, func() { cycle(r, c) }); n != 0 {
				t.Errorf("%s, indirect %v: %v allocations per packet", k.name, indirect, n)
			}
		}
	}
}

func BenchmarkPopPush(b *testing.B) {
	for _, k := range ringKinds {
		for _, indirect := range []bool{false, true} {
			name := k.name
			if indirect {
				name += " indirect"
			}
			b.Run(name, func(b *testing.B) {
				r := newRig(b, k, 1024)
				c := r.queue.NewChain()
				b.ReportAllocs()
				left := 0
				for i := 0; i < b.N; i++ {
					if left == 0 {
						b.StopTimer()
						refill(r, indirect)
						left = 512
						b.StartTimer()
					}
					left--
					if ok, err := r.queue.Pop(c); !ok || err != nil {
						b.Fatal(ok, err)
					}
					r.queue.Push(c, 64)
					if left%32 == 0 {
						r.queue.Publish()
						r.queue.NeedsInterrupt()
					}
				}
			})
		}
	}
}
