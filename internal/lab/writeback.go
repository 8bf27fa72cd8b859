package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"doorbell/internal/lab/wire"
)

// home receives the files that come back from L1. A file appears at its place
// whole or not at all. The first file that cannot be written is the error;
// the others are written all the same.
type home struct {
	returns []string // what L1 may write; see wire.JobMessage

	mu      sync.Mutex // guards everything below: abort comes from another goroutine
	temp    *os.File   // the file that is coming in, nil when it is not wanted
	message wire.FileMessage
	target  string
	got     int64
	files   []string
	err     error
	aborted bool
}

// begin starts a file. Its name comes from L1, where the command could have
// written anything, so it is checked against what may come back.
func (h *home) begin(m wire.FileMessage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop()
	if h.aborted {
		return
	}
	h.message, h.target, h.got = m, string(m.Path), 0
	if err := h.open(); err != nil {
		h.fail(err)
	}
}

func (h *home) open() error {
	if !filepath.IsAbs(h.target) || filepath.Clean(h.target) != h.target ||
		!slices.ContainsFunc(h.returns, func(dir string) bool { return below(h.target, dir) }) {
		return errors.New("is not among the paths that come back")
	}
	dir := filepath.Dir(h.target)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	// Links that were made here meanwhile must not lead the file elsewhere.
	if real, err := filepath.EvalSymlinks(dir); err != nil || real != dir {
		return errors.New("its folder has become a symbolic link")
	}
	info, err := os.Lstat(h.target)
	if err == nil && !info.Mode().IsRegular() {
		return errors.New("is no regular file on this machine")
	}
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	h.temp, err = os.CreateTemp(dir, ".doorbell-lab-*")
	return err
}

// data adds to the file that is coming in.
func (h *home) data(b []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.temp == nil {
		return
	}
	h.got += int64(len(b))
	if _, err := h.temp.Write(b); err != nil {
		h.fail(err)
	}
}

// end puts the file at its place.
func (h *home) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.temp == nil {
		return
	}
	if err := h.place(); err != nil {
		h.fail(err)
		return
	}
	h.temp = nil
	h.files = append(h.files, h.target)
}

func (h *home) place() error {
	if h.got != h.message.Size {
		return fmt.Errorf("%d of %d bytes arrived", h.got, h.message.Size)
	}
	// CreateTemp made the file private; the umask is not asked again, for the
	// command has been through its own.
	if err := h.temp.Chmod(fs.FileMode(h.message.Mode).Perm()); err != nil {
		return err
	}
	if err := h.temp.Close(); err != nil {
		return err
	}
	return os.Rename(h.temp.Name(), h.target)
}

// fail notes that the file that is coming in cannot be written.
func (h *home) fail(err error) {
	h.drop()
	// The name in a path error is the unfinished file's: it would mislead.
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	if h.err == nil {
		h.err = fmt.Errorf("lab: write %s back: %w", h.target, err)
	}
}

// drop removes the unfinished file.
func (h *home) drop() {
	if h.temp != nil {
		h.temp.Close()
		_ = os.Remove(h.temp.Name())
		h.temp = nil
	}
}

// abort removes the unfinished file and takes no more.
func (h *home) abort() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop()
	h.aborted = true
}
