package report

import (
	"encoding/json"

	"doorbell/internal/guestreport"
	"doorbell/internal/probe"
	"doorbell/vmm"
)

// Document is one report.
type Document struct {
	Environment probe.Environment `json:"environment"`
	VM          *vmm.Account      `json:"vm,omitempty"`
	Guest       *Guest            `json:"guest,omitempty"`
	Experiments []Experiment      `json:"experiments"`
	Compared    *Comparison       `json:"compared,omitempty"`
}

// MarshalJSON implements Body.
func (d *Document) MarshalJSON() ([]byte, error) {
	type plain Document
	return json.Marshal((*plain)(d))
}

// Guest is what the guest's agent said.
type Guest struct {
	Kernel     string                      `json:"kernel"`
	CPUsOnline *int                        `json:"cpus_online"`
	Interrupts []guestreport.Interrupt     `json:"interrupts"` // since the guest's boot, when the workload had ended
	CPUs       []int                       `json:"cpus"`       // the CPU that each column of per_cpu is
	Softirqs   []guestreport.Softirq       `json:"softirqs"`
	Workload   *guestreport.Snapshot       `json:"workload_delta,omitempty"` // what the workload alone caused
	Details    *guestreport.Report         `json:"agent,omitempty"`
	Missing    map[string]string           `json:"not_measured,omitempty"`
	Result     *guestreport.WorkloadResult `json:"workload,omitempty"`
}

// NewGuest is the guest's section, from the agent's report or, where there is none, with the reason why.
func NewGuest(r *guestreport.Report, why string) *Guest {
	if r == nil {
		return &Guest{Missing: map[string]string{"cpus_online": why, "interrupts": why, "softirqs": why}}
	}
	delta := r.Delta()
	return &Guest{
		Kernel: r.Kernel, CPUsOnline: &r.CPUsOnline, Interrupts: r.After.Interrupts.Rows, CPUs: r.After.Interrupts.CPUs,
		Softirqs: r.After.Softirqs.Rows, Workload: &delta, Details: r, Result: &r.Workload,
	}
}

// Experiment is one experiment's result: rows of counters whose units are in their names.
type Experiment struct {
	Name    string            `json:"name"`
	Finding string            `json:"finding"` // one sentence
	Rows    []map[string]any  `json:"rows"`
	Missing map[string]string `json:"not_measured,omitempty"`
	// Parameters are what the run was made with: seed, rounds, sizes.
	Parameters map[string]any `json:"parameters,omitempty"`

	// Literature is what has been published of the same, to hold the result against.
	Literature string `json:"literature,omitempty"`

	Table *Table `json:"-"` // the rows for a person; nil for none
	// Account are the rows for a person where they are a machine's account, which a terminal gets whole from the document: see AccountTables.
	Account []*Table `json:"-"`
	Plots   []*Plot  `json:"-"` // pictures of the rows' figures
}

// Table is a table for a person: a row's first cell says what it is, the others are figures.
type Table struct {
	Title   string // "" where the experiment's name says it all
	Columns []string
	Rows    [][]string
}
