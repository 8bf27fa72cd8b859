// Package memory holds a guest's physical RAM.
//
// RAM is one host mapping, seen by the guest in at most two pieces: the
// addresses [3 GiB, 4 GiB) are left to devices, so RAM beyond 3 GiB continues
// at 4 GiB.
//
//	guest  0 ───────── 3 GiB ── hole ── 4 GiB ─────────── ...
//	       │   low     │                │      high       │
//	host   0 ───────── 3 GiB ──────────────────────────── ...
//
// Every guest address reaches RAM through [Memory.Bytes], the one place that
// checks bounds. Guest addresses come from the guest and are never trusted.
package memory
