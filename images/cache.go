package images

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// temporary starts the names of entries that are being made.
const temporary = ".tmp-"

// cachePath returns the folder name of the cache, and makes it.
func cachePath(name string) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	dir := filepath.Join(base, "doorbell", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	return dir, nil
}

// newest returns the path of the entry of dir with the latest modification
// time whose name accept takes; "" when there is none.
func newest(dir string, accept func(name string) bool) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var path string
	var latest time.Time
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporary) || !accept(e.Name()) {
			continue
		}
		st, err := e.Info()
		if err != nil {
			continue // removed in between
		}
		if path == "" || st.ModTime().After(latest) {
			path, latest = filepath.Join(dir, e.Name()), st.ModTime()
		}
	}
	return path, nil
}

// removeOld removes the entries of dir that accept takes and that have not
// been modified since cutoff. It is housekeeping: what cannot be removed stays.
func removeOld(dir string, cutoff time.Time, accept func(name string) bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if st, err := e.Info(); err == nil && accept(e.Name()) && st.ModTime().Before(cutoff) {
			os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}

func isTemporary(name string) bool { return strings.HasPrefix(name, temporary) }
