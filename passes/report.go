package passes

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Outcome says how a step ended.
type Outcome string

// The outcomes.
const (
	Done       Outcome = "done"
	RolledBack Outcome = "rolled back" // its change was taken back; Reason says why
)

// Report says what the steps of a pipeline did, in order.
type Report struct {
	Repairs []string      `json:"repairs,omitempty"` // what graph.Repair mended before the first step
	Steps   []*StepReport `json:"steps"`
}

// StepReport says what one step did.
type StepReport struct {
	Pass    string             `json:"pass"`
	Kind    Kind               `json:"kind"`
	Options map[string]string  `json:"options,omitempty"` // those not at their default
	Outcome Outcome            `json:"outcome"`
	Reason  string             `json:"reason,omitempty"`
	Changed int                `json:"changed"`
	Skipped []Skip             `json:"skipped,omitempty"`
	Notes   []string           `json:"notes,omitempty"`
	Figures map[string]float64 `json:"figures,omitempty"`
	Curves  []Curve            `json:"curves,omitempty"`
	Layers  []Layer            `json:"layers,omitempty"`
	Drift   *Drift             `json:"drift,omitempty"`  // nil if not measured
	Rounds  int                `json:"rounds,omitempty"` // of a fixpoint
	Members []*StepReport      `json:"members,omitempty"`
	Elapsed time.Duration      `json:"elapsed_ns"`
}

// Curve is how a number went while a pass was at work.
type Curve struct {
	Name string    `json:"name"`
	Y    []float64 `json:"y"`
}

// Layer is what became of the outputs of one layer.
type Layer struct {
	Name string `json:"name"` // of its weight
	Size int    `json:"size"` // outputs before
	Kept int    `json:"kept"` // and after
	// Divergence is what the scores lose in nats when the third of its outputs
	// of least norm is zero; 0 if not measured.
	Divergence float64 `json:"divergence,omitempty"`
}

// Skip is something a pass left as it was, though it might have seemed to
// apply, and why.
type Skip struct {
	Where  string `json:"where"`
	Reason string `json:"reason"`
}

// String returns a line such as "drop-identity: changed 2, skipped 0, drift 0".
func (r *StepReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: changed %d, skipped %d", r.Pass, r.Changed, len(r.Skipped))
	if r.Drift != nil {
		fmt.Fprintf(&b, ", drift %s", strconv.FormatFloat(r.Drift.Max, 'g', 2, 64))
	}
	if r.Outcome == RolledBack {
		fmt.Fprintf(&b, ", rolled back: %s", r.Reason)
	}
	return b.String()
}

// merge adds what a later run of the same pass did. What a later run skips
// replaces what an earlier one did, which may have come true meanwhile.
func (r *StepReport) merge(later *StepReport) {
	r.Changed += later.Changed
	r.Skipped = later.Skipped
	r.Elapsed += later.Elapsed
	r.Outcome, r.Reason = later.Outcome, later.Reason
	for _, n := range later.Notes {
		r.note(n)
	}
	for k, x := range later.Figures {
		r.figure(k, x)
	}
}

func (r *StepReport) note(text string) {
	if !contains(r.Notes, text) {
		r.Notes = append(r.Notes, text)
	}
}

func (r *StepReport) figure(key string, x float64) {
	if r.Figures == nil {
		r.Figures = map[string]float64{}
	}
	r.Figures[key] += x
}

func (r *StepReport) skip(s Skip) {
	for _, t := range r.Skipped {
		if s == t {
			return
		}
	}
	r.Skipped = append(r.Skipped, s)
}
