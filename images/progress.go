package images

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progressEvery is the longest time without a line while something is going on.
const progressEvery = 2 * time.Second

// A task tells a person what is going on and how far it is: one line when it
// starts, one every progressEvery until done is called.
type task struct {
	what  string
	bytes int64 // of the whole; 0 when unknown
	start time.Time
	stop  chan struct{}
	over  sync.WaitGroup

	mu      sync.Mutex
	percent float64 // below 0 when unknown
}

// begin starts a task that prints to w, which may be nil.
func begin(w io.Writer, what string, bytes int64) *task {
	t := &task{what: what, bytes: bytes, start: time.Now(), stop: make(chan struct{}), percent: -1}
	if w == nil {
		w = io.Discard
	}
	fmt.Fprintf(w, "%s%s\n", what, t.size())
	t.over.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-t.stop:
				return
			case now := <-tick.C:
				fmt.Fprintln(w, t.line(now))
			}
		}
	})
	return t
}

// at says how much of the task is done.
func (t *task) at(percent float64) {
	t.mu.Lock()
	t.percent = min(max(percent, 0), 100)
	t.mu.Unlock()
}

// done ends the task: nothing is printed afterwards.
func (t *task) done() {
	close(t.stop)
	t.over.Wait()
}

func (t *task) size() string {
	if t.bytes <= 0 {
		return ""
	}
	return fmt.Sprintf(" (%.1f MB)", float64(t.bytes)/1e6)
}

func (t *task) line(now time.Time) string {
	t.mu.Lock()
	percent := t.percent
	t.mu.Unlock()
	elapsed := now.Sub(t.start)
	if percent < 0 {
		return fmt.Sprintf("%s: %.0f s", t.what, elapsed.Seconds())
	}
	line := fmt.Sprintf("%s: %.0f %%", t.what, percent)
	if t.bytes > 0 {
		line += fmt.Sprintf(", %.1f of %.1f MB", float64(t.bytes)*percent/1e8, float64(t.bytes)/1e6)
	}
	if percent > 0 && percent < 100 {
		left := time.Duration(float64(elapsed) * (100 - percent) / percent)
		line += fmt.Sprintf(", about %.0f s left", left.Seconds())
	}
	return line
}

// reader counts what is read of a whole of t.bytes.
func (t *task) reader(r io.Reader) io.Reader { return &taskReader{r: r, task: t} }

type taskReader struct {
	r    io.Reader
	task *task
	read int64
}

func (r *taskReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.read += int64(n)
	if r.task.bytes > 0 {
		r.task.at(100 * float64(r.read) / float64(r.task.bytes))
	}
	return n, err
}
