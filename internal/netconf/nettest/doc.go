// Package nettest is the other end of a test's wire: a DHCP and a DNS server for a tap, and network namespaces to test in.
package nettest
