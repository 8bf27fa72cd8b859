package report

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what the template is filled with.
type page struct {
	Environment []pageFact
	Experiments []pageExperiment
	Compared    *Comparison
	JSON        template.JS
}

type pageFact struct{ Name, Value string }

type pageExperiment struct {
	Name, Finding string
	Plots         []pagePlot
	Tables        []*Table
	Parameters    string
	Missing       []string
	Literature    string
}

type pagePlot struct {
	Title   string
	Picture template.HTML
}

// HTML writes the report as a page that needs nothing but itself: no network and no script. The whole report is in it as JSON, too.
func (d *Document) HTML(w io.Writer) error {
	text, err := json.Marshal(d) // which has no < in it: encoding/json escapes it
	if err != nil {
		return err
	}
	p := page{JSON: template.JS(text), Environment: d.environmentFacts(), Compared: d.Compared}
	for i := range d.Experiments {
		e := &d.Experiments[i]
		x := pageExperiment{Name: e.Name, Finding: e.Finding, Tables: e.Account, Parameters: e.parameters(), Literature: e.Literature}
		if e.Table != nil {
			x.Tables = append([]*Table{e.Table}, x.Tables...)
		}
		for _, plot := range e.Plots {
			x.Plots = append(x.Plots, pagePlot{plot.Title, template.HTML(plot.SVG())}) // every text in it is escaped
		}
		for _, name := range slices.Sorted(maps.Keys(e.Missing)) {
			x.Missing = append(x.Missing, name+": "+e.Missing[name])
		}
		p.Experiments = append(p.Experiments, x)
	}
	if err := pageTemplate.Execute(w, p); err != nil {
		return fmt.Errorf("fill the page: %w", err)
	}
	return nil
}

// environmentFacts are what a reader has to know first.
func (d *Document) environmentFacts() []pageFact {
	e := d.Environment
	hardware := "yes"
	if e.Emulated {
		hardware = "no: " + e.EmulatedWhy + ". Counts are exact, times are not"
	}
	facts := []pageFact{
		{"KVM", e.Backend}, {"processor", fmt.Sprintf("%s, %d in all", e.CPU, e.CPUs)}, {"host's kernel", e.Kernel}, {"on hardware", hardware},
		{"mitigations", e.Mitigations}, {"vulnerable to", affected(e.Vulnerabilities)}, {"doorbell", e.Doorbell},
		{"local APICs by hardware", yesOr(e.APICVirtualized, "yes: "+e.APICEvidence, "no: "+e.APICEvidence)},
	}
	if e.HaltPollNs != nil {
		facts = append(facts, pageFact{"halt polling", fmt.Sprintf("%d ns", *e.HaltPollNs)})
	}
	if d.VM != nil {
		facts = append(facts, pageFact{"interrupt controllers", d.VM.IRQChip})
	}
	if d.Guest != nil {
		facts = append(facts, pageFact{"guest's kernel", d.Guest.Kernel})
	}
	return slices.DeleteFunc(facts, func(f pageFact) bool { return f.Value == "" })
}

func yesOr(yes bool, this, that string) string {
	if yes {
		return this
	}
	return that
}

// affected are the vulnerabilities that the processor has, with what the kernel does about them.
func affected(vulnerabilities map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(vulnerabilities)) {
		if v := vulnerabilities[name]; v != "Not affected" {
			all = append(all, name+" ("+v+")")
		}
	}
	return strings.Join(all, ", ")
}

// parameters are in words.
func (e *Experiment) parameters() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(e.Parameters)) {
		all = append(all, fmt.Sprintf("%s %v", strings.ReplaceAll(name, "_", " "), e.Parameters[name]))
	}
	return strings.Join(all, ", ")
}
