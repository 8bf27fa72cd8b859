package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Format is how a report is written.
type Format string

// The formats.
const (
	Text Format = "text"
	JSON Format = "json"
	HTML Format = "html"
	None Format = "none"
)

// Target is one place for a report.
type Target struct {
	Format Format
	Path   string // empty: a stream
	Stderr bool   // the stream is standard error, not standard output
	place  string // Path with its links followed: what is replaced
	temp   *os.File
	direct *os.File
}

// Direct says, after Open, whether the report is written in place: to a device, a pipe or a descriptor.
func (t *Target) Direct() bool { return t.direct != nil }

// namesDescriptor tells /dev/stdout and its like, whose file must not be replaced: it is open already.
func namesDescriptor(path string) bool {
	for range 40 { // the kernel's own limit of links
		if strings.HasPrefix(path, "/proc/") || strings.HasPrefix(path, "/dev/fd/") {
			return true
		}
		next, err := os.Readlink(path)
		if err != nil {
			return false
		}
		if !filepath.IsAbs(next) {
			next = filepath.Join(filepath.Dir(path), next)
		}
		path = next
	}
	return false
}

// createBeside makes a new file in path's folder, with the rights that the user's umask leaves.
func createBeside(path string) (*os.File, error) {
	for {
		name := fmt.Sprintf("%s/.%s.%08x", filepath.Dir(path), filepath.Base(path), rand.Uint32())
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

// ParseTargets reads "json=r.json,text": formats, each with an optional file.
func ParseTargets(spec string) ([]*Target, error) {
	var ts []*Target
	for _, one := range strings.Split(spec, ",") {
		format, path, hasPath := strings.Cut(one, "=")
		t := &Target{Format: Format(format), Path: path}
		switch t.Format {
		case Text, JSON, HTML:
			if hasPath && path == "" {
				return nil, fmt.Errorf("--report %s: no file after =", one)
			}
		case None:
			if hasPath {
				return nil, fmt.Errorf("--report %s: none takes no file", one)
			}
		default:
			return nil, fmt.Errorf("--report %q: the formats are text, json, html and none, each with =FILE if wanted", one)
		}
		if path != "" && slices.ContainsFunc(ts, func(other *Target) bool { return other.Path == path }) {
			return nil, fmt.Errorf("--report %s: two reports in one file", spec)
		}
		ts = append(ts, t)
	}
	return ts, nil
}

// Open makes sure, before anything is measured, that the report can be written. A regular file is written beside its
// place and renamed when it is whole; a device or a pipe is written in place.
func (t *Target) Open() error {
	if t.Path == "" || t.Format == None {
		return nil
	}
	if st, err := os.Stat(t.Path); err == nil && (!st.Mode().IsRegular() || namesDescriptor(t.Path)) {
		if st.IsDir() {
			return fmt.Errorf("--report %s: %s is a directory", t.Format, t.Path)
		}
		if t.direct, err = os.OpenFile(t.Path, os.O_WRONLY|os.O_APPEND, 0); err != nil {
			return fmt.Errorf("--report %s: %w", t.Format, err)
		}
		return nil
	}
	t.place = t.Path
	if real, err := filepath.EvalSymlinks(t.Path); err == nil {
		t.place = real // a link stays one, and what it leads to is replaced
	}
	f, err := createBeside(t.place)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return fmt.Errorf("--report %s=%s: %w", t.Format, t.Path, err)
	}
	t.temp = f
	return nil
}

// Body is what can be reported: as JSON, and as text or as a page for a person.
type Body interface {
	json.Marshaler
	Text(w io.Writer)
	HTML(w io.Writer) error
}

// Write writes the document; stream serves a target without a file.
func (t *Target) Write(d Body, stream io.Writer) error {
	var b strings.Builder
	switch t.Format {
	case None:
		return nil
	case JSON:
		e := json.NewEncoder(&b)
		e.SetIndent("", "  ")
		if err := e.Encode(d); err != nil {
			t.Discard()
			return fmt.Errorf("--report json: %w", err)
		}
	case HTML:
		if err := d.HTML(&b); err != nil {
			t.Discard()
			return fmt.Errorf("--report html: %w", err)
		}
	case Text:
		d.Text(&b)
	}
	if err := t.write(b.String(), stream); err != nil {
		t.Discard()
		where := t.Path
		if where == "" {
			where = "standard output"
		}
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return fmt.Errorf("--report %s: writing %s: %w", t.Format, where, err)
	}
	return nil
}

func (t *Target) write(s string, stream io.Writer) error {
	switch {
	case t.direct != nil:
		_, err := io.WriteString(t.direct, s)
		err = errors.Join(err, t.direct.Close())
		t.direct = nil
		return err
	case t.temp == nil:
		_, err := io.WriteString(stream, s)
		return err
	}
	if _, err := io.WriteString(t.temp, s); err != nil {
		return err
	}
	// What a full disk refuses late, it refuses here, before the old report is gone.
	if err := t.temp.Sync(); err != nil {
		return err
	}
	if err := t.temp.Close(); err != nil {
		return err
	}
	err := os.Rename(t.temp.Name(), t.place)
	if err == nil {
		t.temp = nil
	}
	return err
}

// Discard leaves nothing behind; it is harmless after Write.
func (t *Target) Discard() {
	if t.temp != nil {
		t.temp.Close()
		os.Remove(t.temp.Name())
		t.temp = nil
	}
	if t.direct != nil {
		t.direct.Close()
		t.direct = nil
	}
}

// Copy passes on a report that somebody else has written to a file, where the target is direct.
func (t *Target) Copy(from string) error {
	b, err := os.ReadFile(from)
	if err == nil {
		err = t.write(string(b), nil)
	}
	if err != nil {
		return fmt.Errorf("--report %s: writing %s: %w", t.Format, t.Path, err)
	}
	return nil
}
