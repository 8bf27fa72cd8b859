//go:build !race

package ioapic

import "sync/atomic"

// word is an atomic word that several threads meet in.
type word = atomic.Uint64
