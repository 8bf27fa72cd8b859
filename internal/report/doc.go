// Package report is the documents that doorbell writes: what they contain, how they read on a terminal, and how they reach a
// file without ever leaving half of one.
//
// A JSON report has the members environment, vm, guest and experiments. A figure that was not measured is null, and its
// reason stands under not_measured beside it, by the figure's name.
package report
