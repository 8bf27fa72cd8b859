// Package nettest is the other end of a test's wire: a tap with its servers, and network namespaces to test in.
package nettest
