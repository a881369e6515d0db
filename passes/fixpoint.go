package passes

import (
	"errors"
	"fmt"
)

// Repeat are the options of a [Fixpoint].
type Repeat struct {
	Rounds int      `opt:"rounds" help:"how often to go through the members at most"`
	Skip   []string `opt:"skip" help:"members to leave out, patterns with * and ?"`
}

// Validate reports an option out of range.
func (o Repeat) Validate() error {
	if o.Rounds < 1 {
		return fmt.Errorf("option \"rounds\": got %d, want at least 1", o.Rounds)
	}
	return nil
}

// Fixpoint makes a pass that runs its members in order, again and again until
// none of them changes anything. Its kind is the widest among them. An order
// of members that breaks a constraint is a panic: it is a mistake in the list.
func Fixpoint(p Pass, order []Constraint, members ...*Pass) *Pass {
	if err := CheckOrder(members, order); err != nil {
		panic(fmt.Sprintf("passes: fixpoint %q: %v", p.Name, err))
	}
	for _, m := range members {
		p.Kind = max(p.Kind, m.Kind)
		p.Needs |= m.Needs
	}
	f := Define(p, Repeat{Rounds: 20}, func(*Job, Repeat) error {
		return errors.New("a fixpoint runs in a pipeline only")
	})
	f.members = members
	return f
}

// runMembers runs the members of a fixpoint by run.
func (r *runner) runMembers(s Step, run func(Step) (*StepReport, error)) (*StepReport, error) {
	o := s.options.(Repeat)
	report := newStepReport(s)
	byName := map[string]*StepReport{}
	barred := map[string]bool{}
	for changed := true; changed && report.Rounds < o.Rounds; report.Rounds++ {
		changed = false
		for _, p := range s.Pass.members {
			if barred[p.Name] || Match(o.Skip, p.Name) {
				continue
			}
			one, err := run(p.Default())
			if err != nil {
				return nil, fmt.Errorf("member %q: %w", p.Name, err)
			}
			barred[p.Name] = one.Outcome == RolledBack
			changed = changed || one.Changed > 0 && !barred[p.Name]
			collect(report, byName, one)
		}
	}
	if report.Rounds == o.Rounds {
		report.note(fmt.Sprintf("stopped after %d rounds", o.Rounds))
	}
	return report, nil
}

// collect enters what a member did into the report of its fixpoint.
func collect(report *StepReport, byName map[string]*StepReport, one *StepReport) {
	report.Elapsed += one.Elapsed
	if one.Outcome != RolledBack {
		report.Changed += one.Changed
	}
	if seen := byName[one.Pass]; seen != nil {
		seen.merge(one)
		return
	}
	byName[one.Pass] = one
	report.Members = append(report.Members, one)
}
