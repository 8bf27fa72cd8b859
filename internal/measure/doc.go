// Package measure is the laboratory's experiments: each runs machines, and turns what their ledgers hold into a report.
package measure
